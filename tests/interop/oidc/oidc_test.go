// SPDX-License-Identifier: Apache-2.0

// Package oidc judges oidc-discovery-provider against a real server and agent: a relying party that
// knows nothing but the issuer's host verifies tokens by what the provider serves.
package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	. "github.com/steeple/steeple/tests/interop/harness"
)

const (
	deadline = 60 * time.Second
	host     = "oidc.example.test"
	issuer   = "https://" + host
)

type provider struct {
	*Process
	// The host that requests name, and how to reach the provider.
	client *http.Client
	base   string
}

// run starts the provider with these lines of configuration.
func run(t *testing.T, lines string) *Process {
	t.Helper()
	dir := TempDir(t)
	path := WriteFile(t, dir, "oidc.conf", fmt.Sprintf("domains = [%q]\nlog_level = \"debug\"\n%s", host, lines))
	return Start(t, dir, "oidc-discovery-provider", Binary(t, "oidc-discovery-provider"), "-config", path)
}

// over gives a client whose connections all go to the provider; `config` nil means plain HTTP.
func over(p *Process, network, address string, config *tls.Config) *provider {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		TLSClientConfig: config, DisableKeepAlives: true,
	}
	base := "http://" + host
	if config != nil {
		base = "https://" + host
	}
	return &provider{Process: p, client: &http.Client{Transport: transport, Timeout: 10 * time.Second}, base: base}
}

func (p *provider) ask(method, path string, headers ...string) (*http.Response, string, error) {
	request, err := http.NewRequest(method, p.base+path, nil)
	if err != nil {
		return nil, "", err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		} else {
			request.Header.Set(headers[i], headers[i+1])
		}
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func (p *provider) get(path string) (string, error) {
	response, body, err := p.ask("GET", path)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, response.Status, body)
	}
	return body, err
}

type discovery struct {
	Issuer     string   `json:"issuer"`
	KeysURI    string   `json:"jwks_uri"`
	Algorithms []string `json:"id_token_signing_alg_values_supported"`
}

// keys does what an OIDC client does: the document, then the keys where it says that they are.
func (p *provider) keys(want string) (*jose.JSONWebKeySet, error) {
	body, err := p.get("/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var document discovery
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		return nil, err
	}
	if document.Issuer != want || document.KeysURI != want+"/keys" {
		return nil, fmt.Errorf("document of %s, keys at %s", document.Issuer, document.KeysURI)
	}
	if body, err = p.get("/keys"); err != nil {
		return nil, err
	}
	var set jose.JSONWebKeySet
	return &set, json.Unmarshal([]byte(body), &set)
}

// verify checks a token with what is served now, and nothing else.
func (p *provider) verify(token, audience string) error {
	set, err := p.keys(issuer)
	if err != nil {
		return err
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384})
	if err != nil {
		return err
	}
	kid := parsed.Headers[0].KeyID
	found := set.Key(kid)
	if len(found) != 1 {
		return fmt.Errorf("%d keys have the id %s", len(found), kid)
	}
	if found[0].Algorithm != parsed.Headers[0].Algorithm {
		return fmt.Errorf("the key says %s, the token %s", found[0].Algorithm, parsed.Headers[0].Algorithm)
	}
	var claims jwt.Claims
	if err := parsed.Claims(found[0].Key, &claims); err != nil {
		return err
	}
	return claims.Validate(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Subject: ID("/web")})
}

// world starts a server and an agent; `more` are further settings of the server, key and value.
func world(t *testing.T, more ...string) (*Server, *Agent) {
	t.Helper()
	settings := map[string]string{"jwt_issuer": `"` + issuer + `"`, "default_x509_svid_ttl": `"12s"`}
	for i := 0; i+1 < len(more); i += 2 {
		settings[more[i]] = more[i+1]
	}
	s := StartServer(t, ServerOptions{Settings: settings})
	a := StartAgent(t, s, AgentOptions{})
	s.Create(t, NewEntry(ID("/web"), a.ID, MySelector()))
	a.WaitFetch(t, "/web")
	return s, a
}

