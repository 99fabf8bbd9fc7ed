// SPDX-License-Identifier: Apache-2.0

// Goal: operators see, ban and evict agents; agents renew themselves and say who they are.

package agentapi

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type filter = agentv1.ListAgentsRequest_Filter

// ask makes a call that only an active agent may make.
func ask(t *testing.T, conn grpc.ClientConnInterface) error {
	t.Helper()
	_, err := entryv1.NewEntryClient(conn).GetAuthorizedEntries(Context(t), &entryv1.GetAuthorizedEntriesRequest{})
	return err
}

func wantReason(t *testing.T, err error, want types.PermissionDeniedDetails_Reason) {
	t.Helper()
	WantStatus(t, err, codes.PermissionDenied, "")
	if reason, ok := Reason(err); !ok || reason != want {
		t.Fatalf("the reason is %v (there: %v), want %v", reason, ok, want)
	}
}

func TestListAndCountAgentsAgreeOnEveryFilter(t *testing.T) {
	authority := NewAuthority(t, "nodes")
	s := StartServer(t, ServerOptions{NodeCA: authority})
	names := map[string]string{}
	add := func(name string, agent *Identity) { names[agent.SVID.ID.String()] = name }
	add("token", s.NewAgent(t))
	banned := s.NewAgent(t)
	add("banned", banned)
	add("blue", s.NewPopAgent(t, authority.Issue(t, "blue", false, x509.KeyUsageDigitalSignature,
		"x509pop://"+TD+"/color/blue", "x509pop://"+TD+"/rack/1")))
	add("red", s.NewPopAgent(t, authority.Issue(t, "red", false, x509.KeyUsageDigitalSignature,
		"x509pop://"+TD+"/color/red", "x509pop://"+TD+"/rack/1")))
	_, err := s.Agents(t).BanAgent(Context(t), &agentv1.BanAgentRequest{Id: ProtoID(banned.SVID.ID.String())})
	NoError(t, err)

	selectors := func(match types.SelectorMatch_MatchBehavior, words ...string) *filter {
		return &filter{BySelectorMatch: &types.SelectorMatch{Selectors: Selectors(words...), Match: match}}
	}
	at := func(d time.Duration) string { return time.Now().Add(d).Format("2006-01-02 15:04:05 -0700 -07") }
	cases := []struct {
		name   string
		filter *filter
		want   string
	}{
		{"none", nil, "banned blue red token"},
		{"type", &filter{ByAttestationType: "join_token"}, "banned token"},
		{"unknown type", &filter{ByAttestationType: "none"}, ""},
		{"banned", &filter{ByBanned: wrapperspb.Bool(true)}, "banned"},
		{"not banned", &filter{ByBanned: wrapperspb.Bool(false)}, "blue red token"},
		{"can reattest", &filter{ByCanReattest: wrapperspb.Bool(true)}, "blue red"},
		{"cannot reattest", &filter{ByCanReattest: wrapperspb.Bool(false)}, "banned token"},
		{"any selector", selectors(types.SelectorMatch_MATCH_ANY, "x509pop:san:color:blue", "x509pop:san:color:red"),
			"blue red"},
		{"superset", selectors(types.SelectorMatch_MATCH_SUPERSET, "x509pop:san:color:blue", "x509pop:san:rack:1"), "blue"},
		{"exact", selectors(types.SelectorMatch_MATCH_EXACT, "x509pop:san:color:blue"), ""},
		{"expires within the day", &filter{ByExpiresBefore: at(24 * time.Hour)}, "banned blue red token"},
		{"expired already", &filter{ByExpiresBefore: at(-time.Hour)}, ""},
		{"two at once", &filter{ByAttestationType: "join_token", ByBanned: wrapperspb.Bool(false)}, "token"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			response, err := s.Agents(t).ListAgents(Context(t), &agentv1.ListAgentsRequest{Filter: c.filter})
			NoError(t, err)
			var got []string
			for _, agent := range response.Agents {
				name := names[IDString(agent.Id)]
				got = append(got, name)
				if agent.Banned != (name == "banned") {
					t.Errorf("%s: banned is %v", name, agent.Banned)
				}
				if (name == "blue" || name == "red") && len(agent.Selectors) != 5 {
					t.Errorf("%s has selectors %v", name, agent.Selectors)
				}
			}
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("listed %v, want %q", got, c.want)
			}
			request := &agentv1.CountAgentsRequest{}
			if c.filter != nil {
				request.Filter = &agentv1.CountAgentsRequest_Filter{}
				NoError(t, proto.Unmarshal(Must[[]byte](t)(proto.Marshal(c.filter)), request.Filter))
			}
			count, err := s.Agents(t).CountAgents(Context(t), request)
			NoError(t, err)
			if want := len(strings.Fields(c.want)); int(count.Count) != want {
				t.Errorf("counted %d, want %d", count.Count, want)
			}
		})
	}
	t.Run("pages", func(t *testing.T) {
		seen := map[string]int{}
		token := ""
		for range 10 {
			response, err := s.Agents(t).ListAgents(Context(t), &agentv1.ListAgentsRequest{PageSize: 3, PageToken: token})
			NoError(t, err)
			if len(response.Agents) > 3 {
				t.Fatalf("a page of %d agents", len(response.Agents))
			}
			for _, agent := range response.Agents {
				seen[IDString(agent.Id)]++
			}
			if token = response.NextPageToken; token == "" {
				break
			}
		}
		if len(seen) != 4 {
			t.Errorf("pages hold %v", seen)
		}
	})
	t.Run("a mask hides the rest", func(t *testing.T) {
		response, err := s.Agents(t).ListAgents(Context(t), &agentv1.ListAgentsRequest{
			Filter: &filter{ByBanned: wrapperspb.Bool(true)}, OutputMask: &types.AgentMask{AttestationType: true}})
		NoError(t, err)
		want := &types.Agent{Id: ProtoID(banned.SVID.ID.String()), AttestationType: "join_token"}
		if !proto.Equal(response.Agents[0], want) {
			t.Errorf("got %v, want %v", response.Agents[0], want)
		}
	})
	t.Run("malformed selectors", func(t *testing.T) {
		_, err := s.Agents(t).ListAgents(Context(t), &agentv1.ListAgentsRequest{Filter: &filter{
			BySelectorMatch: &types.SelectorMatch{Selectors: []*types.Selector{{Type: "a:b", Value: "c"}}}}})
		WantStatus(t, err, codes.InvalidArgument, "failed to parse selectors: selector type contains ':'")
	})
}

