// SPDX-License-Identifier: Apache-2.0

// Goal: an agent lives through restarts and outages as its workloads need it: what was attested is
// not attested again, a valid identity is never taken away, a ban is final, an eviction is not when
// the node can prove itself again.

package agentlife

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
)

func agents(t *testing.T, s *Server) []*types.Agent {
	t.Helper()
	response, err := s.Agents(t).ListAgents(Context(t), &agentv1.ListAgentsRequest{})
	NoError(t, err)
	return response.Agents
}

func oneAgent(t *testing.T, s *Server) *types.Agent {
	t.Helper()
	list := agents(t, s)
	if len(list) != 1 {
		t.Fatalf("%d agents: %v", len(list), list)
	}
	return list[0]
}

func entry(a *Agent, path string) *types.Entry { return NewEntry(ID(path), a.ID, MySelector()) }

func popPair(t *testing.T, settings map[string]string) (*Server, *Agent) {
	t.Helper()
	authority := NewAuthority(t, "nodes")
	s := StartServer(t, ServerOptions{NodeCA: authority, Settings: settings})
	a := StartAgent(t, s, AgentOptions{Node: authority.Issue(t, "node", false, x509.KeyUsageDigitalSignature)})
	a.ID = IDString(oneAgent(t, s).Id)
	return s, a
}

func TestARestartedAgentResumesWithoutAttestingAnew(t *testing.T) {
	for _, how := range []string{"in order", "killed"} {
		t.Run(how, func(t *testing.T) {
			s := StartServer(t, ServerOptions{})
			a := StartAgent(t, s, AgentOptions{})
			s.Create(t, entry(a, "/one"))
			a.WaitFetch(t, "/one")
			before := oneAgent(t, s)
			if how == "killed" {
				a.Process.Kill()
			} else {
				a.Process.Stop(t)
			}
			mark := s.Process.Log.Len()
			a.Start(t, true)
			a.WaitFetch(t, "/one")
			after := oneAgent(t, s)
			if IDString(after.Id) != a.ID || after.X509SvidSerialNumber != before.X509SvidSerialNumber {
				t.Errorf("before %v, after %v", before, after)
			}
			if text := s.Process.Log.After(mark); strings.Contains(text, "Agent attestation request completed") {
				t.Error("the agent attested anew")
			}
			if text := a.Process.Log.String(); strings.Contains(text, "Starting node attestation") {
				t.Error("the agent began to attest anew")
			}
		})
	}
}

func TestAnAgentsFilesHaveTheFormOfTheReference(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	serial := oneAgent(t, s).X509SvidSerialNumber
	read := func(name string, target any) {
		t.Helper()
		path := filepath.Join(a.DataDir, name)
		info, err := os.Stat(path)
		NoError(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode().Perm())
		}
		NoError(t, json.Unmarshal(Must[[]byte](t)(os.ReadFile(path)), target))
	}
	var data struct {
		SVID         [][]byte `json:"svid"`
		Bundle       [][]byte `json:"bundle"`
		Reattestable bool     `json:"reattestable"`
	}
	read("agent-data.json", &data)
	if len(data.SVID) != 1 || len(data.Bundle) != 1 || data.Reattestable {
		t.Fatalf("agent-data.json: %d certificates, %d roots, reattestable %v", len(data.SVID), len(data.Bundle), data.Reattestable)
	}
	block, rest := pem.Decode(data.SVID[0])
	if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
		t.Fatalf("the SVID is no PEM block: %q", data.SVID[0])
	}
	leaf := Must[*x509.Certificate](t)(x509.ParseCertificate(block.Bytes))
	if leaf.SerialNumber.String() != serial {
		t.Errorf("serial %v, the server says %s", leaf.SerialNumber, serial)
	}
	var keys struct {
		Keys map[string]string `json:"keys"`
	}
	read("keys.json", &keys)
	found := false
	for id, encoded := range keys.Keys {
		if id != "agent-svid-A" && id != "agent-svid-B" {
			t.Errorf("key %q", id)
		}
		key := Must[any](t)(x509.ParsePKCS8PrivateKey(Must[[]byte](t)(base64.StdEncoding.DecodeString(encoded))))
		if sameKey(key, leaf) {
			found = true
		}
	}
	if !found {
		t.Error("no key of the SVID in keys.json")
	}
}

