// SPDX-License-Identifier: Apache-2.0

// Goal: a deployment moves from the reference to ours and back, one program at a time, on the same
// files: nobody attests anew, no authority is replaced, no entry is lost, no workload notices.
// Method: STEEPLE_OTHER_BIN names the other implementation's programs; without it there is nothing
// to move to, and the tests say so.

package agentlife

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
)

func otherBin(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("STEEPLE_OTHER_BIN")
	if dir == "" {
		t.Skip("STEEPLE_OTHER_BIN names no other implementation")
	}
	return dir
}

func entryIDs(t *testing.T, s *Server) string {
	t.Helper()
	response, err := s.Entries(t).ListEntries(Context(t), &entryv1.ListEntriesRequest{})
	NoError(t, err)
	var ids []string
	for _, e := range response.Entries {
		ids = append(ids, e.Id+strings.Join(e.DnsNames, "+")+e.Hint+strings.Join(e.FederatesWith, "+"))
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func TestAServersDataIsTakenOverAndGivenBack(t *testing.T) {
	other := filepath.Join(otherBin(t), "spire-server")
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	SetFederatedBundle(t, s, "one.test")
	e := entry(a, "/one")
	e.Id, e.DnsNames, e.Hint, e.FederatesWith = "e1", []string{"a.test"}, "h", []string{"one.test"}
	s.Create(t, e)
	a.WaitFetch(t, "/one")
	w := a.WatchX509(t)
	w.WaitIDs(t, "/one")
	bundle, serial, token := s.X509Bundle(t), oneAgent(t, s).X509SvidSerialNumber, s.JoinToken(t, "")
	want := "/one"
	for i, program := range []string{other, "", other, ""} {
		before := entryIDs(t, s)
		s.Process.Stop(t)
		s.Program = program
		s.Start(t)
		if !s.X509Bundle(t).Equal(bundle) {
			t.Fatalf("move %d: another authority", i)
		}
		if got := entryIDs(t, s); got != before {
			t.Fatalf("move %d: entries %q, were %q", i, got, before)
		}
		if got := oneAgent(t, s); got.X509SvidSerialNumber != serial || IDString(got.Id) != a.ID {
			t.Fatalf("move %d: the agent is %v", i, got)
		}
		path := "/made-after-move-" + string(rune('a'+i))
		made := entry(a, path)
		made.Id = "f" + string(rune('a'+i))
		s.Create(t, made)
		want += " " + path
		w.WaitIDs(t, want)
		if i == 1 {
			s.Update(t, e)
		}
	}
	if len(w.Errors()) != 0 {
		t.Errorf("the workload saw errors: %v", w.Errors())
	}
	_, err := Attest(Context(t), s.Dial(t, nil), AttestRequest("join_token", []byte(token), CSR(t, NewKey(t), nil)), nil)
	NoError(t, err)
}

func TestAnAgentsDataIsTakenOverAndGivenBack(t *testing.T) {
	other := filepath.Join(otherBin(t), "spire-agent")
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	s.Create(t, entry(a, "/one"))
	a.WaitFetch(t, "/one")
	serial := oneAgent(t, s).X509SvidSerialNumber
	for i, program := range []string{other, "", other, ""} {
		a.Process.Stop(t)
		a.Program = program
		a.Start(t, true)
		a.WaitFetch(t, "/one")
		if got := oneAgent(t, s); got.X509SvidSerialNumber != serial {
			t.Fatalf("move %d: the agent attested anew: %v", i, got)
		}
	}
}
