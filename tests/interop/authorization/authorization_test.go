// SPDX-License-Identifier: Apache-2.0

// Goal: the authorization table (surface 4.2), every method times every class of caller: who is not
// in the table is denied with the reference's code, words and details, who is gets past the check.
// Method: each method is called by its name with an empty message, so that a call that is let
// through changes nothing.

package authorization

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Classes of callers, and the ones that a row of the table allows.
const (
	anonymous = 1 << iota
	agent
	workload
	adminEntry
	adminID
	downstream
	local

	admin = adminEntry | adminID
	tcp   = anonymous | agent | workload | admin | downstream
	all   = tcp | local
)

type row struct {
	service string
	methods string
	allowed int
	// Exists on the admin socket only: TCP callers find no such service.
	localOnly bool
	// Ours may still answer Unimplemented to everybody.
	later bool
}

var table = []row{
	{"spire.api.server.agent.v1.Agent", "AttestAgent", all, false, false},
	{"spire.api.server.bundle.v1.Bundle", "GetBundle", all, false, false},
	{"spire.api.server.svid.v1.SVID", "BatchNewX509SVID NewJWTSVID BatchNewWITSVID", agent, false, false},
	{"spire.api.server.entry.v1.Entry", "GetAuthorizedEntries SyncAuthorizedEntries", agent, false, false},
	{"spire.api.server.agent.v1.Agent", "RenewAgent PostStatus", agent, false, false},
	{"spire.api.server.bundle.v1.Bundle", "GetFederatedBundle", agent | admin | local, false, false},
	{"spire.api.server.svid.v1.SVID", "NewDownstreamX509CA", downstream, false, false},
	{"spire.api.server.bundle.v1.Bundle", "PublishJWTAuthority PublishWITAuthority", downstream, false, false},
	{"spire.api.server.debug.v1.Debug", "GetInfo", local, true, false},
	{"spire.api.server.logger.v1.Logger", "GetLogger SetLogLevel ResetLogLevel", local, true, false},
	{"grpc.health.v1.Health", "Check List Watch", local, true, false},
	{"spire.api.server.svid.v1.SVID", "MintX509SVID MintJWTSVID MintWITSVID", admin | local, false, false},
	{"spire.api.server.bundle.v1.Bundle", "CountBundles AppendBundle ListFederatedBundles " +
		"BatchCreateFederatedBundle BatchUpdateFederatedBundle BatchSetFederatedBundle BatchDeleteFederatedBundle",
		admin | local, false, false},
	{"spire.api.server.entry.v1.Entry", "CountEntries ListEntries GetEntry BatchCreateEntry BatchUpdateEntry " +
		"BatchDeleteEntry", admin | local, false, false},
	{"spire.api.server.agent.v1.Agent", "CountAgents ListAgents GetAgent DeleteAgent BanAgent CreateJoinToken",
		admin | local, false, false},
	{"spire.api.server.trustdomain.v1.TrustDomain", "ListFederationRelationships GetFederationRelationship " +
		"BatchCreateFederationRelationship BatchUpdateFederationRelationship BatchDeleteFederationRelationship " +
		"RefreshBundle", admin | local, false, true},
	{"spire.api.server.localauthority.v1.LocalAuthority", "GetJWTAuthorityState PrepareJWTAuthority " +
		"ActivateJWTAuthority TaintJWTAuthority RevokeJWTAuthority GetX509AuthorityState PrepareX509Authority " +
		"ActivateX509Authority TaintX509Authority TaintX509UpstreamAuthority RevokeX509Authority " +
		"RevokeX509UpstreamAuthority GetWITAuthorityState PrepareWITAuthority ActivateWITAuthority " +
		"TaintWITAuthority RevokeWITAuthority", admin | local, false, true},
}

type caller struct {
	name  string
	class int
	conn  grpc.ClientConnInterface
	// The caller shows a certificate, but no agent's.
	stranger bool
}

func callers(t *testing.T, s *Server) []caller {
	t.Helper()
	adminWorkload := NewEntry(ID("/admin-workload"), ID("/parent"), "t:1")
	adminWorkload.Admin = true
	downstreamWorkload := NewEntry(ID("/downstream-workload"), ID("/parent"), "t:1")
	downstreamWorkload.Downstream = true
	s.Create(t, adminWorkload, downstreamWorkload, NewEntry(ID("/workload"), ID("/parent"), "t:1"))
	return []caller{
		{"anonymous", anonymous, s.Dial(t, nil), false},
		{"agent", agent, s.Dial(t, s.NewAgent(t)), false},
		{"workload", workload, s.Dial(t, s.Mint(t, ID("/workload"), 600)), true},
		{"admin entry", adminEntry, s.Dial(t, s.Mint(t, ID("/admin-workload"), 600)), true},
		{"admin id", adminID, s.Dial(t, s.Mint(t, ID("/admin-id"), 600)), true},
		{"downstream", downstream, s.Dial(t, s.Mint(t, ID("/downstream-workload"), 600)), true},
		{"local", local, s.Admin(t), false},
	}
}

func TestEveryMethodKnowsItsCallers(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{"admin_ids": `["` + ID("/admin-id") + `"]`}})
	who := callers(t, s)
	for _, r := range table {
		for _, method := range strings.Fields(r.methods) {
			full := "/" + r.service + "/" + method
			for _, c := range who {
				t.Run(method+" by "+c.name, func(t *testing.T) { judge(t, r, full, c) })
			}
		}
	}
}

