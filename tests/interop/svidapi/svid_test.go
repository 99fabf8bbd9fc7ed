// SPDX-License-Identifier: Apache-2.0

// Goal: what the server signs has the profile of the reference and of the SPIFFE standards (surface
// 5.1 and 5.2), and each refusal of a request or of one item has its code and words.

package svidapi

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

var workload = ID("/workload")

const visible = 15 * time.Second

// wantProfile demands everything that an X509-SVID of a workload must have.
func wantProfile(t *testing.T, s *Server, chain [][]byte, id string, key crypto.Signer, dns []string) *x509.Certificate {
	t.Helper()
	if len(chain) != 1 {
		t.Fatalf("a chain of %d certificates, want the leaf only: the root is never in it", len(chain))
	}
	leaf := Must[*x509.Certificate](t)(x509.ParseCertificate(chain[0]))
	got, _, err := x509svid.Verify([]*x509.Certificate{leaf}, s.X509Bundle(t))
	NoError(t, err)
	if got.String() != id || len(leaf.URIs) != 1 {
		t.Errorf("SPIFFE ID %s, URIs %v", got, leaf.URIs)
	}
	if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(leaf.PublicKey) {
		t.Error("another key was certified")
	}
	if want := x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement; leaf.KeyUsage != want {
		t.Errorf("key usage %b, want %b", leaf.KeyUsage, want)
	}
	if len(leaf.ExtKeyUsage) != 2 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth ||
		leaf.ExtKeyUsage[1] != x509.ExtKeyUsageClientAuth || len(leaf.UnknownExtKeyUsage) != 0 {
		t.Errorf("extended key usage %v", leaf.ExtKeyUsage)
	}
	if !leaf.BasicConstraintsValid || leaf.IsCA {
		t.Errorf("basic constraints: there %v, CA %v", leaf.BasicConstraintsValid, leaf.IsCA)
	}
	if len(leaf.SubjectKeyId) == 0 || len(leaf.AuthorityKeyId) == 0 {
		t.Error("no key identifiers")
	}
	critical := map[string]bool{"2.5.29.15": true, "2.5.29.19": true}
	for _, extension := range leaf.Extensions {
		if extension.Critical != critical[extension.Id.String()] {
			t.Errorf("extension %v: critical is %v", extension.Id, extension.Critical)
		}
	}
	if strings.Join(leaf.DNSNames, " ") != strings.Join(dns, " ") {
		t.Errorf("DNS names %v, want %v", leaf.DNSNames, dns)
	}
	if bits := leaf.SerialNumber.BitLen(); bits > 128 || leaf.SerialNumber.Sign() <= 0 {
		t.Errorf("a serial number of %d bits", bits)
	}
	if age := time.Since(leaf.NotBefore); age < 8*time.Second || age > 60*time.Second {
		t.Errorf("not before is %v ago, want about 10 s", age)
	}
	return leaf
}

func wantLife(t *testing.T, leaf *x509.Certificate, want time.Duration) {
	t.Helper()
	if got := leaf.NotAfter.Sub(leaf.NotBefore) - 10*time.Second; got < want-2*time.Second || got > want+2*time.Second {
		t.Errorf("it lives for %v, want %v", got, want)
	}
}

