// SPDX-License-Identifier: Apache-2.0

// Goal: the Entry API's writing calls treat each item of a batch on its own, store what was asked,
// refuse what the reference refuses with its codes and words. Method: a real server, the
// spire-api-sdk client on the admin socket.

package entryapi

import (
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

var (
	node     = ID("/spire/agent/test/node")
	parent   = ID("/parent")
	workload = ID("/workload")
)

func create(t *testing.T, s *Server, entries ...*types.Entry) []*entryv1.BatchCreateEntryResponse_Result {
	t.Helper()
	response, err := s.Entries(t).BatchCreateEntry(Context(t), &entryv1.BatchCreateEntryRequest{Entries: entries})
	NoError(t, err)
	if len(response.Results) != len(entries) {
		t.Fatalf("%d results for %d entries", len(response.Results), len(entries))
	}
	return response.Results
}

func get(t *testing.T, s *Server, id string) *types.Entry {
	t.Helper()
	entry, err := s.Entries(t).GetEntry(Context(t), &entryv1.GetEntryRequest{Id: id})
	NoError(t, err)
	return entry
}

// The lists of an entry are sets; the reference returns them in its database's order.
func wantEqual(t *testing.T, got, want *types.Entry) {
	t.Helper()
	got, want = Normal(got), Normal(want)
	if !proto.Equal(got, want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
}

func setBundle(t *testing.T, s *Server, domain string) {
	t.Helper()
	SetFederatedBundle(t, s, domain)
}

func TestCreateStoresEveryFieldAndGetReturnsIt(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	setBundle(t, s, "one.test")
	setBundle(t, s, "two.test")
	entry := NewEntry(workload, node, "unix:uid:1", "unix:gid:2")
	entry.Id = "my.own_ID-1"
	entry.X509SvidTtl, entry.JwtSvidTtl = 120, 60
	entry.FederatesWith = []string{"one.test", "spiffe://two.test"}
	entry.Admin, entry.Downstream = true, true
	entry.ExpiresAt = time.Now().Add(time.Hour).Unix()
	entry.DnsNames = []string{"b.test", "a.test", "*.c.test"}
	entry.Hint = "internal"
	entry.AdditionalAttributes = &types.Entry_AdditionalAttributes{
		DisableX509SvidPrefetch: true, JwtSvidIncludeJti: true}
	before := time.Now().Unix()

	created := s.Create(t, entry)[0]

	want := proto.Clone(entry).(*types.Entry)
	want.FederatesWith = []string{"one.test", "two.test"}
	want.CreatedAt = created.CreatedAt
	wantEqual(t, created, want)
	if created.CreatedAt < before-1 || created.CreatedAt > time.Now().Unix()+1 {
		t.Errorf("created_at is %d, want about %d", created.CreatedAt, before)
	}
	wantEqual(t, get(t, s, entry.Id), want)
}

func TestCreateChoosesAnIdWhenNoneIsGiven(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	created := s.Create(t, NewEntry(workload, node, "unix:uid:1"))[0]
	if len(created.Id) != 36 || strings.Count(created.Id, "-") != 4 {
		t.Errorf("id %q is no UUID", created.Id)
	}
	if created.RevisionNumber != 0 {
		t.Errorf("revision number of a new entry is %d", created.RevisionNumber)
	}
}

func TestCreateReturnsTheSimilarEntryThatExists(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	first := s.Create(t, NewEntry(workload, node, "unix:uid:1", "unix:gid:1"))[0]

	t.Run("same ids and selectors in another order", func(t *testing.T) {
		again := NewEntry(workload, node, "unix:gid:1", "unix:uid:1")
		again.Hint = "other"
		result := create(t, s, again)[0]
		WantItem(t, result.Status, codes.AlreadyExists, "similar entry already exists")
		wantEqual(t, result.Entry, first)
	})
	t.Run("another selector makes another entry", func(t *testing.T) {
		s.Create(t, NewEntry(workload, node, "unix:uid:1"))
	})
	t.Run("another parent makes another entry", func(t *testing.T) {
		s.Create(t, NewEntry(workload, parent, "unix:uid:1", "unix:gid:1"))
	})
	t.Run("the same entry id", func(t *testing.T) {
		entry := NewEntry(ID("/other"), node, "unix:uid:9")
		entry.Id = first.Id
		result := create(t, s, entry)[0]
		WantItem(t, result.Status, codes.AlreadyExists, "")
	})
	t.Run("twice in one batch", func(t *testing.T) {
		results := create(t, s, NewEntry(ID("/twin"), node, "unix:uid:1"), NewEntry(ID("/twin"), node, "unix:uid:1"))
		WantItem(t, results[0].Status, codes.OK, "")
		WantItem(t, results[1].Status, codes.AlreadyExists, "similar entry already exists")
		wantEqual(t, results[1].Entry, results[0].Entry)
	})
}

func TestCreateJudgesEachItemOfABatchOnItsOwn(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	results := create(t, s,
		NewEntry(ID("/one"), node, "unix:uid:1"),
		NewEntry(ID("/two"), node),
		NewEntry(ID("/three"), node, "unix:uid:1"))
	WantItem(t, results[0].Status, codes.OK, "")
	WantItem(t, results[1].Status, codes.InvalidArgument, "failed to convert entry: selector list is empty")
	WantItem(t, results[2].Status, codes.OK, "")
	if results[1].Entry != nil {
		t.Errorf("the refused item has an entry: %v", results[1].Entry)
	}
}

func TestCreateRefusesMalformedEntries(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	good := func() *types.Entry { return NewEntry(workload, node, "unix:uid:1") }
	cases := []struct {
		name    string
		change  func(*types.Entry)
		message string
	}{
		{"no spiffe id", func(e *types.Entry) { e.SpiffeId = nil },
			"invalid spiffe ID: request must specify SPIFFE ID"},
		{"no parent id", func(e *types.Entry) { e.ParentId = nil },
			"invalid parent ID: request must specify SPIFFE ID"},
		{"foreign spiffe id", func(e *types.Entry) { e.SpiffeId = ProtoID("spiffe://other.test/x") },
			`"spiffe://other.test/x" is not a member of trust domain "interop.test"`},
		{"foreign parent id", func(e *types.Entry) { e.ParentId = ProtoID("spiffe://other.test/x") },
			`"spiffe://other.test/x" is not a member of trust domain "interop.test"`},
		{"spiffe id without path", func(e *types.Entry) { e.SpiffeId = ProtoID(ID("")) }, "path is empty"},
		{"parent id without path", func(e *types.Entry) { e.ParentId = ProtoID(ID("")) }, "path is empty"},
		{"reserved spiffe id", func(e *types.Entry) { e.SpiffeId = ProtoID(ID("/spire/agent/x")) },
			"path is in the reserved namespace"},
		{"empty segment", func(e *types.Entry) { e.SpiffeId = ProtoID(ID("/a//b")) },
			"path cannot contain empty segments"},
		{"dot segment", func(e *types.Entry) { e.SpiffeId = ProtoID(ID("/a/../b")) },
			"path cannot contain dot segments"},
		{"trailing slash", func(e *types.Entry) { e.SpiffeId = ProtoID(ID("/a/")) },
			"path cannot have a trailing slash"},
		{"bad character", func(e *types.Entry) { e.SpiffeId = ProtoID(ID("/a b")) }, "path segment characters are limited"},
		{"upper case trust domain", func(e *types.Entry) { e.SpiffeId.TrustDomain = "Interop.test" },
			"trust domain characters are limited to lowercase letters"},
		{"no selector", func(e *types.Entry) { e.Selectors = nil }, "selector list is empty"},
		{"selector without type", func(e *types.Entry) { e.Selectors = []*types.Selector{{Value: "x"}} },
			"missing selector type"},
		{"selector without value", func(e *types.Entry) { e.Selectors = []*types.Selector{{Type: "x"}} },
			"missing selector value"},
		{"colon in selector type", func(e *types.Entry) { e.Selectors = []*types.Selector{{Type: "a:b", Value: "c"}} },
			"selector type contains ':'"},
		{"dns name not ascii", func(e *types.Entry) { e.DnsNames = []string{"ä.test"} }, "invalid DNS name"},
		{"dns name with a dot at its end", func(e *types.Entry) { e.DnsNames = []string{"a.test."} },
			"invalid DNS name"},
		{"two wildcards", func(e *types.Entry) { e.DnsNames = []string{"*.*.test"} }, "invalid DNS name"},
		{"dns label too long", func(e *types.Entry) { e.DnsNames = []string{strings.Repeat("a", 64) + ".test"} },
			"invalid DNS name"},
		{"empty dns name", func(e *types.Entry) { e.DnsNames = []string{""} }, "invalid DNS name"},
		{"wildcard not first", func(e *types.Entry) { e.DnsNames = []string{"a.*.test"} }, "invalid DNS name"},
		{"federates with nonsense", func(e *types.Entry) { e.FederatesWith = []string{"no domain"} },
			"invalid federated trust domain"},
		{"hint too long", func(e *types.Entry) { e.Hint = strings.Repeat("h", 1025) },
			"hint is too long, max length is 1024 characters"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			entry := good()
			c.change(entry)
			result := create(t, s, entry)[0]
			WantItem(t, result.Status, codes.InvalidArgument, "failed to convert entry: ")
			WantItem(t, result.Status, codes.InvalidArgument, c.message)
		})
	}
	count, err := s.Entries(t).CountEntries(Context(t), &entryv1.CountEntriesRequest{})
	NoError(t, err)
	if count.Count != 0 {
		t.Errorf("%d entries were stored", count.Count)
	}
}

func TestCreateRefusesWhatTheStoreCannotHold(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	cases := []struct {
		name    string
		change  func(*types.Entry)
		message string
	}{
		{"unknown federated trust domain", func(e *types.Entry) { e.FederatesWith = []string{"none.test"} },
			"unable to find federated bundle"},
		{"negative x509 ttl", func(e *types.Entry) { e.X509SvidTtl = -1 }, ""},
		{"negative jwt ttl", func(e *types.Entry) { e.JwtSvidTtl = -1 }, ""},
		{"entry id too long", func(e *types.Entry) { e.Id = strings.Repeat("a", 256) }, "entry ID too long"},
		{"entry id with a slash", func(e *types.Entry) { e.Id = "a/b" }, "entry ID contains invalid characters"},
		{"stored svid of two selector types", func(e *types.Entry) {
			e.StoreSvid = true
			e.Selectors = Selectors("a:1", "b:2")
		}, "selector types must be the same when store SVID is enabled"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			entry := NewEntry(workload, node, "unix:uid:1")
			c.change(entry)
			status := create(t, s, entry)[0].Status
			if codes.Code(status.Code) == codes.OK || !strings.Contains(status.Message, c.message) {
				t.Fatalf("got %v, want a refusal with %q", status, c.message)
			}
			if !strings.HasPrefix(status.Message, "failed to create entry") {
				t.Errorf("message %q does not begin as the reference's", status.Message)
			}
			t.Logf("%v %q", codes.Code(status.Code), status.Message)
		})
	}
}

