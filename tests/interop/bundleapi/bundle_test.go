// SPDX-License-Identifier: Apache-2.0

// Goal: the server's own bundle grows as authorities are appended, bundles of other trust domains
// are kept, listed and removed as asked, and nothing malformed is stored.

package bundleapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"

	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

func foreign(t *testing.T, domain string) *types.Bundle {
	t.Helper()
	return &types.Bundle{
		TrustDomain:     domain,
		X509Authorities: []*types.X509Certificate{{Asn1: ForeignAuthority(t, domain).Cert.Raw}},
		JwtAuthorities:  []*types.JWTKey{JWTKey(t, "key-1")},
		RefreshHint:     60,
		SequenceNumber:  42,
	}
}

func wantBundle(t *testing.T, got, want *types.Bundle) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
}

func getForeign(t *testing.T, s *Server, domain string) (*types.Bundle, error) {
	t.Helper()
	return s.Bundles(t).GetFederatedBundle(Context(t), &bundlev1.GetFederatedBundleRequest{TrustDomain: domain})
}

func count(t *testing.T, s *Server) int {
	t.Helper()
	response, err := s.Bundles(t).CountBundles(Context(t), &bundlev1.CountBundlesRequest{})
	NoError(t, err)
	return int(response.Count)
}

func TestTheOwnBundleIsServedToAnybodyAndMasked(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	own, err := s.Bundles(t).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
	NoError(t, err)
	if own.TrustDomain != TD || len(own.X509Authorities) != 1 || len(own.JwtAuthorities) != 1 ||
		own.X509Authorities[0].Tainted || own.JwtAuthorities[0].Tainted || len(own.WitAuthorities) != 0 {
		t.Fatalf("the bundle is %v", own)
	}
	if own.SequenceNumber == 0 {
		t.Error("no sequence number")
	}
	stranger, err := bundlev1.NewBundleClient(s.Dial(t, nil)).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
	NoError(t, err)
	wantBundle(t, stranger, own)
	masked, err := s.Bundles(t).GetBundle(Context(t), &bundlev1.GetBundleRequest{
		OutputMask: &types.BundleMask{SequenceNumber: true}})
	NoError(t, err)
	wantBundle(t, masked, &types.Bundle{TrustDomain: TD, SequenceNumber: own.SequenceNumber})
}

func TestAppendAddsAuthoritiesOnce(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	own, err := s.Bundles(t).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
	NoError(t, err)
	request := &bundlev1.AppendBundleRequest{
		X509Authorities: []*types.X509Certificate{{Asn1: ForeignAuthority(t, TD).Cert.Raw}},
		JwtAuthorities:  []*types.JWTKey{JWTKey(t, "appended")},
	}
	appended, err := s.Bundles(t).AppendBundle(Context(t), request)
	NoError(t, err)
	if len(appended.X509Authorities) != 2 || len(appended.JwtAuthorities) != 2 {
		t.Fatalf("appended: %v", appended)
	}
	if appended.SequenceNumber <= own.SequenceNumber {
		t.Errorf("the sequence number went from %d to %d", own.SequenceNumber, appended.SequenceNumber)
	}
	again, err := s.Bundles(t).AppendBundle(Context(t), request)
	NoError(t, err)
	wantBundle(t, again, appended)

	cases := []struct {
		name    string
		request *bundlev1.AppendBundleRequest
		message string
	}{
		{"nothing", &bundlev1.AppendBundleRequest{}, "no authorities to append"},
		{"a bad certificate", &bundlev1.AppendBundleRequest{
			X509Authorities: []*types.X509Certificate{{Asn1: []byte("x")}}}, "failed to convert X.509 authority"},
		{"a bad key", &bundlev1.AppendBundleRequest{
			JwtAuthorities: []*types.JWTKey{{KeyId: "k", PublicKey: []byte("x")}}}, "failed to convert JWT authority"},
		{"a key without id", &bundlev1.AppendBundleRequest{
			JwtAuthorities: []*types.JWTKey{JWTKey(t, "")}}, "failed to convert JWT authority: missing key ID"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Bundles(t).AppendBundle(Context(t), c.request)
			WantStatus(t, err, codes.InvalidArgument, c.message)
		})
	}
}