func TestMintedX509SvidsHaveTheProfile(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{"default_x509_svid_ttl": `"40m"`}})
	keys := map[string]crypto.Signer{
		"ec-p256":  NewKey(t),
		"ec-p384":  Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"rsa-2048": Must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)),
	}
	for name, key := range keys {
		t.Run(name, func(t *testing.T) {
			response, err := s.Svids(t).MintX509SVID(Context(t), &svidv1.MintX509SVIDRequest{
				Csr: CSR(t, key, []string{"b.test", "a.test"}, workload), Ttl: 600})
			NoError(t, err)
			leaf := wantProfile(t, s, response.Svid.CertChain, workload, key, []string{"b.test", "a.test"})
			wantLife(t, leaf, 10*time.Minute)
			if leaf.Subject.CommonName != "b.test" {
				t.Errorf("common name %q, want the first DNS name", leaf.Subject.CommonName)
			}
			if response.Svid.ExpiresAt != leaf.NotAfter.Unix() || IDString(response.Svid.Id) != workload {
				t.Errorf("response says %v", response.Svid)
			}
		})
	}
	t.Run("with the default life and subject", func(t *testing.T) {
		key := NewKey(t)
		response, err := s.Svids(t).MintX509SVID(Context(t), &svidv1.MintX509SVIDRequest{Csr: CSR(t, key, nil, workload)})
		NoError(t, err)
		leaf := wantProfile(t, s, response.Svid.CertChain, workload, key, nil)
		wantLife(t, leaf, 40*time.Minute)
		if leaf.Subject.String() != "O=SPIRE,C=US" {
			t.Errorf("subject %q", leaf.Subject)
		}
	})
	t.Run("with serial numbers that differ", func(t *testing.T) {
		seen := map[string]bool{}
		for range 50 {
			seen[s.Mint(t, workload, 60).SVID.Certificates[0].SerialNumber.String()] = true
		}
		if len(seen) != 50 {
			t.Errorf("%d serial numbers among 50 certificates", len(seen))
		}
	})
	t.Run("never beyond the authority's own end", func(t *testing.T) {
		identity := s.Mint(t, workload, 100*24*3600)
		root := s.X509Bundle(t).X509Authorities()[0]
		if !identity.SVID.Certificates[0].NotAfter.Equal(root.NotAfter) {
			t.Errorf("it ends at %v, its authority at %v", identity.SVID.Certificates[0].NotAfter, root.NotAfter)
		}
	})
}

func TestTheServersOwnAuthorityHasTheProfile(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{"ca_ttl": `"48h"`}})
	roots := s.X509Bundle(t).X509Authorities()
	if len(roots) != 1 {
		t.Fatalf("%d authorities", len(roots))
	}
	root := roots[0]
	wantLife(t, root, 48*time.Hour)
	if !root.IsCA || !root.BasicConstraintsValid || root.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("CA %v, key usage %b", root.IsCA, root.KeyUsage)
	}
	if len(root.URIs) != 1 || root.URIs[0].String() != "spiffe://"+TD {
		t.Errorf("URIs %v", root.URIs)
	}
	if len(root.SubjectKeyId) != 20 {
		t.Errorf("subject key id of %d bytes", len(root.SubjectKeyId))
	}
	subject := root.Subject
	if subject.SerialNumber != root.SerialNumber.String() || strings.Join(subject.Organization, "") != "SPIFFE" ||
		strings.Join(subject.Country, "") != "US" {
		t.Errorf("subject %v, serial number %v", subject, root.SerialNumber)
	}
}

func TestMintRefusesBadCertificateRequests(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	key := NewKey(t)
	cases := []struct {
		name    string
		csr     []byte
		message string
	}{
		{"none", nil, "missing CSR"},
		{"garbage", []byte("garbage"), "malformed CSR"},
		{"trailing bytes", append(CSR(t, key, nil, workload), 0), "malformed CSR"},
		{"a wrong signature", BrokenCSR(t, workload), "failed to verify CSR signature"},
		{"no URI", CSR(t, key, nil), "CSR URI SAN is required"},
		{"two URIs", CSR(t, key, nil, workload, ID("/other")), "only one URI SAN is expected"},
		{"not a SPIFFE ID", CSR(t, key, nil, "https://"+TD+"/x"), "CSR URI SAN is invalid"},
		{"a foreign trust domain", CSR(t, key, nil, "spiffe://other.test/x"), "CSR URI SAN is invalid"},
		{"no path", CSR(t, key, nil, ID("")), "CSR URI SAN is invalid"},
		{"a reserved path", CSR(t, key, nil, ID("/spire/server")), "CSR URI SAN is invalid"},
		{"a bad DNS name", CSR(t, key, []string{"a.*.test"}, workload), "CSR DNS name is invalid"},
		{"a wildcard over another name", CSR(t, key, []string{"*.b.test", "a.b.test"}, workload),
			"CSR DNS name contains a wildcard that covers another non-wildcard name"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Svids(t).MintX509SVID(Context(t), &svidv1.MintX509SVIDRequest{Csr: c.csr})
			WantStatus(t, err, codes.InvalidArgument, c.message)
		})
	}
}

// tokenParts are a JWT's header and claims, unverified.
func tokenParts(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token of %d parts", len(parts))
	}
	for i, target := range []*map[string]any{&header, &claims} {
		NoError(t, json.Unmarshal(Must[[]byte](t)(base64.RawURLEncoding.DecodeString(parts[i])), target))
	}
	return header, claims
}

