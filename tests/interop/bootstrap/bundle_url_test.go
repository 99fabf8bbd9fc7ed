// SPDX-License-Identifier: Apache-2.0

// Goal: an agent's first trust, taken from trust_bundle_url: over real HTTPS with a test CA, over HTTP on a
// Unix socket, and each way in which that goes wrong. An agent that cannot trust its server attests to
// nobody.
package bootstrap

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"

	. "github.com/steeple/steeple/tests/interop/harness"
)

// How long the agent waits for a whole answer, and then some.
const fetchDeadline = 60 * time.Second

var web struct {
	once sync.Once
	ca   *Authority
	dir  string
}

// webCA is a public authority as far as the agents under test are concerned: SSL_CERT_FILE names it.
func webCA(t *testing.T) *Authority {
	t.Helper()
	web.once.Do(func() {
		web.ca = NewAuthority(t, "web")
		web.dir = Must[string](t)(os.MkdirTemp("/tmp", "stpweb"))
		path := filepath.Join(web.dir, "ca.pem")
		NoError(t, os.WriteFile(path, PEM("CERTIFICATE", web.ca.Cert.Raw), 0o600))
		NoError(t, os.Setenv("SSL_CERT_FILE", path))
	})
	return web.ca
}

func TestMain(m *testing.M) {
	code := m.Run()
	if web.dir != "" {
		_ = os.RemoveAll(web.dir)
	}
	os.Exit(code)
}

// serveHTTPS serves with a certificate of `ca` for `host`.
func serveHTTPS(t *testing.T, ca *Authority, host string, notAfter time.Time, handler http.HandlerFunc) string {
	t.Helper()
	key := NewKey(t)
	template := &x509.Certificate{
		SerialNumber: Must[*big.Int](t)(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))),
		Subject:      pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der := Must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.Key))
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what some tests are about
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{
		Certificate: [][]byte{der}, PrivateKey: (*ecdsa.PrivateKey)(key)}}}
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	address := Must[*url.URL](t)(url.Parse(server.URL))
	return "https://localhost:" + address.Port()
}

func good(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	return serveHTTPS(t, webCA(t), "localhost", time.Now().Add(time.Hour), handler)
}

func body(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }
}

func pemBundle(t *testing.T, s *Server) []byte {
	t.Helper()
	var out []byte
	for _, root := range s.X509Bundle(t).X509Authorities() {
		out = append(out, PEM("CERTIFICATE", root.Raw)...)
	}
	return out
}

func spiffeBundle(t *testing.T, s *Server) []byte {
	t.Helper()
	return Must[[]byte](t)(spiffebundle.FromX509Bundle(s.X509Bundle(t)).Marshal())
}

// fromURL makes an agent whose only trust is what the URL gives.
func fromURL(t *testing.T, s *Server, at, format string, more map[string]string) *Agent {
	t.Helper()
	settings := map[string]string{
		"trust_bundle_path": `""`, "trust_bundle_url": `"` + at + `"`, "trust_bundle_format": `"` + format + `"`}
	for name, value := range more {
		settings[name] = value
	}
	return StartAgent(t, s, AgentOptions{NoWait: true, Settings: settings})
}

// wantRefusal demands that the agent names the reason in its log and has attested to nobody.
func wantRefusal(t *testing.T, s *Server, a *Agent, reasons ...string) {
	t.Helper()
	Eventually(t, fetchDeadline, "the agent says why it does not trust", func() error {
		for _, reason := range reasons {
			if strings.Contains(a.Process.Log.String(), reason) {
				return nil
			}
		}
		return fmt.Errorf("none of %q in its log", reasons)
	})
	if log := s.Process.Log.String(); strings.Contains(log, "Agent attestation request completed") {
		t.Errorf("it attested all the same")
	}
}

func TestABundleFromHTTPSIsTheFirstTrust(t *testing.T) {
	webCA(t)
	for _, format := range []string{"pem", "spiffe"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s := StartServer(t, ServerOptions{})
			content := map[string][]byte{"pem": pemBundle(t, s), "spiffe": spiffeBundle(t, s)}[format]
			a := fromURL(t, s, good(t, body(content))+"/bundle?x=y", format, nil)
			a.WaitHealthy(t)
		})
	}
}

func TestABundleOfAnotherAuthorityIsNoTrust(t *testing.T) {
	webCA(t)
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	other := PEM("CERTIFICATE", ForeignAuthority(t, TD).Cert.Raw)
	a := fromURL(t, s, good(t, body(other)), "pem", nil)
	wantRefusal(t, s, a, "x509svid: could not verify leaf certificate")
}