func TestARestartedServerKeepsItsAuthority(t *testing.T) {
	for _, how := range []string{"in order", "killed"} {
		t.Run(how, func(t *testing.T) {
			s := StartServer(t, ServerOptions{})
			a := StartAgent(t, s, AgentOptions{})
			s.Create(t, entry(a, "/one"))
			a.WaitFetch(t, "/one")
			w := a.WatchX509(t)
			w.WaitIDs(t, "/one")
			before := s.X509Bundle(t)
			if how == "killed" {
				s.Process.Kill()
				s.Start(t)
			} else {
				s.Restart(t)
			}
			if !s.X509Bundle(t).Equal(before) {
				t.Error("another authority after the restart")
			}
			s.Create(t, entry(a, "/two"))
			Eventually(t, Visible, "the agent follows the server again", func() error {
				if last, _, _ := w.Last(); len(last.SVIDs) != 2 {
					return fmt.Errorf("%d identities", len(last.SVIDs))
				}
				return nil
			})
			if len(w.Errors()) != 0 {
				t.Errorf("the workload saw errors: %v", w.Errors())
			}
		})
	}
}

func TestAServerWithKeysInMemoryMakesANewAuthorityAndKeepsTheOldInItsBundle(t *testing.T) {
	s := StartServer(t, ServerOptions{MemoryKeys: true})
	before := s.X509Bundle(t).X509Authorities()
	s.Restart(t)
	after := s.X509Bundle(t)
	if len(after.X509Authorities()) != 2 || !after.HasX509Authority(before[0]) {
		t.Errorf("%d authorities after the restart", len(after.X509Authorities()))
	}
}

func TestABannedAgentStopsForGood(t *testing.T) {
	s, a := popPair(t, nil)
	_, err := s.Agents(t).BanAgent(Context(t), &agentv1.BanAgentRequest{Id: ProtoID(a.ID)})
	NoError(t, err)
	a.Process.WaitExit(t, 30*time.Second)
	if text := a.Process.Log.String(); !strings.Contains(text, "Agent is banned: removing SVID and shutting down") {
		t.Error("the agent does not say why it stops")
	}
	a.Start(t, false)
	if code := a.Process.WaitExit(t, 30*time.Second); code == 0 {
		t.Error("a banned agent started")
	}
	if !strings.Contains(a.Process.Log.String(), "failed to attest: agent is banned") {
		t.Error("the agent does not say why it does not start")
	}
}

func TestAnEvictedAgentThatCanProveItselfAttestsAnew(t *testing.T) {
	s, a := popPair(t, nil)
	s.Create(t, entry(a, "/one"))
	a.WaitFetch(t, "/one")
	w := a.WatchX509(t)
	w.WaitIDs(t, "/one")
	before := oneAgent(t, s).X509SvidSerialNumber
	_, err := s.Agents(t).DeleteAgent(Context(t), &agentv1.DeleteAgentRequest{Id: ProtoID(a.ID)})
	NoError(t, err)
	Eventually(t, 30*time.Second, "the agent is back", func() error {
		list := agents(t, s)
		if len(list) != 1 {
			return fmt.Errorf("%d agents", len(list))
		}
		if IDString(list[0].Id) != a.ID || list[0].X509SvidSerialNumber == before {
			return fmt.Errorf("agent %v", list[0])
		}
		return nil
	})
	s.Create(t, entry(a, "/two"))
	Eventually(t, Visible, "it serves the new entry", func() error {
		if last, _, _ := w.Last(); len(last.SVIDs) != 2 {
			return fmt.Errorf("%d identities", len(last.SVIDs))
		}
		return nil
	})
}

func TestAnEvictedAgentOfAJoinTokenStops(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	_, err := s.Agents(t).DeleteAgent(Context(t), &agentv1.DeleteAgentRequest{Id: ProtoID(a.ID)})
	NoError(t, err)
	a.Process.WaitExit(t, 30*time.Second)
	if n := len(agents(t, s)); n != 0 {
		t.Errorf("%d agents", n)
	}
}

