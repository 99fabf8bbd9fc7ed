// SPDX-License-Identifier: Apache-2.0

// Goal: listing and counting find exactly the entries that a filter describes, page by page, and
// show only what the mask names.

package entryapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type filter = entryv1.ListEntriesRequest_Filter

// The list and count filters are two types with the same fields.
func countFilter(t *testing.T, f *filter) *entryv1.CountEntriesRequest_Filter {
	t.Helper()
	if f == nil {
		return nil
	}
	result := &entryv1.CountEntriesRequest_Filter{}
	NoError(t, proto.Unmarshal(Must[[]byte](t)(proto.Marshal(f)), result))
	return result
}

func listIDs(t *testing.T, s *Server, f *filter) []string {
	t.Helper()
	response, err := s.Entries(t).ListEntries(Context(t), &entryv1.ListEntriesRequest{Filter: f})
	NoError(t, err)
	var ids []string
	for _, entry := range response.Entries {
		ids = append(ids, entry.Id)
	}
	slices.Sort(ids)
	return ids
}

func TestListAndCountAgreeOnEveryFilter(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	setBundle(t, s, "one.test")
	setBundle(t, s, "two.test")
	add := func(id, path, parent, hint string, downstream bool, federates string, selectors ...string) {
		entry := NewEntry(ID(path), parent, selectors...)
		entry.Id, entry.Hint, entry.Downstream = id, hint, downstream
		if federates != "" {
			entry.FederatesWith = strings.Split(federates, ",")
		}
		s.Create(t, entry)
	}
	add("a", "/a", node, "", false, "", "t:1")
	add("ab", "/x", node, "h", false, "one.test", "t:1", "t:2")
	add("abc", "/x", parent, "h", false, "one.test,two.test", "t:1", "t:2", "t:3")
	add("d", "/d", parent, "i", true, "two.test", "t:4")

	selectors := func(match types.SelectorMatch_MatchBehavior, words ...string) *filter {
		return &filter{BySelectors: &types.SelectorMatch{Selectors: Selectors(words...), Match: match}}
	}
	federates := func(match types.FederatesWithMatch_MatchBehavior, domains ...string) *filter {
		return &filter{ByFederatesWith: &types.FederatesWithMatch{TrustDomains: domains, Match: match}}
	}
	cases := []struct {
		name   string
		filter *filter
		want   string
	}{
		{"none", nil, "a ab abc d"},
		{"empty", &filter{}, "a ab abc d"},
		{"parent", &filter{ByParentId: ProtoID(parent)}, "abc d"},
		{"spiffe id", &filter{BySpiffeId: ProtoID(ID("/x"))}, "ab abc"},
		{"hint", &filter{ByHint: wrapperspb.String("h")}, "ab abc"},
		{"downstream", &filter{ByDownstream: wrapperspb.Bool(true)}, "d"},
		{"exact selectors", selectors(types.SelectorMatch_MATCH_EXACT, "t:1", "t:2"), "ab"},
		{"subset selectors", selectors(types.SelectorMatch_MATCH_SUBSET, "t:1", "t:2"), "a ab"},
		{"superset selectors", selectors(types.SelectorMatch_MATCH_SUPERSET, "t:1", "t:2"), "ab abc"},
		{"any selectors", selectors(types.SelectorMatch_MATCH_ANY, "t:3", "t:4"), "abc d"},
		{"exact federation", federates(types.FederatesWithMatch_MATCH_EXACT, "one.test"), "ab"},
		{"subset federation", federates(types.FederatesWithMatch_MATCH_SUBSET, "one.test", "two.test"), "ab abc d"},
		{"superset federation", federates(types.FederatesWithMatch_MATCH_SUPERSET, "one.test", "two.test"), "abc"},
		{"any federation", federates(types.FederatesWithMatch_MATCH_ANY, "two.test"), "abc d"},
		{"two at once", &filter{BySpiffeId: ProtoID(ID("/x")), ByParentId: ProtoID(node)}, "ab"},
		{"two that exclude each other", &filter{BySpiffeId: ProtoID(ID("/a")), ByParentId: ProtoID(parent)}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(listIDs(t, s, c.filter), " "); got != c.want {
				t.Errorf("listed %q, want %q", got, c.want)
			}
			count, err := s.Entries(t).CountEntries(Context(t),
				&entryv1.CountEntriesRequest{Filter: countFilter(t, c.filter)})
			NoError(t, err)
			if want := len(strings.Fields(c.want)); int(count.Count) != want {
				t.Errorf("counted %d, want %d", count.Count, want)
			}
		})
	}
}

// The command line sends by_downstream with every list and count, false unless asked for; entries
// of downstream servers must stay visible.
func TestDownstreamFalseIsNoFilter(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	entry := NewEntry(workload, node, "t:1")
	entry.Id, entry.Downstream = "d", true
	s.Create(t, entry)
	if got := listIDs(t, s, &filter{ByDownstream: wrapperspb.Bool(false)}); len(got) != 1 {
		t.Errorf("listed %v, want the downstream entry too", got)
	}
}

func TestMalformedFiltersAreRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	cases := []struct {
		name    string
		filter  *filter
		message string
	}{
		{"foreign parent", &filter{ByParentId: ProtoID("spiffe://other.test/x")}, "malformed parent ID filter: "},
		{"foreign spiffe id", &filter{BySpiffeId: ProtoID("spiffe://other.test/x")}, "malformed SPIFFE ID filter: "},
		{"reserved spiffe id", &filter{BySpiffeId: ProtoID(ID("/spire/x"))}, "malformed SPIFFE ID filter: "},
		{"empty selectors", &filter{BySelectors: &types.SelectorMatch{}},
			"malformed selectors filter: empty selector set"},
		{"selector without value", &filter{BySelectors: &types.SelectorMatch{
			Selectors: []*types.Selector{{Type: "a"}}}}, "malformed selectors filter: missing selector value"},
		{"empty federation", &filter{ByFederatesWith: &types.FederatesWithMatch{}},
			"malformed federates with filter: empty trust domain set"},
		{"bad trust domain", &filter{ByFederatesWith: &types.FederatesWithMatch{TrustDomains: []string{"Bad TD"}}},
			"malformed federates with filter: "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Entries(t).ListEntries(Context(t), &entryv1.ListEntriesRequest{Filter: c.filter})
			WantStatus(t, err, codes.InvalidArgument, c.message)
			_, err = s.Entries(t).CountEntries(Context(t),
				&entryv1.CountEntriesRequest{Filter: countFilter(t, c.filter)})
			WantStatus(t, err, codes.InvalidArgument, c.message)
		})
	}
}

func TestPagesHoldEveryEntryOnce(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	const total = 23
	var entries []*types.Entry
	for i := range total {
		entries = append(entries, NewEntry(ID(fmt.Sprintf("/w/%d", i)), node, "t:1", fmt.Sprintf("t:x%d", i)))
	}
	s.Create(t, entries...)
	for _, f := range []*filter{nil, {BySelectors: &types.SelectorMatch{
		Selectors: Selectors("t:1"), Match: types.SelectorMatch_MATCH_SUPERSET}}} {
		seen := map[string]int{}
		token, pages := "", 0
		for {
			response, err := s.Entries(t).ListEntries(Context(t),
				&entryv1.ListEntriesRequest{Filter: f, PageSize: 5, PageToken: token})
			NoError(t, err)
			if len(response.Entries) > 5 {
				t.Fatalf("a page of %d entries, asked for 5", len(response.Entries))
			}
			for _, entry := range response.Entries {
				seen[entry.Id]++
				if len(entry.Selectors) != 2 {
					t.Errorf("entry %v came without all its selectors", entry)
				}
			}
			if token = response.NextPageToken; token == "" {
				break
			}
			if pages++; pages > total {
				t.Fatal("the pages do not end")
			}
		}
		if len(seen) != total {
			t.Errorf("the pages hold %d entries, want %d", len(seen), total)
		}
		for id, times := range seen {
			if times != 1 {
				t.Errorf("entry %s came %d times", id, times)
			}
		}
	}
}

func TestAPageTokenThatIsNoneIsRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	_, err := s.Entries(t).ListEntries(Context(t), &entryv1.ListEntriesRequest{PageSize: 5, PageToken: "nonsense"})
	if err == nil {
		t.Fatal("a token of nonsense was accepted")
	}
}

// A page size far beyond what is there must not reserve memory for it.
func TestAHugePageSizeCostsNothing(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	s.Create(t, NewEntry(workload, node, "t:1"))
	response, err := s.Entries(t).ListEntries(Context(t), &entryv1.ListEntriesRequest{PageSize: 1<<31 - 1})
	NoError(t, err)
	if len(response.Entries) != 1 {
		t.Errorf("%d entries, want 1", len(response.Entries))
	}
}

func TestTheOutputMaskHidesEverythingElse(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	entry := NewEntry(workload, node, "t:1")
	entry.Hint, entry.DnsNames, entry.X509SvidTtl = "h", []string{"a.test"}, 9
	created := s.Create(t, entry)[0]
	response, err := s.Entries(t).ListEntries(Context(t), &entryv1.ListEntriesRequest{
		OutputMask: &types.EntryMask{SpiffeId: true, Hint: true}})
	NoError(t, err)
	wantEqual(t, response.Entries[0], &types.Entry{Id: created.Id, SpiffeId: ProtoID(workload), Hint: "h"})
	got, err := s.Entries(t).GetEntry(Context(t), &entryv1.GetEntryRequest{
		Id: created.Id, OutputMask: &types.EntryMask{X509SvidTtl: true}})
	NoError(t, err)
	wantEqual(t, got, &types.Entry{Id: created.Id, X509SvidTtl: 9})
	got, err = s.Entries(t).GetEntry(Context(t), &entryv1.GetEntryRequest{
		Id: created.Id, OutputMask: &types.EntryMask{}})
	NoError(t, err)
	wantEqual(t, got, &types.Entry{Id: created.Id})
}