func jwtBundle(t *testing.T, s *Server) *jwtbundle.Bundle {
	t.Helper()
	bundle, err := s.Bundles(t).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
	NoError(t, err)
	result := jwtbundle.New(spiffeid.RequireTrustDomainFromString(TD))
	for _, authority := range bundle.JwtAuthorities {
		key := Must[any](t)(x509.ParsePKIXPublicKey(authority.PublicKey))
		NoError(t, result.AddJWTAuthority(authority.KeyId, key))
	}
	return result
}

func wantToken(t *testing.T, s *Server, svid *types.JWTSVID, id string, life time.Duration, audience ...string) map[string]any {
	t.Helper()
	parsed, err := jwtsvid.ParseAndValidate(svid.Token, jwtBundle(t, s), audience)
	NoError(t, err)
	header, claims := tokenParts(t, svid.Token)
	if parsed.ID.String() != id || claims["sub"] != id || IDString(svid.Id) != id {
		t.Errorf("the token is for %s, the response for %v", parsed.ID, svid.Id)
	}
	if header["alg"] != "ES256" || header["typ"] != "JWT" || len(fmt.Sprint(header["kid"])) != 32 || len(header) != 3 {
		t.Errorf("header %v", header)
	}
	if list, ok := claims["aud"].([]any); !ok || len(list) != len(audience) {
		t.Errorf("aud is %v, want a list of %v", claims["aud"], audience)
	}
	iat, exp := int64(claims["iat"].(float64)), int64(claims["exp"].(float64))
	if iat != svid.IssuedAt || exp != svid.ExpiresAt || exp-iat != int64(life.Seconds()) {
		t.Errorf("iat %d, exp %d, response %v; want a life of %v", iat, exp, svid, life)
	}
	return claims
}

func TestMintedJwtSvidsHaveTheProfile(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{
		"default_jwt_svid_ttl": `"7m"`, "jwt_issuer": `"https://issuer.test"`}})
	mint := func(ttl int32, audience ...string) *types.JWTSVID {
		t.Helper()
		response, err := s.Svids(t).MintJWTSVID(Context(t), &svidv1.MintJWTSVIDRequest{
			Id: ProtoID(workload), Audience: audience, Ttl: ttl})
		NoError(t, err)
		return response.Svid
	}
	claims := wantToken(t, s, mint(0, "one"), workload, 7*time.Minute, "one")
	if claims["iss"] != "https://issuer.test" || len(claims) != 5 {
		t.Errorf("claims %v", claims)
	}
	wantToken(t, s, mint(33, "one", "two"), workload, 33*time.Second, "one", "two")
	wantToken(t, s, mint(33, "one", "", "two"), workload, 33*time.Second, "one", "two")

	t.Run("never beyond the key's own end", func(t *testing.T) {
		bundle, err := s.Bundles(t).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
		NoError(t, err)
		if got, want := mint(100*24*3600, "one").ExpiresAt, bundle.JwtAuthorities[0].ExpiresAt; got != want {
			t.Errorf("it ends at %d, its key at %d", got, want)
		}
	})
	refused := []struct {
		name    string
		request *svidv1.MintJWTSVIDRequest
		message string
	}{
		{"no id", &svidv1.MintJWTSVIDRequest{Audience: []string{"a"}}, "invalid SPIFFE ID: request must specify SPIFFE ID"},
		{"foreign id", &svidv1.MintJWTSVIDRequest{Id: ProtoID("spiffe://other.test/x"), Audience: []string{"a"}},
			"invalid SPIFFE ID"},
		{"reserved id", &svidv1.MintJWTSVIDRequest{Id: ProtoID(ID("/spire/x")), Audience: []string{"a"}},
			"invalid SPIFFE ID"},
		{"no audience", &svidv1.MintJWTSVIDRequest{Id: ProtoID(workload)}, "at least one audience is required"},
	}
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Svids(t).MintJWTSVID(Context(t), c.request)
			WantStatus(t, err, codes.InvalidArgument, c.message)
		})
	}
	t.Run("audiences that are all empty", func(t *testing.T) {
		_, err := s.Svids(t).MintJWTSVID(Context(t), &svidv1.MintJWTSVIDRequest{Id: ProtoID(workload), Audience: []string{""}})
		if err == nil {
			t.Error("a token without any audience")
		}
	})
}