func TestAnOutageOfTheServerTakesNoIdentityAway(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	s.Create(t, entry(a, "/one"))
	a.WaitFetch(t, "/one")
	w := a.WatchX509(t)
	w.WaitIDs(t, "/one")
	client := a.Client(t)
	token, err := client.FetchJWTSVID(Context(t), jwtParams("a"))
	NoError(t, err)

	s.Process.Kill()
	// Long enough for several attempts of the agent to reach the server; the agent says so.
	a.Process.WaitLog(t, a.Process.Log.Len(), "level=error", 30*time.Second)
	got := a.WaitFetch(t, "/one")
	if got.DefaultSVID().Certificates[0].NotAfter.Before(time.Now()) {
		t.Error("the identity has ended")
	}
	again, err := client.FetchJWTSVID(Context(t), jwtParams("a"))
	NoError(t, err)
	if again.Marshal() != token.Marshal() {
		t.Error("another token, of a server that is gone")
	}
	if len(w.Errors()) != 0 {
		t.Errorf("the workload saw errors: %v", w.Errors())
	}
	s.Start(t)
	s.Create(t, entry(a, "/two"))
	Eventually(t, 40*time.Second, "the agent comes back by itself", func() error {
		if last, _, _ := w.Last(); len(last.SVIDs) != 2 {
			return fmt.Errorf("%d identities", len(last.SVIDs))
		}
		return nil
	})
	if len(w.Errors()) != 0 {
		t.Errorf("the workload saw errors: %v", w.Errors())
	}
}

func TestAnAgentRenewsItsOwnSvidBeforeItEnds(t *testing.T) {
	for _, attestor := range []string{"join_token", "x509pop"} {
		t.Run(attestor, func(t *testing.T) {
			settings := map[string]string{"agent_ttl": `"20s"`}
			var s *Server
			var a *Agent
			if attestor == "x509pop" {
				s, a = popPair(t, settings)
			} else {
				s = StartServer(t, ServerOptions{Settings: settings})
				a = StartAgent(t, s, AgentOptions{})
			}
			s.Create(t, entry(a, "/one"))
			a.WaitFetch(t, "/one")
			serials := map[string]bool{}
			Eventually(t, 60*time.Second, "three SVIDs of the agent", func() error {
				if a.Process.Ended() {
					t.Fatal("the agent ended")
				}
				agent := oneAgent(t, s)
				if time.Now().Unix() > agent.X509SvidExpiresAt+1 {
					t.Fatalf("the agent's SVID ended: %v", agent)
				}
				serials[agent.X509SvidSerialNumber] = true
				if len(serials) < 3 {
					return fmt.Errorf("%d so far", len(serials))
				}
				return nil
			})
			if attested := strings.Count(s.Process.Log.String(), "Agent attestation request completed"); attestor == "join_token" && attested != 1 {
				t.Errorf("attested %d times", attested)
			}
		})
	}
}

func TestAJoinTokenThatIsSpentDoesNotStartAnAgent(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	token := s.JoinToken(t, "")
	_, err := Attest(Context(t), s.Dial(t, nil), AttestRequest("join_token", []byte(token), CSR(t, NewKey(t), nil)), nil)
	NoError(t, err)
	a := StartAgent(t, s, AgentOptions{NoWait: true, Settings: map[string]string{"join_token": `"` + token + `"`}})
	a.Process.WaitLog(t, 0, "failed to attest: join token does not exist or has already been used", 20*time.Second)
}

func TestAnAgentThatDoesNotTrustTheServerDoesNotAttest(t *testing.T) {
	s, stranger := StartServer(t, ServerOptions{}), StartServer(t, ServerOptions{})
	token := stranger.JoinToken(t, "")
	// The bundle is s's, the port the stranger's.
	a := StartAgent(t, s, AgentOptions{NoWait: true, ServerPort: stranger.Port,
		Settings: map[string]string{"join_token": `"` + token + `"`}})
	Eventually(t, 20*time.Second, "the agent complains", func() error {
		if text := a.Process.Log.String(); strings.Contains(text, "level=error") || strings.Contains(text, "level=warn") {
			return nil
		}
		return errors.New("not yet")
	})
	if n := len(agents(t, stranger)); n != 0 {
		t.Errorf("it attested to the stranger: %d agents", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), CallDeadline)
	defer cancel()
	if _, err := Attest(ctx, stranger.Dial(t, nil),
		AttestRequest("join_token", []byte(token), CSR(t, NewKey(t), nil)), nil); err != nil {
		t.Errorf("its token left the agent: %v", err)
	}
}
