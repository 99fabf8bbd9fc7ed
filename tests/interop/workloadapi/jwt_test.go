// SPDX-License-Identifier: Apache-2.0

// Goal: a go-spiffe workload gets JWT-SVIDs for its identities and audiences, can have tokens of its
// own and of federated trust domains validated, and nothing else.

package workloadapi

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
)

func TestJwtSvidsAreIssuedForIdentitiesAndAudiences(t *testing.T) {
	s, a := pair(t)
	e := entry(a, "e1", "/one")
	e.Hint, e.JwtSvidTtl = "h1", 120
	s.Create(t, e, entry(a, "e2", "/two"), entry(a, "e3", "/foreign", "unix:uid:4000000"))
	a.WaitFetch(t, "/one /two")
	client := a.Client(t)
	bundles, err := client.FetchJWTBundles(Context(t))
	NoError(t, err)

	svids, err := client.FetchJWTSVIDs(Context(t), jwtsvid.Params{Audience: "a", ExtraAudiences: []string{"b"}})
	NoError(t, err)
	if len(svids) != 2 || svids[0].ID.Path() != "/one" || svids[1].ID.Path() != "/two" || svids[0].Hint != "h1" {
		t.Fatalf("svids %v", svids)
	}
	for _, svid := range svids {
		parsed, err := jwtsvid.ParseAndValidate(svid.Marshal(), bundles, []string{"b"})
		NoError(t, err)
		if !slices.Equal(parsed.Audience, []string{"a", "b"}) {
			t.Errorf("audience %v", parsed.Audience)
		}
	}
	if left := time.Until(svids[0].Expiry); left > 121*time.Second || left < 100*time.Second {
		t.Errorf("it lives for %v", left)
	}
	t.Run("one identity", func(t *testing.T) {
		svid, err := client.FetchJWTSVID(Context(t), jwtsvid.Params{
			Audience: "a", Subject: spiffeid.RequireFromString(ID("/two"))})
		NoError(t, err)
		if svid.ID.Path() != "/two" {
			t.Errorf("id %s", svid.ID)
		}
	})
	t.Run("the same token again", func(t *testing.T) {
		fetch := func(audience ...string) string {
			t.Helper()
			svid, err := client.FetchJWTSVID(Context(t), jwtsvid.Params{
				Audience: audience[0], ExtraAudiences: audience[1:], Subject: spiffeid.RequireFromString(ID("/two"))})
			NoError(t, err)
			return svid.Marshal()
		}
		first := fetch("x", "y")
		if fetch("x", "y") != first {
			t.Error("a second token for the same audiences")
		}
		if fetch("x", "z") == first {
			t.Error("one token for different audiences")
		}
	})
	refused := []struct {
		name    string
		request *workload.JWTSVIDRequest
		code    codes.Code
		message string
	}{
		{"no audience", &workload.JWTSVIDRequest{}, codes.InvalidArgument, "audience must be specified"},
		{"a malformed id", &workload.JWTSVIDRequest{Audience: []string{"a"}, SpiffeId: "nonsense"},
			codes.InvalidArgument, "invalid requested SPIFFE ID: "},
		{"somebody else's id", &workload.JWTSVIDRequest{Audience: []string{"a"}, SpiffeId: ID("/foreign")},
			codes.PermissionDenied, "no identity issued"},
		{"an unknown id", &workload.JWTSVIDRequest{Audience: []string{"a"}, SpiffeId: ID("/none")},
			codes.PermissionDenied, "no identity issued"},
		{"a foreign id", &workload.JWTSVIDRequest{Audience: []string{"a"}, SpiffeId: "spiffe://other.test/x"},
			codes.PermissionDenied, "no identity issued"},
	}
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			_, err := a.Raw(t).FetchJWTSVID(WithHeader(Context(t)), c.request)
			WantStatus(t, err, c.code, c.message)
		})
	}
}

func TestAnEntryThatWantsAJtiGetsATokenOfItsOwnEachTime(t *testing.T) {
	OursOnly(t, "its agent drops the entry's flag on the way and serves from its cache, against its own API's text")
	s, a := pair(t)
	e := entry(a, "e1", "/unique")
	e.AdditionalAttributes = &types.Entry_AdditionalAttributes{JwtSvidIncludeJti: true}
	s.Create(t, e)
	a.WaitFetch(t, "/unique")
	client := a.Client(t)
	seen := map[string]bool{}
	for range 3 {
		svid, err := client.FetchJWTSVID(Context(t), jwtsvid.Params{Audience: "a"})
		NoError(t, err)
		seen[fmt.Sprint(svid.Claims["jti"])] = true
	}
	if len(seen) != 3 {
		t.Errorf("jti values %v", seen)
	}
}

