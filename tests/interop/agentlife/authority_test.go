// SPDX-License-Identifier: Apache-2.0

// Goal: the server's authorities rotate under running workloads, and nobody notices: the next one is
// in every bundle before anything is signed with it.

package agentlife

import (
	"fmt"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

func TestAuthoritiesRotateUnderRunningWorkloads(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{"ca_ttl": `"60s"`, "agent_ttl": `"20s"`,
		"default_x509_svid_ttl": `"20s"`, "default_jwt_svid_ttl": `"6s"`}})
	a := StartAgent(t, s, AgentOptions{})
	s.Create(t, entry(a, "/one"))
	a.WaitFetch(t, "/one")
	w := a.WatchX509(t)
	w.WaitIDs(t, "/one")
	client := a.Client(t)
	signers, kids := map[string]bool{}, map[string]bool{}
	Eventually(t, 150*time.Second, "a second authority of each kind signs", func() error {
		now, _, _ := w.Last()
		leaf := now.SVIDs[0].Certificates[0]
		if _, _, err := x509svid.Verify(now.SVIDs[0].Certificates, now.Bundles); err != nil {
			t.Fatalf("the workload's SVID does not verify by its own bundle: %v", err)
		}
		signers[string(leaf.AuthorityKeyId)] = true
		svid, err := client.FetchJWTSVID(Context(t), jwtParams("a"))
		NoError(t, err)
		bundles, err := client.FetchJWTBundles(Context(t))
		NoError(t, err)
		if _, err := jwtsvid.ParseAndValidate(svid.Marshal(), bundles, []string{"a"}); err != nil {
			t.Fatalf("the workload's token does not verify by its own bundle: %v", err)
		}
		kids[keyID(t, svid.Marshal())] = true
		if len(signers) < 2 || len(kids) < 2 {
			return fmt.Errorf("%d X.509 and %d JWT authorities so far", len(signers), len(kids))
		}
		return nil
	})
	if len(w.Errors()) != 0 {
		t.Errorf("the workload saw errors: %v", w.Errors())
	}
	for _, text := range []string{"X509 CA prepared", "X509 CA activated", "JWT key prepared", "JWT key activated"} {
		s.Process.WaitLog(t, 0, text, CallDeadline)
	}
}
