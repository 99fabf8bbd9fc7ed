// SPDX-License-Identifier: Apache-2.0

// Goal: the additional push RPC tells an agent at once what concerns it, and nothing else, and a
// sync after it sees the change. Method: the messages are taken apart by hand, so that the wire
// format itself is judged. The reference does not know the RPC and says so, which is what lets our
// agent fall back to polling.

package push

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
)

const method = "/steeple.server.push.v1.Push/WatchChanges"

// How long an announcement may take on a busy machine.
const soon = 5 * time.Second

type change struct {
	revision         uint64
	instance         string
	entries, bundles bool
}

type watch struct {
	t      *testing.T
	cancel context.CancelFunc
	got    chan change
	err    chan error
}

func open(t *testing.T, conn grpc.ClientConnInterface, after uint64, instance string) *watch {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	stream, err := RawStream(ctx, conn, method)
	NoError(t, err)
	var request []byte
	if after != 0 {
		request = protowire.AppendVarint(protowire.AppendTag(request, 1, protowire.VarintType), after)
	}
	if instance != "" {
		request = protowire.AppendString(protowire.AppendTag(request, 2, protowire.BytesType), instance)
	}
	_ = stream.SendMsg(&request)
	_ = stream.CloseSend()
	w := &watch{t, cancel, make(chan change, 1000), make(chan error, 1)}
	go func() {
		for {
			var message []byte
			if err := stream.RecvMsg(&message); err != nil {
				w.err <- err
				return
			}
			c, err := parse(message)
			if err != nil {
				w.err <- err
				return
			}
			w.got <- c
		}
	}()
	return w
}

func parse(message []byte) (change, error) {
	var c change
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return c, protowire.ParseError(n)
		}
		message = message[n:]
		switch {
		case number == 2 && kind == protowire.BytesType:
			value, n := protowire.ConsumeString(message)
			if n < 0 {
				return c, protowire.ParseError(n)
			}
			c.instance, message = value, message[n:]
		case kind == protowire.VarintType && number <= 4:
			value, n := protowire.ConsumeVarint(message)
			if n < 0 {
				return c, protowire.ParseError(n)
			}
			switch number {
			case 1:
				c.revision = value
			case 3:
				c.entries = value != 0
			case 4:
				c.bundles = value != 0
			}
			message = message[n:]
		default:
			return c, fmt.Errorf("unexpected field %d of kind %d", number, kind)
		}
	}
	return c, nil
}

// next is the next announcement.
func (w *watch) next() change {
	w.t.Helper()
	select {
	case c := <-w.got:
		return c
	case err := <-w.err:
		w.t.Fatalf("the stream ended: %v", err)
	case <-time.After(soon):
		w.t.Fatalf("no announcement within %v", soon)
	}
	return change{}
}

// until reads announcements until one satisfies; hints too many are allowed.
func (w *watch) until(what string, ok func(change) bool) change {
	w.t.Helper()
	end := time.After(soon)
	for {
		select {
		case c := <-w.got:
			if ok(c) {
				return c
			}
		case err := <-w.err:
			w.t.Fatalf("the stream ended: %v", err)
		case <-end:
			w.t.Fatalf("no announcement within %v: %s", soon, what)
		}
	}
}

func TestTheReferenceDoesNotKnowThePushRpc(t *testing.T) {
	if !Reference() {
		t.Skip("ours does")
	}
	s := StartServer(t, ServerOptions{})
	_, err := RawCall(Context(t), s.Dial(t, s.NewAgent(t)), method, nil)
	WantStatus(t, err, codes.Unimplemented, "")
}

func start(t *testing.T) *Server {
	t.Helper()
	OursOnly(t, "it has no push")
	return StartServer(t, ServerOptions{})
}

func TestOnlyAgentsMayWatch(t *testing.T) {
	s := start(t)
	for name, conn := range map[string]grpc.ClientConnInterface{
		"anonymous": s.Dial(t, nil),
		"workload":  s.Dial(t, s.Mint(t, ID("/w"), 60)),
		"local":     s.Admin(t),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := RawCall(Context(t), conn, method, nil)
			WantStatus(t, err, codes.PermissionDenied, "authorization denied for method "+method)
		})
	}
}

func TestTheFirstAnswerComesAtOnceAndNamesTheInstance(t *testing.T) {
	s := start(t)
	first := open(t, s.Dial(t, s.NewAgent(t)), 0, "").next()
	if first.instance == "" || len(first.instance) > 64 {
		t.Errorf("instance %q", first.instance)
	}
	if first.entries || first.bundles {
		t.Errorf("an agent that knows nothing is told of changes: %+v", first)
	}
}