func TestFederatedBundlesAreCreatedUpdatedSetAndRead(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	ctx := Context(t)
	one, two := foreign(t, "one.test"), foreign(t, "two.test")
	created, err := s.Bundles(t).BatchCreateFederatedBundle(ctx, &bundlev1.BatchCreateFederatedBundleRequest{
		Bundle: []*types.Bundle{one, one, two}})
	NoError(t, err)
	WantItem(t, created.Results[0].Status, codes.OK, "")
	WantItem(t, created.Results[1].Status, codes.AlreadyExists, "bundle already exists")
	WantItem(t, created.Results[2].Status, codes.OK, "")
	wantBundle(t, created.Results[0].Bundle, one)
	got, err := getForeign(t, s, "one.test")
	NoError(t, err)
	wantBundle(t, got, one)
	got, err = getForeign(t, s, "spiffe://two.test")
	NoError(t, err)
	wantBundle(t, got, two)
	if n := count(t, s); n != 3 {
		t.Errorf("counted %d bundles, want 3: the own one counts", n)
	}

	t.Run("update by mask", func(t *testing.T) {
		change := foreign(t, "one.test")
		change.RefreshHint, change.SequenceNumber = 99, 43
		updated, err := s.Bundles(t).BatchUpdateFederatedBundle(ctx, &bundlev1.BatchUpdateFederatedBundleRequest{
			Bundle:    []*types.Bundle{change, foreign(t, "none.test")},
			InputMask: &types.BundleMask{RefreshHint: true}, OutputMask: &types.BundleMask{RefreshHint: true}})
		NoError(t, err)
		WantItem(t, updated.Results[0].Status, codes.OK, "")
		WantItem(t, updated.Results[1].Status, codes.NotFound, "bundle not found")
		wantBundle(t, updated.Results[0].Bundle, &types.Bundle{TrustDomain: "one.test", RefreshHint: 99})
		got, err := getForeign(t, s, "one.test")
		NoError(t, err)
		want := proto.Clone(one).(*types.Bundle)
		want.RefreshHint = 99
		wantBundle(t, got, want)
	})
	t.Run("set replaces and creates", func(t *testing.T) {
		change, three := foreign(t, "two.test"), foreign(t, "three.test")
		wantBundle(t, PutBundle(t, s, change), change)
		wantBundle(t, PutBundle(t, s, three), three)
		got, err := getForeign(t, s, "two.test")
		NoError(t, err)
		wantBundle(t, got, change)
	})
	t.Run("list", func(t *testing.T) {
		var names []string
		token := ""
		for range 5 {
			page, err := s.Bundles(t).ListFederatedBundles(ctx, &bundlev1.ListFederatedBundlesRequest{
				PageSize: 2, PageToken: token, OutputMask: &types.BundleMask{RefreshHint: true}})
			NoError(t, err)
			for _, bundle := range page.Bundles {
				names = append(names, bundle.TrustDomain)
				if bundle.X509Authorities != nil {
					t.Error("the mask lets authorities through")
				}
			}
			if token = page.NextPageToken; token == "" {
				break
			}
		}
		slices.Sort(names)
		if strings.Join(names, " ") != "one.test three.test two.test" {
			t.Errorf("listed %v: the others' bundles, and never the own one", names)
		}
	})
}

func TestBundlesThatMayNotBeStoredAreRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	type item struct {
		name string
		code codes.Code
		text map[string]string
		b    *types.Bundle
	}
	same := func(text string) map[string]string {
		return map[string]string{"create": text, "update": text, "set": text}
	}
	bad := func(change func(*types.Bundle)) *types.Bundle {
		b := foreign(t, "one.test")
		change(b)
		return b
	}
	items := []item{
		{"a bad trust domain", codes.InvalidArgument, same("trust domain argument is not valid"),
			bad(func(b *types.Bundle) { b.TrustDomain = "Bad TD" })},
		{"no trust domain", codes.InvalidArgument, same("trust domain argument is not valid"),
			bad(func(b *types.Bundle) { b.TrustDomain = "" })},
		{"the own trust domain", codes.InvalidArgument, map[string]string{
			"create": "creating a federated bundle for the server's own trust domain is not allowed",
			"update": "updating a federated bundle for the server's own trust domain is not allowed",
			"set":    "setting a federated bundle for the server's own trust domain is not allowed"},
			bad(func(b *types.Bundle) { b.TrustDomain = TD })},
		{"a bad certificate", codes.InvalidArgument, same("failed to convert bundle: unable to parse X.509 authority"),
			bad(func(b *types.Bundle) { b.X509Authorities[0].Asn1 = []byte("x") })},
		{"a bad key", codes.InvalidArgument, same("failed to convert bundle: unable to parse JWT authority"),
			bad(func(b *types.Bundle) { b.JwtAuthorities[0].PublicKey = []byte("x") })},
	}
	ctx := Context(t)
	for _, i := range items {
		t.Run(i.name, func(t *testing.T) {
			list := []*types.Bundle{i.b}
			created, err := s.Bundles(t).BatchCreateFederatedBundle(ctx, &bundlev1.BatchCreateFederatedBundleRequest{Bundle: list})
			NoError(t, err)
			WantItem(t, created.Results[0].Status, i.code, i.text["create"])
			updated, err := s.Bundles(t).BatchUpdateFederatedBundle(ctx, &bundlev1.BatchUpdateFederatedBundleRequest{Bundle: list})
			NoError(t, err)
			WantItem(t, updated.Results[0].Status, i.code, i.text["update"])
			set, err := s.Bundles(t).BatchSetFederatedBundle(ctx, &bundlev1.BatchSetFederatedBundleRequest{Bundle: list})
			NoError(t, err)
			WantItem(t, set.Results[0].Status, i.code, i.text["set"])
		})
	}
	if n := count(t, s); n != 1 {
		t.Errorf("%d bundles are stored", n)
	}
	_, err := getForeign(t, s, TD)
	WantStatus(t, err, codes.InvalidArgument, "getting a federated bundle for the server's own trust domain is not allowed")
	_, err = getForeign(t, s, "Bad TD")
	WantStatus(t, err, codes.InvalidArgument, "trust domain argument is not valid")
	_, err = getForeign(t, s, "none.test")
	WantStatus(t, err, codes.NotFound, "bundle not found")
}