func TestCallsAboutAnAgentRefuseWhatIsNoAgent(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	calls := map[string]func(*types.SPIFFEID) error{
		"GetAgent": func(id *types.SPIFFEID) error {
			_, err := s.Agents(t).GetAgent(Context(t), &agentv1.GetAgentRequest{Id: id})
			return err
		},
		"BanAgent": func(id *types.SPIFFEID) error {
			_, err := s.Agents(t).BanAgent(Context(t), &agentv1.BanAgentRequest{Id: id})
			return err
		},
		"DeleteAgent": func(id *types.SPIFFEID) error {
			_, err := s.Agents(t).DeleteAgent(Context(t), &agentv1.DeleteAgentRequest{Id: id})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			WantStatus(t, call(nil), codes.InvalidArgument, "invalid agent ID: request must specify SPIFFE ID")
			WantStatus(t, call(ProtoID(ID("/workload"))), codes.InvalidArgument, "path is not in the agent namespace")
			WantStatus(t, call(ProtoID("spiffe://other.test/spire/agent/x")), codes.InvalidArgument,
				`is not a member of trust domain "interop.test"`)
			WantStatus(t, call(ProtoID(ID("/spire/agent/none"))), codes.NotFound, "agent not found")
		})
	}
}

func TestABannedAgentIsRefusedAndAnEvictedOneIsForgotten(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	agent := s.NewAgent(t)
	id := ProtoID(agent.SVID.ID.String())
	conn := s.Dial(t, agent)
	NoError(t, ask(t, conn))

	_, err := s.Agents(t).BanAgent(Context(t), &agentv1.BanAgentRequest{Id: id})
	NoError(t, err)
	s.Process.WaitLog(t, 0, "Agent banned", CallDeadline)
	wantReason(t, ask(t, conn), types.PermissionDeniedDetails_AGENT_BANNED)
	stored := getAgent(t, s, agent.SVID.ID.String())
	if !stored.Banned || stored.X509SvidSerialNumber != "" {
		t.Errorf("stored agent is %v", stored)
	}

	_, err = s.Agents(t).DeleteAgent(Context(t), &agentv1.DeleteAgentRequest{Id: id})
	NoError(t, err)
	s.Process.WaitLog(t, 0, "Agent deleted", CallDeadline)
	wantReason(t, ask(t, conn), types.PermissionDeniedDetails_AGENT_NOT_ATTESTED)
	s.Process.WaitLog(t, 0, "Agent is not attested", CallDeadline)
	_, err = s.Agents(t).GetAgent(Context(t), &agentv1.GetAgentRequest{Id: id})
	WantStatus(t, err, codes.NotFound, "agent not found")
}

func TestEvictingAnAgentTakesItsTokensAliasAway(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	token := s.JoinToken(t, ID("/vanity"))
	_, err := Attest(Context(t), s.Dial(t, nil), AttestRequest("join_token", []byte(token), CSR(t, NewKey(t), nil)), nil)
	NoError(t, err)
	id := ID("/spire/agent/join_token/" + token)
	own := s.Create(t, NewEntry(ID("/w"), id, "unix:uid:1"))[0]
	_, err = s.Agents(t).DeleteAgent(Context(t), &agentv1.DeleteAgentRequest{Id: ProtoID(id)})
	NoError(t, err)
	response, err := s.Entries(t).ListEntries(Context(t), &entryv1.ListEntriesRequest{})
	NoError(t, err)
	if len(response.Entries) != 1 || response.Entries[0].Id != own.Id {
		t.Errorf("entries left: %v; want the operator's own only", response.Entries)
	}
}