func TestJwtBundlesHoldJwtKeysOnly(t *testing.T) {
	s, a := pair(t)
	SetFederatedBundle(t, s, "one.test")
	SetFederatedBundle(t, s, "not-mine.test")
	e := entry(a, "e1", "/one")
	e.FederatesWith = []string{"one.test"}
	s.Create(t, e)
	a.WaitFetch(t, "/one")
	stream, err := a.Raw(t).FetchJWTBundles(WithHeader(Context(t)), &workload.JWTBundlesRequest{})
	NoError(t, err)
	response, err := stream.Recv()
	NoError(t, err)
	if len(response.Bundles) != 2 {
		t.Fatalf("%d bundles", len(response.Bundles))
	}
	own, err := s.Bundles(t).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
	NoError(t, err)
	for domain, kid := range map[string]string{
		"spiffe://" + TD: own.JwtAuthorities[0].KeyId, "spiffe://one.test": "key-of-one.test"} {
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		NoError(t, json.Unmarshal(response.Bundles[domain], &set))
		if len(set.Keys) != 1 || set.Keys[0]["kid"] != kid || set.Keys[0]["x5c"] != nil || set.Keys[0]["kty"] != "EC" {
			t.Errorf("%s: %s", domain, response.Bundles[domain])
		}
	}
	t.Run("and a stream of them tells of new keys", func(t *testing.T) {
		_, err := s.Bundles(t).AppendBundle(Context(t), &bundlev1.AppendBundleRequest{
			JwtAuthorities: []*types.JWTKey{JWTKey(t, "appended")}})
		NoError(t, err)
		response, err := stream.Recv()
		NoError(t, err)
		if !strings.Contains(string(response.Bundles["spiffe://"+TD]), "appended") {
			t.Errorf("bundle %s", response.Bundles["spiffe://"+TD])
		}
	})
}

func TestX509BundlesHoldTheOwnAndTheFederatedOnes(t *testing.T) {
	s, a := pair(t)
	foreign := SetFederatedBundle(t, s, "one.test")
	e := entry(a, "e1", "/one")
	e.FederatesWith = []string{"one.test"}
	s.Create(t, e)
	a.WaitFetch(t, "/one")
	stream, err := a.Raw(t).FetchX509Bundles(WithHeader(Context(t)), &workload.X509BundlesRequest{})
	NoError(t, err)
	response, err := stream.Recv()
	NoError(t, err)
	if len(response.Bundles) != 2 ||
		string(response.Bundles["spiffe://one.test"]) != string(foreign.X509Authorities[0].Asn1) ||
		string(response.Bundles["spiffe://"+TD]) != string(s.X509Bundle(t).X509Authorities()[0].Raw) {
		t.Errorf("bundles %v", response.Bundles)
	}
}

