// SPDX-License-Identifier: Apache-2.0

// Goal: `spire-agent api watch` stays attached: it shows each change, and comes back by itself when
// its agent does.

package agentlife

import (
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"
)

func TestApiWatchShowsEachChangeAndOutlivesItsAgent(t *testing.T) {
	const soon = 20 * time.Second
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	s.Create(t, entry(a, "/one"))
	a.WaitFetch(t, "/one")
	watch := Start(t, a.Dir, "api watch", Binary(t, "spire-agent"), "api", "watch", "-socketPath", a.SocketPath)
	watch.WaitLog(t, 0, "Received 1 svid after", soon)
	watch.WaitLog(t, 0, "SPIFFE ID:\t\t"+ID("/one")+"\nSVID Valid After:\t", soon)
	watch.WaitLog(t, 0, "CA #1 Valid Until:\t", soon)
	mark := watch.Log.Len()
	s.Create(t, entry(a, "/two"))
	watch.WaitLog(t, mark, "Received 2 svids after", soon)

	mark = watch.Log.Len()
	a.Process.Kill()
	watch.WaitLog(t, mark, "rpc error: code = Unavailable desc = ", soon)
	mark = watch.Log.Len()
	a.Start(t, true)
	watch.WaitLog(t, mark, "Received 2 svids after", soon)
	if watch.Ended() {
		t.Error("the watch ended with its agent")
	}
}