func judge(t *testing.T, r row, full string, c caller) {
	_, err := RawCall(Context(t), c.conn, full, nil)
	st := status.Convert(err)
	if r.later && !Reference() && st.Code() == codes.Unimplemented {
		return
	}
	switch {
	case r.localOnly && c.class != local:
		if st.Code() != codes.Unimplemented {
			t.Errorf("got %v %q, want Unimplemented", st.Code(), st.Message())
		}
	case r.allowed&c.class != 0:
		if strings.Contains(st.Message(), "authorization denied") {
			t.Errorf("denied: %q", st.Message())
		}
		switch st.Code() {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unauthenticated:
			t.Errorf("the call was not judged: %v", err)
		}
	default:
		if want := "authorization denied for method " + full; st.Code() != codes.PermissionDenied || st.Message() != want {
			t.Errorf("got %v %q, want PermissionDenied %q", st.Code(), st.Message(), want)
		}
		reason, there := Reason(err)
		if wantThere := r.allowed&agent != 0 && c.stranger; there != wantThere {
			t.Errorf("a reason is there: %v (%v), want %v", there, reason, wantThere)
		} else if there && reason != types.PermissionDeniedDetails_AGENT_NOT_ATTESTED {
			t.Errorf("the reason is %v", reason)
		}
	}
}

func TestAnAdminEntryCountsFromItsCreationToItsEnd(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	conn := s.Dial(t, s.Mint(t, ID("/admin"), 600))
	const method = "/spire.api.server.entry.v1.Entry/CountEntries"
	call := func() error { _, err := RawCall(Context(t), conn, method, nil); return err }
	WantStatus(t, call(), codes.PermissionDenied, "authorization denied for method "+method)
	entry := NewEntry(ID("/admin"), ID("/parent"), "t:1")
	entry.Admin = true
	created := s.Create(t, entry)[0]
	NoError(t, call())
	created.Admin = false
	s.Update(t, created)
	WantStatus(t, call(), codes.PermissionDenied, "authorization denied for method "+method)
}

func TestAdminIdsMayComeFromAnotherTrustDomain(t *testing.T) {
	foreign := ForeignAuthority(t, "other.test")
	s := StartServer(t, ServerOptions{Settings: map[string]string{"admin_ids": `["spiffe://other.test/admin"]`}})
	PutBundle(t, s, &types.Bundle{TrustDomain: "other.test", SequenceNumber: 1,
		X509Authorities: []*types.X509Certificate{{Asn1: foreign.Cert.Raw}}})
	const method = "/spire.api.server.entry.v1.Entry/CountEntries"
	// The server may learn of the bundle a moment later.
	conn := s.Dial(t, foreign.Foreign(t, "spiffe://other.test/admin"))
	Eventually(t, 15*time.Second, "the foreign admin is let in", func() error {
		_, err := RawCall(Context(t), conn, method, nil)
		conn.ResetConnectBackoff()
		return err
	})
	t.Run("its neighbour is refused in the handshake", func(t *testing.T) {
		_, err := RawCall(Context(t), s.Dial(t, foreign.Foreign(t, "spiffe://other.test/neighbour")), method, nil)
		WantStatus(t, err, codes.Unavailable, "")
	})
}

func TestCertificatesThatDoNotVerifyFailTheHandshake(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	const method = "/spire.api.server.bundle.v1.Bundle/GetBundle"
	foreign := ForeignAuthority(t, "other.test")
	impostor := ForeignAuthority(t, TD)
	expired := s.Mint(t, ID("/short"), 1)
	Eventually(t, 10*time.Second, "it has expired", func() error {
		if left := time.Until(expired.SVID.Certificates[0].NotAfter); left > -time.Second {
			return fmt.Errorf("%v left", left)
		}
		return nil
	})
	for name, identity := range map[string]*Identity{
		"a foreign trust domain":             foreign.Foreign(t, "spiffe://other.test/x"),
		"the own trust domain by a stranger": impostor.Foreign(t, ID("/x")),
		"expired":                            expired,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := RawCall(Context(t), s.Dial(t, identity), method, nil)
			WantStatus(t, err, codes.Unavailable, "")
		})
	}
}

func TestAnAgentSeesItsOwnEntriesOnly(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	one, two := s.NewAgent(t), s.NewAgent(t)
	s.Create(t, NewEntry(ID("/one"), one.SVID.ID.String(), "t:1"))
	ones, twos := entryv1.NewEntryClient(s.Dial(t, one)), entryv1.NewEntryClient(s.Dial(t, two))
	Eventually(t, 15*time.Second, "the first agent has its entry", func() error {
		response, err := ones.GetAuthorizedEntries(Context(t), &entryv1.GetAuthorizedEntriesRequest{})
		NoError(t, err)
		if len(response.Entries) != 1 {
			return fmt.Errorf("%d entries", len(response.Entries))
		}
		return nil
	})
	response, err := twos.GetAuthorizedEntries(Context(t), &entryv1.GetAuthorizedEntriesRequest{})
	NoError(t, err)
	if len(response.Entries) != 0 {
		t.Errorf("the second agent sees %v", response.Entries)
	}
}
