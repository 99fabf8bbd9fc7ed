// SPDX-License-Identifier: Apache-2.0

// Goal: the bundle endpoint gives other trust domains our bundle, authenticated by the server's SVID,
// as go-spiffe's federation client demands it, and nothing else.

package bundleapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

func startWithEndpoint(t *testing.T, block string) (*Server, string) {
	t.Helper()
	port := FreePort(t)
	s := StartServer(t, ServerOptions{Blocks: fmt.Sprintf(
		"  federation { bundle_endpoint { address = \"127.0.0.1\" port = %d %s } }", port, block)})
	return s, fmt.Sprintf("https://127.0.0.1:%d", port)
}

func TestAnotherDomainFetchesTheBundleFromTheEndpoint(t *testing.T) {
	s, url := startWithEndpoint(t, `refresh_hint = "10m" profile "https_spiffe" {}`)
	td := spiffeid.RequireTrustDomainFromString(TD)
	server := spiffeid.RequireFromString(ID("/spire/server"))
	for _, path := range []string{"", "/", "/bundle"} {
		bundle, err := federation.FetchBundle(Context(t), td, url+path,
			federation.WithSPIFFEAuth(s.X509Bundle(t), server))
		NoError(t, err)
		if !bundle.X509Bundle().Equal(s.X509Bundle(t)) {
			t.Errorf("GET %q: another X.509 bundle", path)
		}
		if len(bundle.JWTAuthorities()) != 1 {
			t.Errorf("GET %q: %d JWT authorities", path, len(bundle.JWTAuthorities()))
		}
		if hint, _ := bundle.RefreshHint(); hint != 10*time.Minute {
			t.Errorf("GET %q: refresh hint %v", path, hint)
		}
	}
	_, err := federation.FetchBundle(Context(t), td, url,
		federation.WithSPIFFEAuth(s.X509Bundle(t), spiffeid.RequireFromString(ID("/else"))))
	if err == nil {
		t.Error("the endpoint passed for another identity")
	}
}

func TestTheEndpointServesNothingElse(t *testing.T) {
	_, url := startWithEndpoint(t, `profile "https_spiffe" {}`)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 200}, {"GET", "/bundle", 200}, {"GET", "/x", 404}, {"POST", "/", 405}, {"PUT", "/bundle", 405},
		{"GET", "//", 404}, {"GET", "/bundle/", 404},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), CallDeadline)
		request := Must[*http.Request](t)(http.NewRequestWithContext(ctx, c.method, url+c.path, bytes.NewReader(nil)))
		response, err := client.Do(request)
		NoError(t, err)
		body := Must[[]byte](t)(io.ReadAll(response.Body))
		response.Body.Close()
		cancel()
		if response.StatusCode != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, response.StatusCode, body, c.want)
		}
		if c.want == 200 && !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s %s: %q", c.method, c.path, response.Header.Get("Content-Type"))
		}
	}
}

func TestAnEndpointThatCannotBeServedIsRefused(t *testing.T) {
	for block, want := range map[string]string{
		`bundle_endpoint { port = 8443 profile "https_web" { acme {} } }`: "https_web is not built yet",
		`bundle_endpoint { port = 8443 acme {} }`:                         "ACME certificates are not built yet",
		`bundle_endpoint { port = 8443 profile "nosuch" {} }`:             "nknown",
		`bundle_endpoint { port = 0 }`:                                    "port",
		`bundle_endpoint { port = 8443 refresh_hint = "soon" }`:           "refresh_hint",
		`federates_with "x.test" { bundle_endpoint_url = "https://x" }`:   "fetching other domains' bundles is not built yet",
	} {
		dir := TempDir(t)
		conf := WriteFile(t, dir, "server.conf", fmt.Sprintf(`server {
  trust_domain = "interop.test"
  data_dir = "%s"
  federation { %s }
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "%s/d.sqlite3" } }
  KeyManager "memory" { plugin_data {} }
}
`, dir, block, dir))
		stdout, stderr, code := Run(t, "", Binary(t, "spire-server"), "validate", "-config", conf)
		if code != 1 || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: exit code %d, %s%s", block, code, stdout, stderr)
		}
	}
}
