// SPDX-License-Identifier: Apache-2.0

// The clauses of the SPIFFE standards that a running server and agent must keep, looked at on the wire:
// messages as they come, certificates and tokens taken apart by Go's own libraries. Each test names its
// clause; docs/conformance.md lists them all, with those that other tests prove.
package daemons

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

func pair(t *testing.T) (*Server, *Agent) {
	t.Helper()
	s := StartServer(t, ServerOptions{})
	return s, StartAgent(t, s, AgentOptions{})
}

func entry(a *Agent, id, path string) *types.Entry {
	e := NewEntry(ID(path), a.ID, MySelector())
	e.Id = id
	return e
}

func openX509(t *testing.T, a *Agent) grpc.ServerStreamingClient[workload.X509SVIDResponse] {
	t.Helper()
	stream, err := a.Raw(t).FetchX509SVID(WithHeader(Context(t)), &workload.X509SVIDRequest{})
	NoError(t, err)
	return stream
}

// SPIFFE Workload API 5.2: all fields of X509SVID but the hint are mandatory; the chain is DER, leaf first;
// the key PKCS#8, unencrypted; the bundle DER; hints are unique in a response.
func TestWorkloadAPI_5_2_X509SVIDMessagesAreComplete(t *testing.T) {
	s, a := pair(t)
	one, two, three := entry(a, "e1", "/one"), entry(a, "e2", "/two"), entry(a, "e3", "/three")
	one.Hint, two.Hint = "same", "same"
	s.Create(t, one, two, three)
	a.WaitFetch(t, "/one /three")
	response, err := openX509(t, a).Recv()
	NoError(t, err)
	hints := map[string]bool{}
	for _, svid := range response.Svids {
		chain := Must[[]*x509.Certificate](t)(x509.ParseCertificates(svid.X509Svid))
		key := Must[any](t)(x509.ParsePKCS8PrivateKey(svid.X509SvidKey)).(*ecdsa.PrivateKey)
		if !key.PublicKey.Equal(chain[0].PublicKey) {
			t.Errorf("%s: the key is not the leaf's", svid.SpiffeId)
		}
		if len(chain[0].URIs) != 1 || chain[0].URIs[0].String() != svid.SpiffeId {
			t.Errorf("%s: URI SANs %v", svid.SpiffeId, chain[0].URIs)
		}
		roots := x509.NewCertPool()
		for _, root := range Must[[]*x509.Certificate](t)(x509.ParseCertificates(svid.Bundle)) {
			roots.AddCert(root)
		}
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", svid.SpiffeId, err)
		}
		if svid.Hint != "" && hints[svid.Hint] {
			t.Errorf("hint %q twice", svid.Hint)
		}
		hints[svid.Hint] = true
	}
}

// X509-SVID 2, 3.1, 4.1, 4.3, 4.4: the leaf, as a workload gets it.
func TestX509SVID_4_LeavesThatWorkloadsGetHaveTheConstraints(t *testing.T) {
	s, a := pair(t)
	e := entry(a, "e1", "/web")
	e.DnsNames = []string{"web.test"}
	s.Create(t, e)
	leaf := a.WaitFetch(t, "/web").DefaultSVID().Certificates[0]
	wantLeaf(t, leaf)
}

func wantLeaf(t *testing.T, leaf *x509.Certificate) {
	t.Helper()
	if len(leaf.URIs) != 1 || leaf.URIs[0].Scheme != "spiffe" || len(leaf.URIs[0].Path) < 2 {
		t.Errorf("2, 3.1: URI SANs %v", leaf.URIs)
	}
	if leaf.IsCA {
		t.Error("4.1: cA is set")
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		t.Errorf("4.3: key usage %b", leaf.KeyUsage)
	}
	wantCriticalKeyUsage(t, leaf)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if !slices.Contains(leaf.ExtKeyUsage, usage) {
			t.Errorf("4.4: extended key usage %v", leaf.ExtKeyUsage)
		}
	}
}

func wantCriticalKeyUsage(t *testing.T, certificate *x509.Certificate) {
	t.Helper()
	for _, extension := range certificate.Extensions {
		if extension.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 15}) && extension.Critical {
			return
		}
	}
	t.Error("4.3: key usage MUST be set and critical")
}

// X509-SVID 3.2, 4.1, 4.3; SPIFFE-ID 3.1: the signing certificate.
func TestX509SVID_3_2_TheSigningCertificateHasTheConstraints(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	for _, root := range s.X509Bundle(t).X509Authorities() {
		if len(root.URIs) != 1 || root.URIs[0].String() != "spiffe://"+TD {
			t.Errorf("3.2: URI SANs %v, want the trust domain's without a path", root.URIs)
		}
		if !root.IsCA || root.KeyUsage&x509.KeyUsageCertSign == 0 {
			t.Errorf("4.1, 4.3: cA %v, key usage %b", root.IsCA, root.KeyUsage)
		}
		wantCriticalKeyUsage(t, root)
	}
}

