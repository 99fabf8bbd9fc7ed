// SPDX-License-Identifier: Apache-2.0

// Goal: what another process writes into the server's database reaches the agents and workloads as
// if the server had written it. Method: two real servers on one SQLite file; an agent of the first.

package database

import (
	"fmt"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
)

// The harness polls every 500 ms; the default is 5 s.
const soon = 20 * time.Second

func twoServers(t *testing.T) (*Server, *Server, *Agent) {
	t.Helper()
	first := StartServer(t, ServerOptions{})
	agent := StartAgent(t, first, AgentOptions{})
	second := StartServer(t, ServerOptions{Database: first.DatabasePath()})
	return first, second, agent
}

func TestEntriesOfAnotherServerReachTheWorkloads(t *testing.T) {
	first, second, agent := twoServers(t)
	// Ids of our own choice, for the identities come in their order.
	named := func(id, path string) *types.Entry {
		entry := NewEntry(ID(path), agent.ID, MySelector())
		entry.Id = id
		return entry
	}
	first.Create(t, named("a", "/first"))
	agent.WaitFetch(t, "/first")
	watch := agent.WatchX509(t)
	watch.WaitIDs(t, "/first")
	theirs := second.Create(t, named("b", "/second"))[0]
	watch.WaitIDs(t, "/first /second")
	second.Delete(t, theirs.Id)
	watch.WaitIDs(t, "/first")
}

func TestTheAuthorityOfAnotherServerIsTrusted(t *testing.T) {
	first, _, agent := twoServers(t)
	first.Create(t, NewEntry(ID("/first"), agent.ID, MySelector()))
	agent.WaitFetch(t, "/first")
	watch := agent.WatchX509(t)
	domain := spiffeid.RequireTrustDomainFromString(TD)
	Eventually(t, soon, "the second server's root at the workload", func() error {
		last, _, _ := watch.Last()
		if last == nil {
			return fmt.Errorf("nothing yet")
		}
		bundle, ok := last.Bundles.Get(domain)
		if !ok || len(bundle.X509Authorities()) != 2 {
			return fmt.Errorf("%v", ok)
		}
		return nil
	})
}