func TestEachKindOfChangeIsAnnouncedAndSeenByTheNextSync(t *testing.T) {
	s := start(t)
	agent := s.NewAgent(t)
	conn := s.Dial(t, agent)
	client := entryv1.NewEntryClient(conn)
	w := open(t, conn, 0, "")
	last := w.next()
	sync := func() []*types.Entry {
		t.Helper()
		response, err := client.GetAuthorizedEntries(Context(t), &entryv1.GetAuthorizedEntriesRequest{})
		NoError(t, err)
		return response.Entries
	}
	announced := func(what string, bundles bool) {
		t.Helper()
		c := w.until(what, func(c change) bool { return (bundles && c.bundles) || (!bundles && c.entries) })
		if c.revision <= last.revision || c.instance != last.instance {
			t.Errorf("%s: %+v after %+v", what, c, last)
		}
		last = c
	}
	created := s.Create(t, NewEntry(ID("/w"), agent.SVID.ID.String(), "t:1"))[0]
	announced("create", false)
	if got := sync(); len(got) != 1 {
		t.Errorf("after create: %v", got)
	}
	created.Hint = "changed"
	s.Update(t, created)
	announced("update", false)
	if got := sync(); len(got) != 1 || got[0].Hint != "changed" {
		t.Errorf("after update: %v", got)
	}
	SetFederatedBundle(t, s, "one.test")
	created.FederatesWith = []string{"one.test"}
	s.Update(t, created)
	announced("federation", false)
	SetFederatedBundle(t, s, "one.test")
	announced("a federated bundle", true)
	_, err := s.Bundles(t).AppendBundle(Context(t), &bundlev1.AppendBundleRequest{
		JwtAuthorities: []*types.JWTKey{JWTKey(t, "k")}})
	NoError(t, err)
	announced("the own bundle", true)
	s.Delete(t, created.Id)
	announced("delete", false)
	if got := sync(); len(got) != 0 {
		t.Errorf("after delete: %v", got)
	}
}

func TestChangesOfOthersAreNotAnnounced(t *testing.T) {
	s := start(t)
	one, two := s.NewAgent(t), s.NewAgent(t)
	w := open(t, s.Dial(t, one), 0, "")
	w.next()
	for i := range 20 {
		s.Create(t, NewEntry(ID(fmt.Sprintf("/other/%d", i)), two.SVID.ID.String(), "t:1"))
	}
	s.Create(t, NewEntry(ID("/mine"), one.SVID.ID.String(), "t:1"))
	count := 0
	w.until("the own entry", func(c change) bool { count++; return c.entries })
	if count > 3 {
		t.Errorf("%d announcements for one change that concerns the agent", count)
	}
}

func TestAReconnectLearnsWhatItMissed(t *testing.T) {
	s := start(t)
	agent := s.NewAgent(t)
	conn := s.Dial(t, agent)
	w := open(t, conn, 0, "")
	last := w.next()
	w.cancel()
	if c := open(t, conn, last.revision, last.instance).next(); c.entries || c.bundles {
		t.Errorf("nothing happened, but %+v", c)
	}
	s.Create(t, NewEntry(ID("/missed"), agent.SVID.ID.String(), "t:1"))
	if c := open(t, conn, last.revision, last.instance).next(); !c.entries {
		t.Errorf("an entry was created meanwhile, but %+v", c)
	}
	if c := open(t, conn, last.revision, "another server").next(); !c.entries || !c.bundles {
		t.Errorf("a revision of another server, but %+v", c)
	}
	t.Run("also after a restart of the server", func(t *testing.T) {
		s.Restart(t)
		c := open(t, s.Dial(t, agent), last.revision, last.instance).next()
		if !c.entries || !c.bundles || c.instance == last.instance {
			t.Errorf("after a restart: %+v", c)
		}
	})
}

func TestABanEndsTheStream(t *testing.T) {
	s := start(t)
	agent := s.NewAgent(t)
	w := open(t, s.Dial(t, agent), 0, "")
	w.next()
	_, err := s.Agents(t).BanAgent(Context(t), &agentv1.BanAgentRequest{Id: ProtoID(agent.SVID.ID.String())})
	NoError(t, err)
	select {
	case err := <-w.err:
		if !strings.Contains(err.Error(), "PermissionDenied") {
			t.Errorf("the stream ended with %v", err)
		}
	case <-time.After(soon):
		t.Error("a banned agent still watches")
	}
}

// An agent that waits for changes must not hold up the server that stops.
func TestAStoppingServerEndsTheStreamAtOnce(t *testing.T) {
	s := start(t)
	w := open(t, s.Dial(t, s.NewAgent(t)), 0, "")
	w.next()
	begin := time.Now()
	s.Process.Stop(t)
	if took := time.Since(begin); took > soon {
		t.Errorf("the server took %v to stop", took)
	}
}