func TestTheNewSerialBecomesCurrentWhenItIsFirstUsed(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	agent := s.NewAgent(t)
	id := agent.SVID.ID.String()
	key := NewKey(t)
	old := s.Dial(t, agent)
	response, err := agentv1.NewAgentClient(old).RenewAgent(Context(t), &agentv1.RenewAgentRequest{
		Params: &agentv1.AgentX509SVIDParams{Csr: CSR(t, key, nil)}})
	NoError(t, err)
	renewed := NewIdentity(t, response.Svid.CertChain, key)
	if renewed.SVID.ID != agent.SVID.ID || IDString(response.Svid.Id) != id ||
		response.Svid.ExpiresAt != renewed.SVID.Certificates[0].NotAfter.Unix() {
		t.Errorf("renewed: %v", response.Svid)
	}
	NoError(t, ask(t, old))
	serial := func() string { return getAgent(t, s, id).X509SvidSerialNumber }
	if serial() != agent.SVID.Certificates[0].SerialNumber.String() {
		t.Error("the new serial number is current before its first use")
	}
	NoError(t, ask(t, s.Dial(t, renewed)))
	if serial() != renewed.SVID.Certificates[0].SerialNumber.String() {
		t.Error("the new serial number is not current after its first use")
	}
	wantReason(t, ask(t, old), types.PermissionDeniedDetails_AGENT_NOT_ACTIVE)
}

func TestRenewRefusesBadRequestsAndAgentsThatCanReattest(t *testing.T) {
	authority := NewAuthority(t, "nodes")
	s := StartServer(t, ServerOptions{NodeCA: authority})
	token := agentv1.NewAgentClient(s.Dial(t, s.NewAgent(t)))
	pop := agentv1.NewAgentClient(s.Dial(t, s.NewPopAgent(t,
		authority.Issue(t, "n", false, x509.KeyUsageDigitalSignature))))
	good := &agentv1.RenewAgentRequest{Params: &agentv1.AgentX509SVIDParams{Csr: CSR(t, NewKey(t), nil)}}

	_, err := pop.RenewAgent(Context(t), good)
	WantStatus(t, err, codes.PermissionDenied, "agent must reattest instead of renew")
	wantReason(t, err, types.PermissionDeniedDetails_AGENT_MUST_REATTEST)

	_, err = token.RenewAgent(Context(t), &agentv1.RenewAgentRequest{})
	WantStatus(t, err, codes.InvalidArgument, "params cannot be nil")
	_, err = token.RenewAgent(Context(t), &agentv1.RenewAgentRequest{Params: &agentv1.AgentX509SVIDParams{}})
	WantStatus(t, err, codes.InvalidArgument, "missing CSR")
	_, err = token.RenewAgent(Context(t), &agentv1.RenewAgentRequest{
		Params: &agentv1.AgentX509SVIDParams{Csr: []byte("none")}})
	WantStatus(t, err, codes.InvalidArgument, "failed to parse CSR")
	_, err = token.RenewAgent(Context(t), good)
	NoError(t, err)
}

func TestPostStatusStoresTheAgentsVersion(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	agent := s.NewAgent(t)
	client := agentv1.NewAgentClient(s.Dial(t, agent))
	_, err := client.PostStatus(Context(t), &agentv1.PostStatusRequest{AgentVersion: "1.15.3-test"})
	NoError(t, err)
	if got := getAgent(t, s, agent.SVID.ID.String()).AgentVersion; got != "1.15.3-test" {
		t.Errorf("version is %q", got)
	}
	_, err = client.PostStatus(Context(t), &agentv1.PostStatusRequest{AgentVersion: strings.Repeat("v", 256)})
	WantStatus(t, err, codes.InvalidArgument, "agent version is too long (max 255 characters)")
	_, err = client.PostStatus(Context(t), &agentv1.PostStatusRequest{})
	NoError(t, err)
	if got := getAgent(t, s, agent.SVID.ID.String()).AgentVersion; got != "1.15.3-test" {
		t.Errorf("a status without a version made it %q", got)
	}
}

func TestAnExpiredAgentIsRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{"agent_ttl": `"3s"`}})
	agent := s.NewAgent(t)
	conn := s.Dial(t, agent)
	NoError(t, ask(t, conn))
	end := agent.SVID.Certificates[0].NotAfter
	// On the connection that was made in time, the call is refused after the certificate's end.
	Eventually(t, 15*time.Second, "the agent has expired", func() error {
		if err := ask(t, conn); err != nil {
			if time.Now().Before(end) {
				t.Fatalf("refused before its end: %v", err)
			}
			wantReason(t, err, types.PermissionDeniedDetails_AGENT_EXPIRED)
			return nil
		}
		return fmt.Errorf("still accepted, %v before its end", time.Until(end))
	})
	// A new connection does not get past the handshake.
	WantStatus(t, ask(t, s.Dial(t, agent)), codes.Unavailable, "")
}