func TestDeleteModesDecideAboutTheEntriesThatFederate(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	remove := func(mode bundlev1.BatchDeleteFederatedBundleRequest_Mode, domains ...string) []*types.Status {
		t.Helper()
		response, err := s.Bundles(t).BatchDeleteFederatedBundle(Context(t),
			&bundlev1.BatchDeleteFederatedBundleRequest{Mode: mode, TrustDomains: domains})
		NoError(t, err)
		var result []*types.Status
		for i, r := range response.Results {
			if r.TrustDomain != domains[i] {
				t.Errorf("result %d is about %q", i, r.TrustDomain)
			}
			result = append(result, r.Status)
		}
		return result
	}
	entries := func() string {
		t.Helper()
		response, err := s.Entries(t).ListEntries(Context(t), &entryv1.ListEntriesRequest{})
		NoError(t, err)
		var list []string
		for _, e := range response.Entries {
			slices.Sort(e.FederatesWith)
			list = append(list, e.Id+"="+strings.Join(e.FederatesWith, "+"))
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	for i, domains := range [][]string{{"one.test"}, {"one.test", "two.test"}, {"two.test"}} {
		for _, domain := range domains {
			if _, err := getForeign(t, s, domain); err != nil {
				SetFederatedBundle(t, s, domain)
			}
		}
		entry := NewEntry(ID(fmt.Sprintf("/w%d", i)), ID("/parent"), "t:1")
		entry.Id, entry.FederatesWith = fmt.Sprintf("e%d", i), domains
		s.Create(t, entry)
	}
	SetFederatedBundle(t, s, "unused.test")

	statuses := remove(bundlev1.BatchDeleteFederatedBundleRequest_RESTRICT, "one.test", "none.test", TD, "Bad TD", "unused.test")
	WantItem(t, statuses[0], codes.FailedPrecondition, "failed to delete federated bundle")
	WantItem(t, statuses[0], codes.FailedPrecondition, "cannot delete bundle; federated with 2 registration entries")
	WantItem(t, statuses[1], codes.NotFound, "bundle not found")
	WantItem(t, statuses[2], codes.InvalidArgument, "removing the bundle for the server trust domain is not allowed")
	WantItem(t, statuses[3], codes.InvalidArgument, "trust domain argument is not valid")
	WantItem(t, statuses[4], codes.OK, "")
	if got := entries(); got != "e0=one.test e1=one.test+two.test e2=two.test" {
		t.Errorf("after restrict: %s", got)
	}

	WantItem(t, remove(bundlev1.BatchDeleteFederatedBundleRequest_DISSOCIATE, "one.test")[0], codes.OK, "")
	if got := entries(); got != "e0= e1=two.test e2=two.test" {
		t.Errorf("after dissociate: %s", got)
	}
	WantItem(t, remove(bundlev1.BatchDeleteFederatedBundleRequest_DELETE, "two.test")[0], codes.OK, "")
	if got := entries(); got != "e0=" {
		t.Errorf("after delete: %s", got)
	}
	_, err := s.Bundles(t).BatchDeleteFederatedBundle(Context(t), &bundlev1.BatchDeleteFederatedBundleRequest{Mode: 99})
	WantStatus(t, err, codes.InvalidArgument, "failed to parse deletion mode")
}
