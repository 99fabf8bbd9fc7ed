// SPDX-License-Identifier: Apache-2.0

// Goal: with tls{} the metrics are read by those whom it names, over the certificate it names, and by
// nobody else. Method: real processes, Go's and go-spiffe's clients.

package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
)

func prometheusTLS(port int, tls string) string {
	return fmt.Sprintf("telemetry { Prometheus { port = %d tls { %s } } }", port, tls)
}

// read gives the page's error, or the lack of a known metric on it.
func read(port int, config *tls.Config) error {
	client := &http.Client{Timeout: CallDeadline, Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/metrics", port))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err == nil && !strings.Contains(string(page), "_uptime_in_ms ") && !strings.Contains(string(page), "_uptime_in_ms{") {
		err = fmt.Errorf("status %d, %q", response.StatusCode, page)
	}
	return err
}

func wantRead(t *testing.T, what string, port int, config *tls.Config) {
	t.Helper()
	Eventually(t, soon, what, func() error { return read(port, config) })
}

func wantRefused(t *testing.T, what string, port int, config *tls.Config) {
	t.Helper()
	if err := read(port, config); err == nil || !strings.Contains(err.Error(), "tls:") {
		t.Errorf("%s: %v", what, err)
	}
}

func TestOnlyAuthorizedIdsReadTheServersMetrics(t *testing.T) {
	port := FreePort(t)
	s := StartServer(t, ServerOptions{TopLevel: prometheusTLS(port, fmt.Sprintf(
		`use_spire_svid = true authorized_spiffe_ids = ["%s", "spiffe://other.test/reader"]`, ID("/reader")))})
	wantRead(t, "the reader", port, s.ClientTLS(t, s.Mint(t, ID("/reader"), 60)))
	wantRefused(t, "another ID", port, s.ClientTLS(t, s.Mint(t, ID("/else"), 60)))
	wantRefused(t, "no certificate", port, s.ClientTLS(t, nil))
	wantRefused(t, "another authority", port, s.ClientTLS(t, ForeignAuthority(t, TD).Foreign(t, ID("/reader"))))

	other := ForeignAuthority(t, "other.test")
	reader := s.ClientTLS(t, other.Foreign(t, "spiffe://other.test/reader"))
	wantRefused(t, "a domain without a bundle", port, reader)
	PutBundle(t, s, &types.Bundle{TrustDomain: "other.test",
		X509Authorities: []*types.X509Certificate{{Asn1: other.Cert.Raw}}})
	wantRead(t, "the reader of another domain", port, reader)
}

func TestAnAgentServesItsMetricsWithItsSvid(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	port := FreePort(t)
	a := StartAgent(t, s, AgentOptions{TopLevel: prometheusTLS(port, fmt.Sprintf(
		`use_spire_svid = true authorized_spiffe_ids = ["%s"]`, ID("/reader")))})
	agent := tlsconfig.AuthorizeID(spiffeid.RequireFromString(a.ID))
	as := func(id string) *tls.Config {
		return tlsconfig.MTLSClientConfig(s.Mint(t, id, 60).SVID, s.X509Bundle(t), agent)
	}
	wantRead(t, "the reader", port, as(ID("/reader")))
	wantRefused(t, "another ID", port, as(ID("/else")))
	wantRefused(t, "no certificate", port, tlsconfig.TLSClientConfig(s.X509Bundle(t), agent))
}

// files makes a serving certificate for 127.0.0.1 and the keys of tls{} that name it.
func files(t *testing.T) (keys string, bundle *x509bundle.Bundle, id spiffeid.ID) {
	t.Helper()
	id = spiffeid.RequireFromString("spiffe://web.test/metrics")
	authority := NewAuthority(t, "web")
	cert, key := authority.Issue(t, "metrics", false, x509.KeyUsageDigitalSignature, id.String()).WriteFiles(t, TempDir(t))
	return fmt.Sprintf(`cert_file = "%s" key_file = "%s"`, cert, key),
		x509bundle.FromX509Authorities(id.TrustDomain(), []*x509.Certificate{authority.Cert}), id
}

func TestCertificateFilesServeEverybodyUnlessClientsAreNamed(t *testing.T) {
	port := FreePort(t)
	keys, bundle, id := files(t)
	StartServer(t, ServerOptions{TopLevel: prometheusTLS(port, keys)})
	wantRead(t, "anybody", port, tlsconfig.TLSClientConfig(bundle, tlsconfig.AuthorizeID(id)))
}

func TestOnlyClientsOfTheClientCaReadTheMetrics(t *testing.T) {
	OursOnly(t, "the reference takes client_ca_file beside use_spire_svid and lets everybody read")
	clients := NewAuthority(t, "clients")
	ca := filepath.Join(TempDir(t), "clients.pem")
	NoError(t, os.WriteFile(ca, PEM("CERTIFICATE", clients.Cert.Raw), 0o600))
	keys, bundle, id := files(t)
	one := func(authority *Authority, usage ...x509.ExtKeyUsage) []tls.Certificate {
		node := authority.IssueFor(t, "prometheus", usage...)
		return []tls.Certificate{{Certificate: [][]byte{node.Cert.Raw}, PrivateKey: node.Key}}
	}
	for name, block := range map[string]string{"files": keys, "SVID": "use_spire_svid = true"} {
		t.Run(name, func(t *testing.T) {
			port := FreePort(t)
			s := StartServer(t, ServerOptions{TopLevel: prometheusTLS(port, fmt.Sprintf(`%s client_ca_file = "%s"`, block, ca))})
			as := func(certificates []tls.Certificate) *tls.Config {
				config := tlsconfig.TLSClientConfig(bundle, tlsconfig.AuthorizeID(id))
				if name == "SVID" {
					config = s.ClientTLS(t, nil)
				}
				config.Certificates = certificates
				return config
			}
			wantRead(t, "a client", port, as(one(clients, x509.ExtKeyUsageClientAuth)))
			wantRead(t, "a client without extended usages", port, as(one(clients)))
			wantRefused(t, "nobody", port, as(nil))
			wantRefused(t, "another CA", port, as(one(NewAuthority(t, "clients"), x509.ExtKeyUsageClientAuth)))
			wantRefused(t, "a server's certificate", port, as(one(clients, x509.ExtKeyUsageServerAuth)))
		})
	}
}

func TestContradictionsOfPrometheusTlsEndTheStart(t *testing.T) {
	keys, _, _ := files(t)
	for block, want := range map[string]string{
		`use_spire_svid = true cert_file = "c"`: "cert_file and key_file cannot be configured when use_spire_svid is enabled",
		`cert_file = "c"`:                       "cert_file and key_file must both be configured unless use_spire_svid is enabled",
		``:                                      "cert_file and key_file must both be configured unless use_spire_svid is enabled",
		`use_spire_svid = true client_ca_file = "c" authorized_spiffe_ids = ["spiffe://a/b"]`: "client_ca_file cannot be configured with authorized_spiffe_ids",
		`use_spire_svid = true authorized_spiffe_ids = ["b"]`:                                 `invalid authorized SPIFFE ID "b": `,
		`cert_file = "/none" key_file = "/none"`:                                              "/none",
		keys + ` client_ca_file = "/none"`:                                                    "/none",
	} {
		s := NewServer(t, ServerOptions{TopLevel: prometheusTLS(FreePort(t), block)})
		log, output, code := Run(t, "", Binary(t, "spire-server"), "run", "-config", s.ConfigPath)
		output += log
		if code == 0 || !strings.Contains(output, "failed to create TLS config for Prometheus") || !strings.Contains(output, want) {
			t.Errorf("tls { %s } ended with %d: %s", block, code, output)
		}
	}
}
