// SPDX-License-Identifier: Apache-2.0

// SPIFFE Trust Domain and Bundle 4, X509-SVID 6.1, JWT-SVID 6.1 and SPIFFE-ID 3: what the server publishes
// and what it refuses to sign, through its command line and API.

package daemons

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"

	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
)

type document struct {
	Keys     []map[string]any `json:"keys"`
	Sequence *json.Number     `json:"spiffe_sequence"`
	Hint     *json.Number     `json:"spiffe_refresh_hint"`
}

// published is the bundle as an operator publishes it.
func published(t *testing.T, s *Server) (document, map[string]json.RawMessage) {
	t.Helper()
	out, errs, code := Run(t, "", Binary(t, "spire-server"), "bundle", "show", "-socketPath", s.SocketPath,
		"-format", "spiffe")
	if code != 0 {
		t.Fatalf("bundle show: %d %s", code, errs)
	}
	var all map[string]json.RawMessage
	NoError(t, json.Unmarshal([]byte(out), &all))
	var d document
	decoder := json.NewDecoder(bytes.NewReader([]byte(out)))
	decoder.UseNumber()
	NoError(t, decoder.Decode(&d))
	return d, all
}

// Trust Domain and Bundle 4.2: kty and use are set. X509-SVID 6.1: use x509-svid, no kid, x5c with exactly one
// CA certificate. JWT-SVID 6.1: use jwt-svid, a kid. SHOULD NOT: parameters that no standard defines.
func TestBundle_4_2_TheElementsOfAPublishedBundle(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	d, all := published(t, s)
	for name := range all {
		if name != "keys" && name != "spiffe_sequence" && name != "spiffe_refresh_hint" {
			t.Errorf("4.1: parameter %q", name)
		}
	}
	kinds := map[any]int{}
	for _, key := range d.Keys {
		kinds[key["use"]]++
		if key["kty"] != "EC" && key["kty"] != "RSA" {
			t.Errorf("4.2.1: kty %v", key["kty"])
		}
		_, kid := key["kid"]
		certificates, _ := key["x5c"].([]any)
		switch key["use"] {
		case "x509-svid":
			if kid {
				t.Error("X509-SVID 6.1: kid MUST NOT be set")
			}
			if len(certificates) != 1 {
				t.Fatalf("X509-SVID 6.1: %d certificates in x5c", len(certificates))
			}
			der := Must[[]byte](t)(base64.StdEncoding.DecodeString(certificates[0].(string)))
			if !Must[*x509.Certificate](t)(x509.ParseCertificate(der)).IsCA {
				t.Error("X509-SVID 6.1: x5c is no CA certificate")
			}
		case "jwt-svid":
			if !kid || key["kid"] == "" {
				t.Error("JWT-SVID 6.1: kid MUST be set")
			}
			if certificates != nil {
				t.Error("a JWT key with certificates")
			}
		default:
			t.Errorf("4.2.2: use %v", key["use"])
		}
	}
	if kinds["x509-svid"] == 0 || kinds["jwt-svid"] == 0 {
		t.Errorf("uses %v", kinds)
	}
}

// Trust Domain and Bundle 4.1.1: "MUST be a monotonically increasing integer, and MUST be changed whenever the
// contents of the bundle are updated"; 4.1.2: the refresh hint is an integer of seconds.
func TestBundle_4_1_TheSequenceNumberGrowsWithEachChange(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	sequence := func() int64 {
		t.Helper()
		d, _ := published(t, s)
		if d.Sequence == nil {
			return 0
		}
		return Must[int64](t)(d.Sequence.Int64())
	}
	before := sequence()
	for _, change := range []*bundlev1.AppendBundleRequest{
		{X509Authorities: []*types.X509Certificate{{Asn1: ForeignAuthority(t, TD).Cert.Raw}}},
		{JwtAuthorities: []*types.JWTKey{JWTKey(t, "another")}},
	} {
		_, err := s.Bundles(t).AppendBundle(Context(t), change)
		NoError(t, err)
		after := sequence()
		if after <= before {
			t.Errorf("4.1.1: it was %d and is %d after a change", before, after)
		}
		before = after
	}
	if again := sequence(); again != before {
		t.Errorf("it went from %d to %d without a change", before, again)
	}
	d, _ := published(t, s)
	if d.Hint != nil {
		if _, err := d.Hint.Int64(); err != nil {
			t.Errorf("4.1.2: %v", err)
		}
	}
}

// X509-SVID 3.1: "Leaf certificate SPIFFE IDs MUST have a non-root path component"; SPIFFE-ID 4.1.2: the
// authority of one trust domain makes no assertions about another.
func TestX509SVID_3_1_TheServerSignsNoLeafWithoutAPathOrOfAnotherTrustDomain(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	for _, id := range []string{"spiffe://" + TD, "spiffe://other.test/web"} {
		t.Run(id, func(t *testing.T) {
			_, err := s.Svids(t).MintX509SVID(Context(t), &svidv1.MintX509SVIDRequest{Csr: CSR(t, NewKey(t), nil, id)})
			WantStatus(t, err, codes.InvalidArgument, "")
			_, err = s.Svids(t).MintJWTSVID(Context(t), &svidv1.MintJWTSVIDRequest{Id: ProtoID(id), Audience: []string{"me"}})
			WantStatus(t, err, codes.InvalidArgument, "")
			response, err := s.Entries(t).BatchCreateEntry(Context(t), &entryv1.BatchCreateEntryRequest{
				Entries: []*types.Entry{NewEntry(id, ID("/parent"), "unix:uid:0")}})
			NoError(t, err)
			WantItem(t, response.Results[0].Status, codes.InvalidArgument, "")
		})
	}
}

// SPIFFE-ID 2.3: "MUST support SPIFFE URIs up to 2048 bytes in length", all the way into a certificate.
func TestSPIFFEID_2_3_AnIdOf2048BytesIsIssued(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	id := ID("/")
	for len(id) < 2048 {
		id += "a"
	}
	if got := s.Mint(t, id, 60).SVID.ID.String(); got != id {
		t.Errorf("it is %.80s...", got)
	}
	_, err := s.Svids(t).MintX509SVID(Context(t), &svidv1.MintX509SVIDRequest{Csr: CSR(t, NewKey(t), nil, id+"a")})
	WantStatus(t, err, codes.InvalidArgument, "")
}
