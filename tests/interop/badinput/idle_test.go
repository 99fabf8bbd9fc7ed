// SPDX-License-Identifier: Apache-2.0

// Five thousand connections that do nothing, and readers that do not read.

package badinput

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	. "github.com/steeple/steeple/tests/interop/harness"
)

const (
	idleConnections = 5000
	// TLS state, the HTTP/2 session and the socket, as measured, with room.
	idleConnectionKiB = 48
)

// Many systems start services with a soft limit of 1,024 open files, which daemons are to raise
// themselves.
func lowFileLimit(t *testing.T) string {
	t.Helper()
	path := filepath.Join(TempDir(t), "spire-server")
	NoError(t, os.WriteFile(path,
		[]byte("#!/bin/sh\nulimit -Sn 1024\nexec "+Binary(t, "spire-server")+" \"$@\"\n"), 0o755))
	return path
}

func openFiles(t *testing.T, p *Process) int {
	t.Helper()
	return len(Must[[]os.DirEntry](t)(os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))))
}

// idle is a connection that has said its preface and heard the server's, and is silent from then on.
func idle(address string, config *tls.Config) (net.Conn, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: stepDeadline}, "tcp", address, config)
	if err != nil {
		return nil, err
	}
	framer := http2.NewFramer(conn, conn)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	if err := framer.WriteSettings(); err != nil {
		return nil, err
	}
	_, err = framer.ReadFrame()
	return conn, err
}

func Test5000IdleConnectionsAreHeldInBoundedMemoryAndGivenBack(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	s.Program = lowFileLimit(t)
	s.Restart(t)
	wantServed(t, s)
	before := rssKiB(t, s.Process)
	config := s.ClientTLS(t, nil)
	config.NextProtos = []string{"h2"}
	var mu sync.Mutex
	var conns []net.Conn
	var group sync.WaitGroup
	errs := make(chan error, 16)
	for range 16 {
		group.Go(func() {
			for {
				mu.Lock()
				enough := len(conns) >= idleConnections
				if !enough {
					conns = append(conns, nil)
				}
				at := len(conns) - 1
				mu.Unlock()
				if enough {
					return
				}
				conn, err := idle(s.Address(), config)
				if err != nil {
					errs <- err
					return
				}
				mu.Lock()
				conns[at] = conn
				mu.Unlock()
			}
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		t.Fatalf("after %d connections: %v", len(conns), err)
	default:
	}
	wantServed(t, s)
	wantGrowthBelow(t, s.Process, before, idleConnections*idleConnectionKiB)
	for _, conn := range conns {
		_ = conn.Close()
	}
	Eventually(t, stepDeadline, "the server has closed them", func() error {
		if open := openFiles(t, s.Process); open > 100 {
			return fmt.Errorf("%d files are open", open)
		}
		return nil
	})
	wantServed(t, s)
	// Freed memory goes back to the system a moment later.
	Eventually(t, stepDeadline, "the memory is given back", func() error {
		if grown := rssKiB(t, s.Process) - before; grown > floodKiB {
			return fmt.Errorf("still %d KiB more than before", grown)
		}
		return nil
	})
	t.Logf("%d KiB when they are gone", rssKiB(t, s.Process))
}

// Each of the workload's updates says all of its identities anew. A reader that takes none of them may
// hold a MiB in the agent, and then loses its stream; one that reads goes on.
func TestAWorkloadThatReadsNoUpdatesLosesItsStream(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	const identities = 40
	request := &entryv1.BatchUpdateEntryRequest{}
	for i := range identities {
		e := &types.Entry{Id: fmt.Sprintf("e%02d", i), SpiffeId: ProtoID(ID(fmt.Sprintf("/w%02d", i))),
			ParentId: ProtoID(a.ID), Selectors: Selectors(fmt.Sprintf("unix:uid:%d", os.Getuid()))}
		s.Create(t, e)
		request.Entries = append(request.Entries, e)
	}
	watch := a.WatchX509(t)
	Eventually(t, Visible, "the workload has all its identities", func() error {
		if last, _, _ := watch.Last(); last == nil || len(last.SVIDs) != identities {
			return fmt.Errorf("not yet: %v", watch.Errors())
		}
		return nil
	})
	before := rssKiB(t, a.Process)
	r := speak(t, Must[net.Conn](t)(net.Dial("unix", a.SocketPath)),
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	NoError(t, r.call(1, "/SpiffeWorkloadAPI/FetchX509SVID", nil,
		hpack.HeaderField{Name: "workload.spiffe.io", Value: "true"}))
	for round := range 40 {
		for _, e := range request.Entries {
			e.DnsNames = []string{fmt.Sprintf("round%d.test", round)}
		}
		_, _, since := watch.Last()
		_ = Must[*entryv1.BatchUpdateEntryResponse](t)(s.Entries(t).BatchUpdateEntry(Context(t), request))
		Eventually(t, Visible, "the update reaches the workload that reads", func() error {
			last, _, at := watch.Last()
			if !at.After(since) {
				return fmt.Errorf("no update in round %d", round)
			}
			for _, svid := range last.SVIDs {
				if svid.Certificates[0].DNSNames[0] != fmt.Sprintf("round%d.test", round) {
					return fmt.Errorf("an old SVID in round %d", round)
				}
			}
			return nil
		})
	}
	wantGrowthBelow(t, a.Process, before, 12<<10)
	// Now it reads: what was kept for it, and then why there was no more.
	NoError(t, r.SetDeadline(time.Now().Add(stepDeadline)))
	NoError(t, r.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}))
	NoError(t, r.framer.WriteWindowUpdate(0, 1<<30))
	code, message, err := r.status(1)
	NoError(t, err)
	if code != "8" || message != "the workload does not read its updates" {
		t.Errorf("the stream ended with %s %q", code, message)
	}
	a.WaitHealthy(t)
}