// SPIFFE Workload API 4.3: the first response comes without delay; each has the full set, not just the
// change.
func TestWorkloadAPI_4_3_EachResponseHasTheFullSet(t *testing.T) {
	s, a := pair(t)
	SetFederatedBundle(t, s, "one.test")
	first := entry(a, "e1", "/one")
	first.FederatesWith = []string{"one.test"}
	s.Create(t, first)
	a.WaitFetch(t, "/one")
	stream := openX509(t, a)
	want := func(paths string) {
		t.Helper()
		for {
			response, err := stream.Recv() // Context bounds it
			NoError(t, err)
			var got []string
			for _, svid := range response.Svids {
				got = append(got, strings.TrimPrefix(svid.SpiffeId, "spiffe://"+TD))
				if len(svid.X509Svid) == 0 || len(svid.X509SvidKey) == 0 || len(svid.Bundle) == 0 {
					t.Fatalf("%s is not complete", svid.SpiffeId)
				}
			}
			if len(response.FederatedBundles["spiffe://one.test"]) == 0 {
				t.Fatalf("a response without the federated bundle: %v", got)
			}
			if strings.Join(got, " ") == paths {
				return
			}
		}
	}
	want("/one")
	s.Create(t, entry(a, "e2", "/two"))
	want("/one /two")
	s.Delete(t, "e2")
	want("/one")
}

// JWT-SVID 2, 3, 5.1: the token, as a workload gets it; Workload API 6.2: one for each identity.
func TestJWTSVID_2_3_TokensThatWorkloadsGet(t *testing.T) {
	s, a := pair(t)
	s.Create(t, entry(a, "e1", "/one"), entry(a, "e2", "/two"))
	a.WaitFetch(t, "/one /two")
	raw := a.Raw(t)
	_, err := raw.FetchJWTSVID(WithHeader(Context(t)), &workload.JWTSVIDRequest{})
	WantStatus(t, err, codes.InvalidArgument, "audience")
	response, err := raw.FetchJWTSVID(WithHeader(Context(t)), &workload.JWTSVIDRequest{Audience: []string{"me", "you"}})
	NoError(t, err)
	if len(response.Svids) != 2 {
		t.Fatalf("6.2: %d SVIDs for two identities", len(response.Svids))
	}
	bundles, err := raw.FetchJWTBundles(WithHeader(Context(t)), &workload.JWTBundlesRequest{})
	NoError(t, err)
	bundle, err := bundles.Recv()
	NoError(t, err)
	keys := wantJWTKeysOnly(t, bundle.Bundles["spiffe://"+TD])
	for _, svid := range response.Svids {
		wantToken(t, svid, keys)
	}
}

func part(t *testing.T, token string, index int) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("5.1: not the compact serialization: %d parts", len(parts))
	}
	var object map[string]any
	NoError(t, json.Unmarshal(Must[[]byte](t)(base64.RawURLEncoding.DecodeString(parts[index])), &object))
	return object
}

func wantToken(t *testing.T, svid *workload.JWTSVID, keys map[string]bool) {
	t.Helper()
	header, claims := part(t, svid.Svid, 0), part(t, svid.Svid, 1)
	for name, value := range header {
		switch name {
		case "alg":
			if !slices.Contains(strings.Fields("RS256 RS384 RS512 ES256 ES384 ES512 PS256 PS384 PS512"), value.(string)) {
				t.Errorf("2.1: alg %v", value)
			}
		case "typ":
			if value != "JWT" && value != "JOSE" {
				t.Errorf("2.3: typ %v", value)
			}
		case "kid":
			if !keys[value.(string)] {
				t.Errorf("kid %v is not in the bundle", value)
			}
		default:
			t.Errorf("2: header %q MUST NOT be included", name)
		}
	}
	if claims["sub"] != svid.SpiffeId {
		t.Errorf("3.1: sub %v of %s", claims["sub"], svid.SpiffeId)
	}
	if fmt.Sprint(claims["aud"]) != "[me you]" {
		t.Errorf("3.2: aud %v", claims["aud"])
	}
	if _, there := claims["exp"].(float64); !there {
		t.Errorf("3.3: exp %v", claims["exp"])
	}
}

// wantJWTKeysOnly: Workload API 6.2 (FetchJWTBundles): a JWK set, no keys of other uses.
func wantJWTKeysOnly(t *testing.T, set []byte) map[string]bool {
	t.Helper()
	var document struct {
		Keys []map[string]any `json:"keys"`
	}
	NoError(t, json.Unmarshal(set, &document))
	keys := map[string]bool{}
	for _, key := range document.Keys {
		if _, certificate := key["x5c"]; certificate {
			t.Errorf("an X.509 authority among the JWT keys: %v", key)
		}
		kid, _ := key["kid"].(string)
		keys[kid] = true
	}
	if len(keys) == 0 || keys[""] {
		t.Errorf("keys %v", keys)
	}
	return keys
}