func token(t *testing.T, a *Agent, audience string) string {
	t.Helper()
	svid := Must[*jwtsvid.SVID](t)(a.Client(t).FetchJWTSVID(Context(t), jwtsvid.Params{Audience: audience}))
	return svid.Marshal()
}

func workloadAPI(a *Agent) string {
	return fmt.Sprintf("workload_api { socket_path = %q\n trust_domain = %q }\n", a.SocketPath, TD)
}

func serverAPI(s *Server) string {
	return fmt.Sprintf("server_api { address = \"unix://%s\"\n poll_interval = \"500ms\" }\n", s.SocketPath)
}

func status(port int, path string) error {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	return nil
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	parsed := Must[*jwt.JSONWebToken](t)(jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256}))
	return parsed.Headers[0].KeyID
}

func TestTokensVerifyFromBothAPIsAcrossAKeyRotation(t *testing.T) {
	s, a := world(t, "ca_ttl", `"60s"`, "default_jwt_svid_ttl", `"6s"`, "agent_ttl", `"20s"`)
	var providers []*provider
	for _, source := range []string{workloadAPI(a), serverAPI(s)} {
		address := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		health := FreePort(t)
		p := over(run(t, fmt.Sprintf("insecure_addr = %q\n%shealth_checks { bind_port = %d }\n", address, source, health)),
			"tcp", address, nil)
		Eventually(t, deadline, "readiness", func() error { return status(health, "/ready") })
		NoError(t, status(health, "/live"))
		providers = append(providers, p)
	}
	first := ""
	Eventually(t, 3*deadline, "a token of another key", func() error {
		audience := fmt.Sprintf("relying-%d", time.Now().UnixNano())
		signed := token(t, a, audience)
		// A key is served before anything is signed with it: no token may fail.
		for _, p := range providers {
			if err := p.verify(signed, audience); err != nil {
				t.Fatalf("%s: %v", p.base, err)
			}
		}
		if first == "" {
			first = kidOf(t, signed)
		}
		if kidOf(t, signed) == first {
			return fmt.Errorf("signed by the first key still")
		}
		return nil
	})
	for _, p := range providers {
		p.Stop(t)
	}
}

func TestKeysOutliveTheirSource(t *testing.T) {
	_, a := world(t)
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	p := over(run(t, fmt.Sprintf("insecure_addr = %q\n%s", address, workloadAPI(a))), "tcp", address, nil)
	signed := token(t, a, "relying")
	Eventually(t, deadline, "a token that verifies", func() error { return p.verify(signed, "relying") })
	a.Process.Stop(t)
	p.WaitLog(t, 0, "Failed to fetch JWKS from the Workload API", deadline)
	NoError(t, p.verify(signed, "relying"))
	p.Stop(t)
}

