// SPDX-License-Identifier: Apache-2.0

// Goal: an agent learns exactly the entries below itself and below its node aliases, at once when
// there are up to 500, by revisions and on request beyond. Method: agents attested by hand, over
// TCP with their SVIDs.

package entryapi

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// The reference sees changes within its reload interval and bundle cache.
const visible = 15 * time.Second

func authorized(t *testing.T, conn grpc.ClientConnInterface) string {
	t.Helper()
	response, err := entryv1.NewEntryClient(conn).GetAuthorizedEntries(Context(t),
		&entryv1.GetAuthorizedEntriesRequest{})
	NoError(t, err)
	var ids []string
	for _, entry := range response.Entries {
		ids = append(ids, entry.Id)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func wantAuthorized(t *testing.T, conn grpc.ClientConnInterface, want string) {
	t.Helper()
	Eventually(t, visible, "the agent is authorized for "+want, func() error {
		if got := authorized(t, conn); got != want {
			return fmt.Errorf("it is for %q", got)
		}
		return nil
	})
}

func named(id string, entry *types.Entry) *types.Entry {
	entry.Id = id
	return entry
}

func TestAnAgentIsAuthorizedForItsDescendantsAndThoseOfItsAliases(t *testing.T) {
	authority := NewAuthority(t, "nodes")
	s := StartServer(t, ServerOptions{NodeCA: authority})
	nodeCert := authority.Issue(t, "node-1", false, x509.KeyUsageDigitalSignature,
		"x509pop://"+TD+"/cluster/blue", "x509pop://"+TD+"/rack/7")
	agent := s.NewPopAgent(t, nodeCert)
	other := s.NewAgent(t)
	conn, otherConn := s.Dial(t, agent), s.Dial(t, other)

	server := ID("/spire/server")
	s.Create(t,
		named("child", NewEntry(ID("/child"), agent.SVID.ID.String(), "t:1")),
		named("grandchild", NewEntry(ID("/grandchild"), ID("/child"), "t:1")),
		named("sibling", NewEntry(ID("/sibling"), other.SVID.ID.String(), "t:1")),
		named("alias", NewEntry(ID("/blue"), server, "x509pop:san:cluster:blue")),
		named("alias2", NewEntry(ID("/blue7"), server, "x509pop:san:cluster:blue", "x509pop:san:rack:7")),
		named("no-alias", NewEntry(ID("/red"), server, "x509pop:san:cluster:blue", "x509pop:san:rack:8")),
		named("below-alias", NewEntry(ID("/w1"), ID("/blue"), "t:1")),
		named("below-alias2", NewEntry(ID("/w2"), ID("/blue7"), "t:1")),
		named("below-no-alias", NewEntry(ID("/w3"), ID("/red"), "t:1")),
	)
	wantAuthorized(t, conn, "below-alias below-alias2 child grandchild")
	wantAuthorized(t, otherConn, "sibling")

	t.Run("a loop of parents ends", func(t *testing.T) {
		s.Create(t, named("loop1", NewEntry(ID("/loop1"), ID("/loop2"), "t:1")),
			named("loop2", NewEntry(ID("/loop2"), ID("/loop1"), "t:1")),
			named("into-loop", NewEntry(ID("/loop1"), other.SVID.ID.String(), "t:2")))
		wantAuthorized(t, otherConn, "into-loop loop1 loop2 sibling")
	})
	t.Run("update moves an entry to another agent", func(t *testing.T) {
		s.Update(t, named("child", NewEntry(ID("/child"), other.SVID.ID.String(), "t:1")))
		wantAuthorized(t, conn, "below-alias below-alias2")
		wantAuthorized(t, otherConn, "child grandchild into-loop loop1 loop2 sibling")
	})
	t.Run("delete takes it away with what hung on it", func(t *testing.T) {
		s.Delete(t, "child", "alias2", "loop1")
		wantAuthorized(t, conn, "below-alias")
		wantAuthorized(t, otherConn, "into-loop loop2 sibling")
	})
}

func TestAJoinTokenWithAnAliasBringsItsEntry(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	token := s.JoinToken(t, ID("/vanity"))
	key := NewKey(t)
	result, err := Attest(Context(t), s.Dial(t, nil), AttestRequest("join_token", []byte(token), CSR(t, key, nil)), nil)
	NoError(t, err)
	agent := NewIdentity(t, result.Svid.CertChain, key)
	s.Create(t, named("below", NewEntry(ID("/w"), ID("/vanity"), "t:1")))
	alias := listIDs(t, s, &filter{BySpiffeId: ProtoID(ID("/vanity"))})
	if len(alias) != 1 {
		t.Fatalf("alias entries: %v", alias)
	}
	entry := get(t, s, alias[0])
	if IDString(entry.ParentId) != agent.SVID.ID.String() ||
		entry.Selectors[0].Type != "spiffe_id" || entry.Selectors[0].Value != agent.SVID.ID.String() {
		t.Errorf("alias entry is %v", entry)
	}
	conn := s.Dial(t, agent)
	Eventually(t, visible, "the entry below the alias is there", func() error {
		if got := authorized(t, conn); !strings.Contains(got, "below") {
			return fmt.Errorf("authorized for %q", got)
		}
		return nil
	})
}

func sync(t *testing.T, conn grpc.ClientConnInterface) entryv1.Entry_SyncAuthorizedEntriesClient {
	t.Helper()
	stream, err := entryv1.NewEntryClient(conn).SyncAuthorizedEntries(Context(t))
	NoError(t, err)
	return stream
}

func TestSyncSendsUpTo500EntriesWhole(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	agent := s.NewAgent(t)
	conn := s.Dial(t, agent)
	entry := named("one", NewEntry(workload, agent.SVID.ID.String(), "t:1"))
	entry.Hint, entry.X509SvidTtl = "h", 5
	created := s.Create(t, entry)[0]
	wantAuthorized(t, conn, "one")

	stream := sync(t, conn)
	NoError(t, stream.Send(&entryv1.SyncAuthorizedEntriesRequest{}))
	response, err := stream.Recv()
	NoError(t, err)
	if len(response.Entries) != 1 || len(response.EntryRevisions) != 0 || response.More {
		t.Fatalf("got %v", response)
	}
	wantEqual(t, response.Entries[0], created)

	t.Run("masked", func(t *testing.T) {
		stream := sync(t, conn)
		NoError(t, stream.Send(&entryv1.SyncAuthorizedEntriesRequest{
			OutputMask: &types.EntryMask{RevisionNumber: true, Hint: true}}))
		response, err := stream.Recv()
		NoError(t, err)
		wantEqual(t, response.Entries[0], &types.Entry{Id: "one", Hint: "h"})
	})
	t.Run("ids in the first request are refused", func(t *testing.T) {
		stream := sync(t, conn)
		NoError(t, stream.Send(&entryv1.SyncAuthorizedEntriesRequest{Ids: []string{"one"}}))
		_, err := stream.Recv()
		WantStatus(t, err, codes.InvalidArgument, "specifying IDs on initial request is not supported")
	})
	t.Run("a mask without the revision number is refused", func(t *testing.T) {
		stream := sync(t, conn)
		NoError(t, stream.Send(&entryv1.SyncAuthorizedEntriesRequest{OutputMask: &types.EntryMask{Hint: true}}))
		_, err := stream.Recv()
		WantStatus(t, err, codes.InvalidArgument, "revision number cannot be masked")
	})
	t.Run("GetAuthorizedEntries masks too", func(t *testing.T) {
		response, err := entryv1.NewEntryClient(conn).GetAuthorizedEntries(Context(t),
			&entryv1.GetAuthorizedEntriesRequest{OutputMask: &types.EntryMask{Selectors: true}})
		NoError(t, err)
		wantEqual(t, response.Entries[0], &types.Entry{Id: "one", Selectors: Selectors("t:1")})
	})
}

func TestSyncBeyond500EntriesSendsRevisionsAndThenWhatIsAskedFor(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	agent := s.NewAgent(t)
	conn := s.Dial(t, agent)
	const total = 1203
	for from := 0; from < total; from += 401 {
		var batch []*types.Entry
		for i := from; i < from+401; i++ {
			batch = append(batch, named(fmt.Sprintf("e%04d", i),
				NewEntry(ID(fmt.Sprintf("/w/%d", i)), agent.SVID.ID.String(), "t:1")))
		}
		s.Create(t, batch...)
	}
	changed := named("e0007", NewEntry(ID("/w/changed"), agent.SVID.ID.String(), "t:2"))
	s.Update(t, changed)
	Eventually(t, visible, "all entries are authorized", func() error {
		if n := len(strings.Fields(authorized(t, conn))); n != total {
			return fmt.Errorf("%d are", n)
		}
		revisions, _ := readRevisions(t, sync(t, conn))
		if revisions["e0007"] != 1 {
			return fmt.Errorf("the changed entry has revision %d", revisions["e0007"])
		}
		return nil
	})

	stream := sync(t, conn)
	revisions, pages := readRevisions(t, stream)
	if len(revisions) != total || !slices.Equal(pages, []int{500, 500, 203}) {
		t.Fatalf("%d revisions in pages of %v", len(revisions), pages)
	}
	t.Run("entries that are asked for come whole, unknown ones not at all", func(t *testing.T) {
		NoError(t, stream.Send(&entryv1.SyncAuthorizedEntriesRequest{Ids: []string{"e0007", "none", "e0001"}}))
		response, err := stream.Recv()
		NoError(t, err)
		if len(response.Entries) != 2 || response.More {
			t.Fatalf("got %v", response)
		}
		got := map[string]string{}
		for _, entry := range response.Entries {
			got[entry.Id] = IDString(entry.SpiffeId)
		}
		if got["e0001"] != ID("/w/1") || got["e0007"] != ID("/w/changed") {
			t.Errorf("got %v", got)
		}
	})
	t.Run("more than a page comes in pages", func(t *testing.T) {
		var ids []string
		for id := range revisions {
			ids = append(ids, id)
		}
		NoError(t, stream.Send(&entryv1.SyncAuthorizedEntriesRequest{Ids: ids}))
		got := map[string]bool{}
		var sizes []int
		for {
			response, err := stream.Recv()
			NoError(t, err)
			sizes = append(sizes, len(response.Entries))
			for _, entry := range response.Entries {
				got[entry.Id] = true
			}
			if !response.More {
				break
			}
		}
		if len(got) != total || !slices.Equal(sizes, []int{500, 500, 203}) {
			t.Errorf("%d entries in pages of %v", len(got), sizes)
		}
	})
	t.Run("the stream ends when the agent closes it", func(t *testing.T) {
		NoError(t, stream.CloseSend())
		if _, err := stream.Recv(); err == nil || err.Error() != "EOF" {
			t.Errorf("got %v, want EOF", err)
		}
	})
}

func readRevisions(t *testing.T, stream entryv1.Entry_SyncAuthorizedEntriesClient) (map[string]int64, []int) {
	t.Helper()
	NoError(t, stream.Send(&entryv1.SyncAuthorizedEntriesRequest{}))
	revisions := map[string]int64{}
	var pages []int
	for {
		response, err := stream.Recv()
		NoError(t, err)
		if len(response.Entries) != 0 {
			t.Fatalf("whole entries on a first answer of more than 500")
		}
		for _, revision := range response.EntryRevisions {
			revisions[revision.Id] = revision.RevisionNumber
			if revision.CreatedAt == 0 {
				t.Errorf("revision %v has no creation time", revision)
			}
		}
		pages = append(pages, len(response.EntryRevisions))
		if !response.More {
			return revisions, pages
		}
	}
}