func TestDisabledJwtSvidsAreUnimplemented(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{"disable_jwt_svids": "true"}})
	_, err := s.Svids(t).MintJWTSVID(Context(t), &svidv1.MintJWTSVIDRequest{Id: ProtoID(workload), Audience: []string{"a"}})
	WantStatus(t, err, codes.Unimplemented, "JWT functionality is disabled")
	bundle, err := s.Bundles(t).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
	NoError(t, err)
	if len(bundle.JwtAuthorities) != 0 {
		t.Errorf("there are JWT keys: %v", bundle.JwtAuthorities)
	}
}

func TestWitSvidsAreUnimplemented(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	_, err := s.Svids(t).MintWITSVID(Context(t), &svidv1.MintWITSVIDRequest{Id: ProtoID(workload)})
	WantStatus(t, err, codes.Unimplemented, "")
}

func batch(t *testing.T, conn grpc.ClientConnInterface, params ...*svidv1.NewX509SVIDParams) []*svidv1.BatchNewX509SVIDResponse_Result {
	t.Helper()
	response, err := svidv1.NewSVIDClient(conn).BatchNewX509SVID(Context(t), &svidv1.BatchNewX509SVIDRequest{Params: params})
	NoError(t, err)
	if len(response.Results) != len(params) {
		t.Fatalf("%d results for %d requests", len(response.Results), len(params))
	}
	return response.Results
}

func TestBatchNewX509SvidJudgesEachItem(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	agent := s.NewAgent(t)
	conn := s.Dial(t, agent)
	key := NewKey(t)
	entry := NewEntry(workload, agent.SVID.ID.String(), "t:1")
	entry.Id, entry.X509SvidTtl, entry.DnsNames = "mine", 120, []string{"w.test"}
	foreign := NewEntry(ID("/foreign"), ID("/spire/agent/other"), "t:1")
	foreign.Id = "foreign"
	s.Create(t, entry, foreign)
	csr := CSR(t, key, []string{"ignored.test"}, ID("/ignored"))
	Eventually(t, visible, "the entry may be signed", func() error {
		if status := batch(t, conn, &svidv1.NewX509SVIDParams{EntryId: "mine", Csr: csr})[0].Status; status.Code != 0 {
			return fmt.Errorf("%v", status)
		}
		return nil
	})

	results := batch(t, conn,
		&svidv1.NewX509SVIDParams{EntryId: "mine", Csr: csr},
		&svidv1.NewX509SVIDParams{Csr: csr},
		&svidv1.NewX509SVIDParams{EntryId: "mine"},
		&svidv1.NewX509SVIDParams{EntryId: "none", Csr: csr},
		&svidv1.NewX509SVIDParams{EntryId: "foreign", Csr: csr},
		&svidv1.NewX509SVIDParams{EntryId: "mine", Csr: []byte("garbage")},
		&svidv1.NewX509SVIDParams{EntryId: "mine", Csr: BrokenCSR(t)},
		&svidv1.NewX509SVIDParams{EntryId: "mine", Csr: csr})
	WantItem(t, results[0].Status, codes.OK, "")
	leaf := wantProfile(t, s, results[0].Svid.CertChain, workload, key, []string{"w.test"})
	wantLife(t, leaf, 2*time.Minute)
	if leaf.Subject.CommonName != "w.test" {
		t.Errorf("subject %v", leaf.Subject)
	}
	WantItem(t, results[1].Status, codes.InvalidArgument, "missing entry ID")
	WantItem(t, results[2].Status, codes.InvalidArgument, "missing CSR")
	WantItem(t, results[3].Status, codes.NotFound, "entry not found or not authorized")
	WantItem(t, results[4].Status, codes.NotFound, "entry not found or not authorized")
	WantItem(t, results[5].Status, codes.InvalidArgument, "malformed CSR")
	WantItem(t, results[6].Status, codes.InvalidArgument, "invalid CSR signature")
	WantItem(t, results[7].Status, codes.OK, "")
	for i, result := range results[1:7] {
		if result.Svid != nil {
			t.Errorf("the refused item %d has an SVID", i+1)
		}
	}

	_, err := svidv1.NewSVIDClient(conn).BatchNewX509SVID(Context(t), &svidv1.BatchNewX509SVIDRequest{})
	WantStatus(t, err, codes.InvalidArgument, "missing parameters")
}

