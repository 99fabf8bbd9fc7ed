// SPDX-License-Identifier: Apache-2.0

// Goal: the sample workload, started without a command as a container starts it, stays, tells of its
// identity when that comes, and ends when it is asked to.

package workloadapi

import (
	"syscall"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"
)

func TestSampleWorkloadWithoutACommandStaysAndTellsOfItsIdentity(t *testing.T) {
	OursOnly(t, "the reference has no such program")
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", a.Addr())
	p := Start(t, TempDir(t), "spiffe-workload", Binary(t, "spiffe-workload"))
	p.WaitLog(t, 0, "No identity: no identity issued", Visible)
	s.Create(t, NewEntry(ID("/sample"), a.ID, MySelector()))
	p.WaitLog(t, 0, "SPIFFE ID: "+ID("/sample"), Visible)
	mark := p.Log.Len()
	s.Create(t, NewEntry(ID("/second"), a.ID, MySelector()))
	p.WaitLog(t, mark, "SPIFFE ID: "+ID("/second"), Visible)
	NoError(t, syscall.Kill(p.Pid(), syscall.SIGTERM))
	if code := p.WaitExit(t, Visible); code != 0 {
		t.Fatalf("exit code %d after SIGTERM", code)
	}
}

func TestSampleWorkloadSaysThatItsAddressIsWrong(t *testing.T) {
	OursOnly(t, "the reference has no such program")
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", "http://nowhere")
	p := Start(t, TempDir(t), "spiffe-workload", Binary(t, "spiffe-workload"))
	if code := p.WaitExit(t, Visible); code != 1 {
		t.Fatalf("exit code %d", code)
	}
	p.WaitLog(t, 0, "Error: ", Visible)
}