func TestHostsMethodsAndHeadersAreTheReferences(t *testing.T) {
	s, _ := world(t, "jwt_key_type", `"rsa-2048"`)
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	p := over(run(t, fmt.Sprintf("insecure_addr = %q\nallow_insecure_scheme = true\nserver_path_prefix = \"/x\"\nset_key_use = true\n%s",
		address, serverAPI(s))), "tcp", address, nil)
	Eventually(t, deadline, "keys", func() error { _, err := p.get("/x/keys"); return err })
	const page = "/x/.well-known/openid-configuration"
	for _, c := range []struct {
		method, path string
		headers      []string
		status       int
		body         string
	}{
		{"GET", page, []string{"Host", "bad.test"}, 400, "domain \"bad.test\" is not allowed\n"},
		{"GET", page, []string{"X-Forwarded-Host", "bad.test:80"}, 400, "domain \"bad.test\" is not allowed\n"},
		{"GET", page, []string{"Host", "Upper.test"}, 400, "domain \"Upper.test\" must already be punycode encoded\n"},
		{"GET", page, []string{"Host", "a_b.test"}, 400, "domain \"a_b.test\" is not a valid domain name: idna: disallowed rune U+005F\n"},
		{"POST", page, nil, 405, "method not allowed\n"},
		{"PUT", "/x/keys", nil, 405, "method not allowed\n"},
		{"GET", "/keys", nil, 404, "404 page not found\n"},
	} {
		response, body, err := p.ask(c.method, c.path, c.headers...)
		NoError(t, err)
		if response.StatusCode != c.status || body != c.body || response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s %v: %d %q %v", c.method, c.path, c.headers, response.StatusCode, body, response.Header)
		}
	}
	for want, headers := range map[string][]string{
		"http://" + host + "/x":      nil,
		"http://" + host + ":8080/x": {"Host", host + ":8080"},
		"https://" + host + "/x":     {"X-Forwarded-Proto", "https"},
		"http://" + host + ":99/x":   {"Host", "inner.test", "X-Forwarded-Host", host + ":99"},
	} {
		_, body, err := p.ask("GET", page, headers...)
		NoError(t, err)
		expected := fmt.Sprintf("{\n  \"issuer\": %q,\n  \"jwks_uri\": %q,\n  \"authorization_endpoint\": \"\",\n"+
			"  \"response_types_supported\": [\n    \"id_token\"\n  ],\n  \"subject_types_supported\": [\n    \"public\"\n  ],\n"+
			"  \"id_token_signing_alg_values_supported\": [\n    \"RS256\",\n    \"ES256\",\n    \"ES384\"\n  ]\n}", want, want+"/keys")
		if body != expected {
			t.Errorf("%v: %s", headers, body)
		}
	}
	response, body, err := p.ask("GET", "/x/keys", "Host", "whoever")
	NoError(t, err)
	// What go-jose writes of it is what the reference would have served.
	var set jose.JSONWebKeySet
	NoError(t, json.Unmarshal([]byte(body), &set))
	again := string(Must[[]byte](t)(json.MarshalIndent(set, "", "  ")))
	if body != again || set.Keys[0].Use != "sig" || set.Keys[0].Algorithm != "RS256" {
		t.Errorf("keys: %s\nas the reference writes them: %s", body, again)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Access-Control-Allow-Origin": "*",
		"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0"} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	modified := response.Header.Get("Last-Modified")
	response, _, err = p.ask("GET", "/x/keys", "If-Modified-Since", modified)
	NoError(t, err)
	if response.StatusCode != http.StatusNotModified {
		t.Errorf("not modified since %s: %s", modified, response.Status)
	}
	p.Stop(t)
}

func TestUnixSocketIsOpenToAllAndItsKeysMayComeFromAFile(t *testing.T) {
	s, _ := world(t)
	dir := TempDir(t)
	document, _, code := Run(t, "", Binary(t, "spire-server"), "bundle", "show", "-format", "spiffe", "-socketPath", s.SocketPath)
	if code != 0 {
		t.Fatal("bundle show failed")
	}
	bundle := WriteFile(t, dir, "bundle.json", document)
	socket := filepath.Join(dir, "oidc.sock")
	p := over(run(t, fmt.Sprintf("listen_socket_path = %q\nfile { path = %q\n poll_interval = \"200ms\" }\n", socket, bundle)),
		"unix", socket, nil)
	Eventually(t, deadline, "keys", func() error { _, err := p.keys(issuer); return err })
	if info := Must[os.FileInfo](t)(os.Stat(socket)); info.Mode().Perm() != 0o777 {
		t.Errorf("mode %v", info.Mode())
	}
	NoError(t, os.WriteFile(bundle, []byte(`{"keys":[]}`), 0o600))
	Eventually(t, deadline, "501", func() error {
		response, body, err := p.ask("GET", "/keys")
		if err == nil && (response.StatusCode != 501 || body != "jwt not supported/enabled in this service\n") {
			err = fmt.Errorf("%s %s", response.Status, body)
		}
		return err
	})
	p.Stop(t)
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket stayed")
	}
}