func TestAWebServerThatIsNotTheOneNamedIsRefused(t *testing.T) {
	ca := webCA(t)
	for name, where := range map[string]func(*testing.T, http.HandlerFunc) string{
		"unknown authority": func(t *testing.T, h http.HandlerFunc) string {
			return serveHTTPS(t, NewAuthority(t, "unknown"), "localhost", time.Now().Add(time.Hour), h)
		},
		"another name": func(t *testing.T, h http.HandlerFunc) string {
			return serveHTTPS(t, ca, "elsewhere.test", time.Now().Add(time.Hour), h)
		},
		"expired": func(t *testing.T, h http.HandlerFunc) string {
			return serveHTTPS(t, ca, "localhost", time.Now().Add(-time.Hour), h)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := StartServer(t, ServerOptions{})
			asked := make(chan struct{}, 64)
			bundle := pemBundle(t, s)
			a := fromURL(t, s, where(t, func(w http.ResponseWriter, r *http.Request) {
				asked <- struct{}{}
				_, _ = w.Write(bundle)
			}), "pem", nil)
			wantRefusal(t, s, a, "unable to fetch trust bundle URL")
			if len(asked) != 0 {
				t.Error("it sent its request to a server that it does not know")
			}
		})
	}
}

func TestAnswersThatAreNoBundleAreRefused(t *testing.T) {
	webCA(t)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	for name, c := range map[string]struct {
		format  string
		handler http.HandlerFunc
		reasons []string
		ours    bool // the reference has no limit, or no deadline
	}{
		"not found": {handler: http.NotFound, reasons: []string{"error downloading trust bundle: 404 Not Found"}},
		"unavailable": {handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
			reasons: []string{"error downloading trust bundle: 503 Service Unavailable"}},
		"empty":   {handler: body(nil), reasons: []string{"no certificates found in trust bundle", "no PEM blocks"}},
		"no PEM":  {handler: body([]byte("<html>login</html>")), reasons: []string{"no PEM blocks", "no certificates"}},
		"a key":   {handler: body(PEM("PRIVATE KEY", []byte{1})), reasons: []string{"PRIVATE KEY", "no certificates"}},
		"no JSON": {format: "spiffe", handler: body([]byte("<html>")), reasons: []string{"unable to parse SPIFFE trust bundle"}},
		"no keys": {format: "spiffe", handler: body([]byte(`{"keys":[]}`)), reasons: []string{"no certificates found in trust bundle"}},
		"too large": {ours: true, reasons: []string{"response is larger than 4194304 bytes"},
			handler: func(w http.ResponseWriter, _ *http.Request) {
				piece := []byte(strings.Repeat("-", 1<<20))
				for range 64 { // the agent hangs up long before
					if _, err := w.Write(piece); err != nil {
						return
					}
				}
			}},
		"endless": {ours: true, reasons: []string{"timed out", "Timeout was reached"},
			handler: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write([]byte("-----BEGIN"))
				w.(http.Flusher).Flush()
				select {
				case <-never:
				case <-r.Context().Done():
				}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.ours {
				OursOnly(t, "it has neither a limit nor a deadline for the answer")
			}
			t.Parallel()
			s := StartServer(t, ServerOptions{})
			format := "pem"
			if c.format != "" {
				format = c.format
			}
			a := fromURL(t, s, good(t, c.handler), format, nil)
			wantRefusal(t, s, a, c.reasons...)
		})
	}
}

// Whoever answers for the URL must not be able to send the agent anywhere else.
func TestARedirectIsNotFollowed(t *testing.T) {
	OursOnly(t, "it follows redirects, to plain HTTP too")
	webCA(t)
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	asked := make(chan struct{}, 64)
	bundle := pemBundle(t, s)
	target := good(t, func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		_, _ = w.Write(bundle)
	})
	a := fromURL(t, s, good(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target, http.StatusFound)
	}), "pem", nil)
	wantRefusal(t, s, a, "error downloading trust bundle: 302 Found")
	if len(asked) != 0 {
		t.Error("it went where it was sent")
	}
}

// The reference's parameters tell a local program which bundle is asked for.
func TestABundleFromAUnixSocketIsAskedForWithTheReferencesParameters(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	path := filepath.Join(TempDir(t), "bundle.sock")
	queries := make(chan url.Values, 64)
	content := pemBundle(t, s)
	listener := Must[net.Listener](t)(net.Listen("unix", path))
	server := &http.Server{ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			queries <- r.URL.Query()
			_, _ = w.Write(content)
		})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	a := fromURL(t, s, "http://localhost/trustbundle?mine=1", "pem",
		map[string]string{"trust_bundle_unix_socket": `"` + path + `"`})
	a.WaitHealthy(t)
	got := <-queries
	for name, want := range map[string]string{
		"mine": "1", "spire-attest-mode": "bootstrap", "spire-server-address": "127.0.0.1",
		"spire-server-port": fmt.Sprint(s.Port), "spiffe-trust-domain": TD, "spire-connection-attempts": "1"} {
		if got.Get(name) != want {
			t.Errorf("parameter %s is %q, want %q", name, got.Get(name), want)
		}
	}
	if _, err := time.Parse(time.RFC3339, got.Get("spire-attest-start-time")); err != nil {
		t.Errorf("spire-attest-start-time: %v", err)
	}
}

func TestAUnixSocketThatNobodyServesIsSaid(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	a := fromURL(t, s, "http://localhost/trustbundle", "pem",
		map[string]string{"trust_bundle_unix_socket": `"/tmp/no-such-folder/bundle.sock"`})
	wantRefusal(t, s, a, "unable to fetch trust bundle URL")
}