func TestNewJwtSvidSignsForTheAgentsEntriesOnly(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	agent := s.NewAgent(t)
	client := svidv1.NewSVIDClient(s.Dial(t, agent))
	entry := NewEntry(workload, agent.SVID.ID.String(), "t:1")
	entry.Id, entry.JwtSvidTtl = "mine", 44
	unique := NewEntry(ID("/unique"), agent.SVID.ID.String(), "t:1")
	unique.Id, unique.AdditionalAttributes = "unique", &types.Entry_AdditionalAttributes{JwtSvidIncludeJti: true}
	s.Create(t, entry, unique)
	sign := func(id string, audience ...string) (*types.JWTSVID, error) {
		response, err := client.NewJWTSVID(Context(t), &svidv1.NewJWTSVIDRequest{EntryId: id, Audience: audience})
		return response.GetSvid(), err
	}
	Eventually(t, visible, "the entries may be signed", func() error { _, err := sign("unique", "a"); return err })

	svid, err := sign("mine", "a", "b")
	NoError(t, err)
	claims := wantToken(t, s, svid, workload, 44*time.Second, "a", "b")
	if _, there := claims["jti"]; there {
		t.Errorf("claims %v", claims)
	}
	t.Run("with a jti when the entry asks for it", func(t *testing.T) {
		seen := map[string]bool{}
		for range 3 {
			svid, err := sign("unique", "a")
			NoError(t, err)
			_, claims := tokenParts(t, svid.Token)
			raw := Must[[]byte](t)(base64.RawURLEncoding.DecodeString(fmt.Sprint(claims["jti"])))
			if len(raw) != 16 || raw[6]>>4 != 4 {
				t.Errorf("jti %v is no UUID of version 4", claims["jti"])
			}
			seen[string(raw)] = true
		}
		if len(seen) != 3 {
			t.Error("a jti came twice")
		}
	})
	_, err = sign("none", "a")
	WantStatus(t, err, codes.NotFound, "entry not found or not authorized")
	_, err = sign("", "a")
	WantStatus(t, err, codes.NotFound, "entry not found or not authorized")
	_, err = sign("mine")
	WantStatus(t, err, codes.InvalidArgument, "at least one audience is required")
}

func TestKeyTypesOfTheAuthoritiesAreAsConfigured(t *testing.T) {
	for _, c := range []struct{ ca, jwt, alg string }{
		{"ec-p384", "", "ES384"}, {"rsa-2048", "ec-p256", "ES256"}, {"ec-p256", "rsa-2048", "RS256"},
	} {
		t.Run(c.ca+" "+c.jwt, func(t *testing.T) {
			settings := map[string]string{"ca_key_type": `"` + c.ca + `"`}
			if c.jwt != "" {
				settings["jwt_key_type"] = `"` + c.jwt + `"`
			}
			s := StartServer(t, ServerOptions{Settings: settings})
			switch key := s.X509Bundle(t).X509Authorities()[0].PublicKey.(type) {
			case *ecdsa.PublicKey:
				if want := map[string]int{"ec-p256": 256, "ec-p384": 384}[c.ca]; key.Curve.Params().BitSize != want {
					t.Errorf("curve %v", key.Curve.Params().Name)
				}
			case *rsa.PublicKey:
				if c.ca != "rsa-2048" || key.N.Cmp(new(big.Int).Lsh(big.NewInt(1), 2047)) < 0 {
					t.Errorf("an RSA key of %d bits", key.N.BitLen())
				}
			}
			identity := s.Mint(t, workload, 60)
			_, _, err := x509svid.Verify(identity.SVID.Certificates, s.X509Bundle(t))
			NoError(t, err)
			response, err := s.Svids(t).MintJWTSVID(Context(t), &svidv1.MintJWTSVIDRequest{
				Id: ProtoID(workload), Audience: []string{"a"}})
			NoError(t, err)
			if header, _ := tokenParts(t, response.Svid.Token); header["alg"] != c.alg {
				t.Errorf("alg %v, want %s", header["alg"], c.alg)
			}
			_, err = jwtsvid.ParseAndValidate(response.Svid.Token, jwtBundle(t, s), []string{"a"})
			NoError(t, err)
		})
	}
}