func TestCertificateFilesAreReloaded(t *testing.T) {
	s, _ := world(t)
	dir := TempDir(t)
	authority := NewAuthority(t, "web")
	issue := func() {
		node := authority.Issue(t, host, false, x509.KeyUsageDigitalSignature)
		cert, key := node.WriteFiles(t, dir)
		NoError(t, os.Rename(key, filepath.Join(dir, "tls.key")))
		NoError(t, os.Rename(cert, filepath.Join(dir, "tls.crt")))
	}
	issue()
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	shown := make(chan *x509.Certificate, 100)
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}, VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
		leaf, err := x509.ParseCertificate(raw[0])
		if err == nil {
			shown <- leaf
		}
		return err
	}}
	p := over(run(t, fmt.Sprintf("serving_cert_file { cert_file_path = %q\n key_file_path = %q\n file_sync_interval = \"200ms\"\n addr = %q }\n%s",
		filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), address, serverAPI(s))), "tcp", address, config)
	Eventually(t, deadline, "keys over TLS", func() error { _, err := p.keys(issuer); return err })
	first := <-shown
	issue()
	Eventually(t, deadline, "the new certificate", func() error {
		for len(shown) > 0 {
			<-shown
		}
		if _, err := p.keys(issuer); err != nil {
			return err
		}
		if (<-shown).SerialNumber.Cmp(first.SerialNumber) == 0 {
			return fmt.Errorf("the first one still")
		}
		return nil
	})
	p.Stop(t)
}

func TestOwnSvidServesAndFollowsRotation(t *testing.T) {
	s, a := world(t)
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	var serial string
	config := tlsconfig.TLSClientConfig(s.X509Bundle(t), tlsconfig.AuthorizeID(spiffeid.RequireFromString(ID("/web"))))
	config.VerifyConnection = func(state tls.ConnectionState) error {
		serial = state.PeerCertificates[0].SerialNumber.String()
		return nil
	}
	p := over(run(t, fmt.Sprintf("serving_svid { addr = %q }\nallow_insecure_scheme = true\n%s", address, workloadAPI(a))),
		"tcp", address, config)
	Eventually(t, deadline, "keys", func() error { _, err := p.keys(issuer); return err })
	first := serial
	Eventually(t, deadline, "a renewed certificate", func() error {
		if _, err := p.keys(issuer); err != nil {
			return err
		}
		if serial == first {
			return fmt.Errorf("the first one still")
		}
		return nil
	})
	NoError(t, p.verify(token(t, a, "relying"), "relying"))
	p.Stop(t)
}

func TestCommandLineAndConfigurationErrors(t *testing.T) {
	program := Binary(t, "oidc-discovery-provider")
	dir := TempDir(t)
	plain := "domains = [\"a.test\"]\ninsecure_addr = \"127.0.0.1:0\"\n"
	conf := func(name, text string) string { return WriteFile(t, dir, name, text) }
	for _, c := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{[]string{"-version"}, 0, "1.15.3\n", ""},
		{[]string{"one", "two"}, 1, "", "Error: unexpected arguments: [one two]\nUsage of " + program + ":\n"},
		{[]string{"-nope"}, 2, "", "flag provided but not defined: -nope\nUsage of "},
		{[]string{"-config", "/does/not/exist"}, 1, "", "unable to load configuration: open /does/not/exist: no such file or directory\n"},
		{[]string{"-config", conf("no-source.conf", plain)}, 1, "", "exactly one of the server_api, workload_api, or file sections must be configured\n"},
		{[]string{"-config", conf("level.conf", plain+"file { path = \"x\" }\nlog_level = \"loud\"\n")}, 1, "", "not a valid logrus Level: \"loud\"\n"},
	} {
		stdout, stderr, code := Run(t, "", program, c.args...)
		if code != c.code || stdout != c.stdout || !strings.HasPrefix(stderr, c.stderr) {
			t.Errorf("%v: %d %q %q", c.args, code, stdout, stderr)
		}
	}
}

func TestEnvironmentIsExpandedWhenAskedFor(t *testing.T) {
	t.Setenv("OIDC_TEST_DOMAIN", "bad/domain")
	dir := TempDir(t)
	path := WriteFile(t, dir, "oidc.conf", "domains = [\"${OIDC_TEST_DOMAIN}\"]\ninsecure_addr = \":0\"\nfile { path = \"x\" }\n")
	_, stderr, code := Run(t, "", Binary(t, "oidc-discovery-provider"), "-config", path, "-expandEnv")
	if code != 1 || !strings.HasPrefix(stderr, "domain \"bad/domain\" is not a valid domain name") {
		t.Errorf("%d %q", code, stderr)
	}
}