func TestTokensAreValidatedAgainstTheWorkloadsBundles(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{Settings: map[string]string{"allowed_foreign_jwt_claims": `["kept"]`}})
	key := NewKey(t)
	PutBundle(t, s, &types.Bundle{TrustDomain: "one.test", SequenceNumber: 1,
		X509Authorities: []*types.X509Certificate{{Asn1: ForeignAuthority(t, "one.test").Cert.Raw}},
		JwtAuthorities: []*types.JWTKey{{KeyId: "foreign",
			PublicKey: Must[[]byte](t)(x509.MarshalPKIXPublicKey(key.Public()))}}})
	e := entry(a, "e1", "/one")
	e.FederatesWith = []string{"one.test"}
	s.Create(t, e)
	a.WaitFetch(t, "/one")
	raw := a.Raw(t)
	validate := func(audience, token string) (*workload.ValidateJWTSVIDResponse, error) {
		return raw.ValidateJWTSVID(WithHeader(Context(t)), &workload.ValidateJWTSVIDRequest{Audience: audience, Svid: token})
	}
	svid, err := a.Client(t).FetchJWTSVID(Context(t), jwtsvid.Params{Audience: "a", ExtraAudiences: []string{"b"}})
	NoError(t, err)
	own := svid.Marshal()

	t.Run("an own token", func(t *testing.T) {
		response, err := validate("b", own)
		NoError(t, err)
		claims := response.Claims.AsMap()
		if response.SpiffeId != ID("/one") || claims["sub"] != ID("/one") || claims["exp"] == nil || claims["iat"] == nil ||
			fmt.Sprint(claims["aud"]) != "[a b]" {
			t.Errorf("response %v", response)
		}
	})
	t.Run("by go-spiffe", func(t *testing.T) {
		validated, err := a.Client(t).ValidateJWTSVID(Context(t), own, "a")
		NoError(t, err)
		if validated.ID.String() != ID("/one") {
			t.Errorf("id %s", validated.ID)
		}
	})
	sign := func(key *ecdsa.PrivateKey, kid string, claims map[string]any) string {
		t.Helper()
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
			(&jose.SignerOptions{}).WithType("JWT"))
		NoError(t, err)
		jws, err := signer.Sign(Must[[]byte](t)(json.Marshal(claims)))
		NoError(t, err)
		return Must[string](t)(jws.CompactSerialize())
	}
	claims := func(change func(map[string]any)) map[string]any {
		c := map[string]any{"sub": "spiffe://one.test/x", "aud": "a", "exp": time.Now().Add(time.Minute).Unix(),
			"kept": "yes", "dropped": "no"}
		if change != nil {
			change(c)
		}
		return c
	}
	t.Run("a federated token, its claims filtered", func(t *testing.T) {
		response, err := validate("a", sign(key, "foreign", claims(nil)))
		NoError(t, err)
		got := response.Claims.AsMap()
		if response.SpiffeId != "spiffe://one.test/x" || got["kept"] != "yes" || got["dropped"] != nil ||
			fmt.Sprint(got["aud"]) != "[a]" {
			t.Errorf("response %v", response)
		}
	})
	parts := strings.Split(own, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	refused := map[string][2]string{
		"another audience":          {"c", own},
		"garbage":                   {"a", "garbage"},
		"a changed payload":         {"a", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"spiffe://`+TD+`/x","aud":["a"],"exp":9999999999}`)) + "." + parts[2]},
		"no signature":              {"a", parts[0] + "." + parts[1] + "."},
		"alg none":                  {"a", none + "." + parts[1] + "."},
		"expired":                   {"a", sign(key, "foreign", claims(func(c map[string]any) { c["exp"] = time.Now().Add(-10 * time.Minute).Unix() }))},
		"no expiry":                 {"a", sign(key, "foreign", claims(func(c map[string]any) { delete(c, "exp") }))},
		"no subject":                {"a", sign(key, "foreign", claims(func(c map[string]any) { delete(c, "sub") }))},
		"no audience":               {"a", sign(key, "foreign", claims(func(c map[string]any) { delete(c, "aud") }))},
		"a subject that is no ID":   {"a", sign(key, "foreign", claims(func(c map[string]any) { c["sub"] = "nonsense" }))},
		"an unknown key":            {"a", sign(key, "unknown", claims(nil))},
		"another key of that name":  {"a", sign(NewKey(t), "foreign", claims(nil))},
		"the key of another domain": {"a", sign(key, "foreign", claims(func(c map[string]any) { c["sub"] = ID("/one") }))},
		"an unknown trust domain":   {"a", sign(key, "foreign", claims(func(c map[string]any) { c["sub"] = "spiffe://two.test/x" }))},
	}
	for name, c := range refused {
		t.Run(name, func(t *testing.T) {
			_, err := validate(c[0], c[1])
			WantStatus(t, err, codes.InvalidArgument, "")
		})
	}
	_, err = validate("", own)
	WantStatus(t, err, codes.InvalidArgument, "audience must be specified")
	_, err = validate("a", "")
	WantStatus(t, err, codes.InvalidArgument, "svid must be specified")
}

func TestAShortLivedTokenIsRenewedBeforeItEnds(t *testing.T) {
	s, a := pair(t)
	e := entry(a, "e1", "/one")
	e.JwtSvidTtl = 6
	s.Create(t, e)
	a.WaitFetch(t, "/one")
	client := a.Client(t)
	seen := map[string]bool{}
	Eventually(t, 40*time.Second, "three tokens in turn", func() error {
		svid, err := client.FetchJWTSVID(Context(t), jwtsvid.Params{Audience: "a"})
		NoError(t, err)
		if left := time.Until(svid.Expiry); left < time.Second {
			t.Fatalf("a token with %v left", left)
		}
		seen[svid.Marshal()] = true
		if len(seen) < 3 {
			return fmt.Errorf("%d so far", len(seen))
		}
		return nil
	})
}
