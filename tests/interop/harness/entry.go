// SPDX-License-Identifier: Apache-2.0

// Registration entries, in as few words as a test needs.

package harness

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// ProtoID takes a SPIFFE ID apart without judging it, so that tests can send wrong ones.
func ProtoID(id string) *types.SPIFFEID {
	rest := strings.TrimPrefix(id, "spiffe://")
	domain, path, found := strings.Cut(rest, "/")
	if found {
		path = "/" + path
	}
	return &types.SPIFFEID{TrustDomain: domain, Path: path}
}

// IDString puts it together again.
func IDString(id *types.SPIFFEID) string { return "spiffe://" + id.GetTrustDomain() + id.GetPath() }

// Selectors parses "type:value" words.
func Selectors(words ...string) []*types.Selector {
	var result []*types.Selector
	for _, word := range words {
		kind, value, _ := strings.Cut(word, ":")
		result = append(result, &types.Selector{Type: kind, Value: value})
	}
	return result
}

// Normal is a copy whose lists are in one order.
func Normal(entry *types.Entry) *types.Entry {
	entry = proto.Clone(entry).(*types.Entry)
	slices.SortFunc(entry.GetSelectors(), func(a, b *types.Selector) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Value, b.Value))
	})
	slices.Sort(entry.GetDnsNames())
	slices.Sort(entry.GetFederatesWith())
	return entry
}

// MySelector matches this test process as a workload.
func MySelector() string { return fmt.Sprintf("unix:uid:%d", os.Getuid()) }

// NewEntry is an entry of `id` below `parent`.
func NewEntry(id, parent string, selectors ...string) *types.Entry {
	return &types.Entry{SpiffeId: ProtoID(id), ParentId: ProtoID(parent), Selectors: Selectors(selectors...)}
}

// Create makes the entries and demands success for each.
func (s *Server) Create(t testing.TB, entries ...*types.Entry) []*types.Entry {
	t.Helper()
	response, err := s.Entries(t).BatchCreateEntry(Context(t), &entryv1.BatchCreateEntryRequest{Entries: entries})
	NoError(t, err)
	if len(response.Results) != len(entries) {
		t.Fatalf("%d results for %d entries", len(response.Results), len(entries))
	}
	var created []*types.Entry
	for _, result := range response.Results {
		WantItem(t, result.Status, codes.OK, "")
		created = append(created, result.Entry)
	}
	return created
}

// Delete removes entries and demands success for each.
func (s *Server) Delete(t testing.TB, ids ...string) {
	t.Helper()
	response, err := s.Entries(t).BatchDeleteEntry(Context(t), &entryv1.BatchDeleteEntryRequest{Ids: ids})
	NoError(t, err)
	for _, result := range response.Results {
		WantItem(t, result.Status, codes.OK, "")
	}
}

// Update replaces an entry as a whole.
func (s *Server) Update(t testing.TB, entry *types.Entry) *types.Entry {
	t.Helper()
	response, err := s.Entries(t).BatchUpdateEntry(Context(t),
		&entryv1.BatchUpdateEntryRequest{Entries: []*types.Entry{entry}})
	NoError(t, err)
	WantItem(t, response.Results[0].Status, codes.OK, "")
	return response.Results[0].Entry
}