func TestUpdateReplacesTheEntryAndCountsItsRevision(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	setBundle(t, s, "one.test")
	entry := NewEntry(workload, node, "unix:uid:1")
	entry.DnsNames = []string{"a.test"}
	entry.FederatesWith = []string{"one.test"}
	created := s.Create(t, entry)[0]

	changed := NewEntry(ID("/renamed"), parent, "unix:uid:2", "unix:uid:3")
	changed.Id = created.Id
	changed.Hint = "h"
	updated := s.Update(t, changed)

	want := proto.Clone(changed).(*types.Entry)
	want.RevisionNumber = 1
	want.CreatedAt = created.CreatedAt
	wantEqual(t, updated, want)
	wantEqual(t, get(t, s, created.Id), want)
}

func TestUpdateChangesOnlyWhatTheInputMaskNames(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	entry := NewEntry(workload, node, "unix:uid:1")
	entry.DnsNames, entry.Hint, entry.X509SvidTtl = []string{"a.test"}, "kept", 77
	created := s.Create(t, entry)[0]

	response, err := s.Entries(t).BatchUpdateEntry(Context(t), &entryv1.BatchUpdateEntryRequest{
		Entries:    []*types.Entry{{Id: created.Id, DnsNames: []string{"b.test"}, JwtSvidTtl: 5, Hint: "ignored"}},
		InputMask:  &types.EntryMask{DnsNames: true, JwtSvidTtl: true},
		OutputMask: &types.EntryMask{DnsNames: true, RevisionNumber: true},
	})
	NoError(t, err)
	WantItem(t, response.Results[0].Status, codes.OK, "")
	wantEqual(t, response.Results[0].Entry,
		&types.Entry{Id: created.Id, DnsNames: []string{"b.test"}, RevisionNumber: 1})
	want := proto.Clone(created).(*types.Entry)
	want.DnsNames, want.JwtSvidTtl, want.RevisionNumber = []string{"b.test"}, 5, 1
	wantEqual(t, get(t, s, created.Id), want)
}

