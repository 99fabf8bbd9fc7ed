// SPDX-License-Identifier: Apache-2.0

// A connection outlives the process that made it, whose pid another process then has. The agent must
// not take the one for the other, nor serve a connection whose maker is gone.

package badinput

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	. "github.com/steeple/steeple/tests/interop/harness"
)

// Names the socket that a copy of this program connects its descriptor 3 to.
const connectTo = "BADINPUT_CONNECT_TO"

func TestMain(m *testing.M) {
	if path := os.Getenv(connectTo); path != "" {
		if err := syscall.Connect(3, &syscall.SockaddrUnix{Name: path}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("connected")
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

// connectedBy is a connection to the socket that another process made, as the kernel records it.
func connectedBy(t *testing.T, path string) (net.Conn, *exec.Cmd) {
	t.Helper()
	fd := Must[int](t)(syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0))
	file := os.NewFile(uintptr(fd), path)
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), connectTo+"="+path)
	command.ExtraFiles = []*os.File{file}
	out, err := command.StdoutPipe()
	NoError(t, err)
	NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill() })
	line := make([]byte, 64)
	if n, err := out.Read(line); err != nil || string(line[:n]) != "connected\n" {
		t.Fatalf("the child said %q, %v", line[:n], err)
	}
	conn, err := net.FileConn(file)
	NoError(t, err)
	_ = file.Close()
	return conn, command
}

// successor starts a process with the pid; false when the kernel does not let us choose.
func successor(t *testing.T, pid int) bool {
	t.Helper()
	for range 300 {
		if os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(fmt.Sprint(pid-1)), 0o644) != nil {
			return false
		}
		command := exec.Command("sleep", "60")
		NoError(t, command.Start())
		if command.Process.Pid == pid {
			t.Cleanup(func() {
				_ = command.Process.Kill()
				_ = command.Wait()
			})
			return true
		}
		_ = command.Process.Kill()
		_ = command.Wait()
	}
	return false
}

func TestAConnectionOfADeadProcessGetsNothingWhoeverHasItsPid(t *testing.T) {
	OursOnly(t, "it compares start times, and looks at them at other moments")
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	s.Create(t, NewEntry(ID("/one"), a.ID, MySelector()))
	a.WaitFetch(t, "/one")
	fetch := func(r *raw, stream uint32) (string, string, error) {
		NoError(t, r.SetDeadline(time.Now().Add(stepDeadline)))
		NoError(t, r.call(stream, "/SpiffeWorkloadAPI/FetchX509SVID", nil,
			hpack.HeaderField{Name: "workload.spiffe.io", Value: "true"}))
		return r.status(stream)
	}
	wantRefused := func(r *raw, stream uint32) {
		code, message, err := fetch(r, stream)
		if err == nil && (code != "14" || message != "workload attestation failed") {
			t.Errorf("it was answered %s %q", code, message)
		}
	}
	conn, child := connectedBy(t, a.SocketPath)
	r := speak(t, conn)
	_, err := r.framer.ReadFrame() // the agent has accepted it: it knows who connected
	NoError(t, err)
	_ = child.Process.Kill()
	_ = child.Wait()
	wantRefused(r, 1)
	if !successor(t, child.Process.Pid) {
		t.Skip("the kernel does not let us choose a pid here; the dead process was refused")
	}
	wantRefused(r, 3)
	a.WaitFetch(t, "/one")
}
