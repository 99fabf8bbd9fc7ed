// SPDX-License-Identifier: Apache-2.0

// Package harness starts the built programs as real processes and hands out independent clients to
// judge them with. It owns every process, port and folder that it makes and takes them away at the
// end of the test; when the test failed it shows the processes' logs. It never sleeps for luck:
// whatever it waits for, it polls, with a deadline.
package harness

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// How long a process may take to become healthy or to end by itself. Generous, because the
	// machine may be busy; a healthy run takes a fraction of a second.
	startDeadline = 30 * time.Second
	stopDeadline  = 20 * time.Second
	// How long a program that ends by itself may run (h2spec waits for answers that do not come).
	runDeadline = 2 * time.Minute
	// How often a condition is looked at again.
	pollInterval = 10 * time.Millisecond
	// What is shown of a log when a test failed.
	logTailBytes = 16 << 10
)

// BinDir is the folder of the programs under test.
func BinDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("STEEPLE_BIN")
	if dir == "" {
		// Tests run in their package's folder, one or more below the module's.
		root, err := moduleRoot()
		if err != nil {
			t.Fatalf("find the module: %v", err)
		}
		dir = filepath.Join(root, "..", "..", "build", "bin")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatalf("STEEPLE_BIN: %v", err)
	}
	return abs
}

// Binary is the path of one program under test. A missing one fails the test: a run that judges
// nothing must not look green.
//
// STEEPLE_SERVER_BIN and STEEPLE_AGENT_BIN name another folder for one of the two: our server with the
// reference's agents, and the other way round.
func Binary(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(BinDir(t), name)
	other := map[string]string{"spire-server": "STEEPLE_SERVER_BIN", "spire-agent": "STEEPLE_AGENT_BIN"}[name]
	if dir := os.Getenv(other); other != "" && dir != "" {
		path = filepath.Join(dir, name)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no %s to judge: %v (build it, or set STEEPLE_BIN)", name, err)
	}
	return path
}

// Reference says that the programs under test are the reference implementation itself, which the
// suite is proven against. Where ours differs on purpose, the test says so and asks this.
func Reference() bool { return os.Getenv("STEEPLE_REFERENCE") == "1" }

// OursOnly skips a test of a deliberate difference when the reference is under test.
func OursOnly(t testing.TB, why string) {
	t.Helper()
	if Reference() {
		t.Skipf("the reference differs: %s", why)
	}
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working folder")
		}
		dir = parent
	}
}

// TempDir is a short path, because a Unix socket's may have at most 107 bytes.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "stp")
	if err != nil {
		t.Fatal(err)
	}
	// Workloads of other users must reach the sockets inside.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Log is what a process wrote so far, both streams together. Safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.String()
}

// Len marks a place in the log, for After.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.Len()
}

// After is what was written behind a mark.
func (l *Log) After(mark int) string { return l.String()[mark:] }

func (l *Log) tail() string {
	text := l.String()
	if len(text) > logTailBytes {
		text = "[...]" + text[len(text)-logTailBytes:]
	}
	return text
}

// Process is one running program.
type Process struct {
	Name string
	Log  *Log

	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid after done
}

// Start runs a program; it is killed at the end of the test at the latest.
func Start(t testing.TB, dir, name, path string, args ...string) *Process {
	t.Helper()
	return start(t, nil, dir, name, path, args...)
}

// StartAs runs a program as another user (and group of the same number); the test must run as root.
func StartAs(t testing.TB, user uint32, dir, name, path string, args ...string) *Process {
	t.Helper()
	return start(t, &syscall.Credential{Uid: user, Gid: user}, dir, name, path, args...)
}

func start(t testing.TB, user *syscall.Credential, dir, name, path string, args ...string) *Process {
	t.Helper()
	p := &Process{Name: name, Log: &Log{}, done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir = dir
	p.cmd.Stdout = p.Log
	p.cmd.Stderr = p.Log
	p.cmd.Env = append(os.Environ(), "SPIRE_SERVER_FFLAGS=")
	// A group of its own, so that a terminal's interrupt reaches the test first.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: user}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("---- log of %s (pid %d) ----\n%s", name, p.Pid(), p.Log.tail())
		}
	})
	return p
}

// Pid of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended says whether the process is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Kill ends the process at once, as a crash would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks the process to end and demands that it does so with code 0.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.WaitExit(t, stopDeadline); code != 0 {
		t.Errorf("%s ended with code %d after SIGTERM, want 0", p.Name, code)
	}
}

// WaitExit waits for the process to end by itself and returns its exit code.
func (p *Process) WaitExit(t testing.TB, deadline time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(deadline):
		t.Fatalf("%s still runs after %v", p.Name, deadline)
	}
	return p.cmd.ProcessState.ExitCode()
}

// WaitLog waits until the log behind the mark contains the text.
func (p *Process) WaitLog(t testing.TB, mark int, text string, deadline time.Duration) {
	t.Helper()
	Eventually(t, deadline, p.Name+" logs "+text, func() error {
		if strings.Contains(p.Log.After(mark), text) {
			return nil
		}
		return errors.New("not there yet")
	})
}

// Run runs a program to its end and returns its output and exit code.
func Run(t testing.TB, stdin string, path string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), runDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out, errs bytes.Buffer
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v", path, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s still runs after %v; it printed %.2000q", path, runDeadline, out.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