func TestUpdateRefusesUnknownAndMalformedEntries(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	missing := NewEntry(workload, node, "unix:uid:1")
	missing.Id = "none"
	malformed := NewEntry(ID("/a//b"), node, "unix:uid:1")
	malformed.Id = "none"
	response, err := s.Entries(t).BatchUpdateEntry(Context(t), &entryv1.BatchUpdateEntryRequest{
		Entries: []*types.Entry{missing, malformed}})
	NoError(t, err)
	WantItem(t, response.Results[0].Status, codes.NotFound, "failed to update entry")
	WantItem(t, response.Results[1].Status, codes.InvalidArgument, "failed to convert entry: invalid spiffe ID")
}

func TestDeleteReportsEachItemAndRemovesTheEntry(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	created := s.Create(t, NewEntry(workload, node, "unix:uid:1"))[0]
	response, err := s.Entries(t).BatchDeleteEntry(Context(t),
		&entryv1.BatchDeleteEntryRequest{Ids: []string{created.Id, "none", ""}})
	NoError(t, err)
	WantItem(t, response.Results[0].Status, codes.OK, "")
	WantItem(t, response.Results[1].Status, codes.NotFound, "entry not found")
	WantItem(t, response.Results[2].Status, codes.InvalidArgument, "missing entry ID")
	for i, id := range []string{created.Id, "none", ""} {
		if response.Results[i].Id != id {
			t.Errorf("result %d is about %q, want %q", i, response.Results[i].Id, id)
		}
	}
	_, err = s.Entries(t).GetEntry(Context(t), &entryv1.GetEntryRequest{Id: created.Id})
	WantStatus(t, err, codes.NotFound, "entry not found")
	_, err = s.Entries(t).GetEntry(Context(t), &entryv1.GetEntryRequest{})
	WantStatus(t, err, codes.InvalidArgument, "missing ID")
}

func TestAnAcknowledgedEntrySurvivesKill(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	created := s.Create(t, NewEntry(workload, node, "unix:uid:1"))[0]
	s.Process.Kill()
	s.Start(t)
	wantEqual(t, get(t, s, created.Id), created)
}
