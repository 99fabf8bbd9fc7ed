// SPDX-License-Identifier: Apache-2.0

// Goal: the daemons keep no privilege that they do not need, and still do what they are for: the agent
// attests a workload of another user by its path and hash.
package hardening

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"
)

const (
	capDacOverride    = 1
	capDacReadSearch  = 2
	capNetBindService = 10
	capSysPtrace      = 19
	nobody            = 65534
)

// processStatus reads /proc/<pid>/status of each thread: capabilities and filters are a thread's.
func processStatus(t *testing.T, p *Process) []map[string]string {
	t.Helper()
	var all []map[string]string
	paths := Must[[]string](t)(filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.Pid())))
	for _, path := range paths {
		status := map[string]string{}
		for _, line := range strings.Split(string(Must[[]byte](t)(os.ReadFile(path))), "\n") {
			name, value, _ := strings.Cut(line, ":")
			status[name] = strings.TrimSpace(value)
		}
		all = append(all, status)
	}
	if len(all) < 2 {
		t.Fatalf("%d threads, want the loop and its workers", len(all))
	}
	return all
}

// mine is what the test process could have handed to a daemon, reduced to `capabilities`.
func mine(t *testing.T, capabilities ...int) uint64 {
	t.Helper()
	var wanted uint64
	for _, bit := range capabilities {
		wanted |= 1 << bit
	}
	for _, line := range strings.Split(string(Must[[]byte](t)(os.ReadFile("/proc/self/status"))), "\n") {
		if value, found := strings.CutPrefix(line, "CapEff:"); found {
			return wanted & Must[uint64](t)(strconv.ParseUint(strings.TrimSpace(value), 16, 64))
		}
	}
	t.Fatal("/proc/self/status has no CapEff")
	return 0
}

func wantHardened(t *testing.T, p *Process, capabilities uint64) {
	t.Helper()
	for _, status := range processStatus(t, p) {
		for _, set := range []string{"CapEff", "CapPrm"} {
			if got := Must[uint64](t)(strconv.ParseUint(status[set], 16, 64)); got != capabilities {
				t.Errorf("%s: %s is %x, want %x", p.Name, set, got, capabilities)
			}
		}
		// Who may not bound itself (an ordinary user) keeps the set; no-new-privs makes it worthless.
		if bound := Must[uint64](t)(strconv.ParseUint(status["CapBnd"], 16, 64)); os.Getuid() == 0 && bound&^capabilities != 0 {
			t.Errorf("%s: CapBnd is %x, want at most %x", p.Name, bound, capabilities)
		}
		for name, want := range map[string]string{
			"CapInh": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"} {
			if status[name] != want {
				t.Errorf("%s: %s is %s, want %s", p.Name, name, status[name], want)
			}
		}
	}
	for _, refusal := range []string{"cannot drop capabilities", "cannot filter system calls", "cannot forbid"} {
		if strings.Contains(p.Log.String(), refusal) {
			t.Errorf("%s: %q in its log", p.Name, refusal)
		}
	}
}

func TestDaemonsKeepOnlyThePrivilegesTheyNeed(t *testing.T) {
	OursOnly(t, "it keeps all capabilities and filters nothing")
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	wantHardened(t, s.Process, mine(t, capNetBindService, capDacOverride))
	wantHardened(t, a.Process, mine(t, capNetBindService, capDacOverride, capSysPtrace, capDacReadSearch))
}

// asNobody runs a program as another user and returns what it printed.
func asNobody(t *testing.T, path string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(Context(t), path, args...)
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := command.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestAHardenedAgentStillAttestsAnotherUsersProgramByPathAndHash(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a workload as another user")
	}
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	// A folder that only its owner may enter: nothing but capabilities opens the executable.
	dir := TempDir(t)
	program := WorkloadBinary(t, dir, "workload")
	NoError(t, os.Chown(program, nobody, nobody))
	NoError(t, os.Chmod(program, 0o500))
	NoError(t, os.Chown(dir, nobody, nobody))
	NoError(t, os.Chmod(dir, 0o700))
	hash := sha256.Sum256(Must[[]byte](t)(os.ReadFile(program)))
	s.Create(t, NewEntry(ID("/another-user"), a.ID, "unix:uid:65534", "unix:path:"+program,
		"unix:sha256:"+hex.EncodeToString(hash[:])))
	Eventually(t, Visible, "the other user's workload has its identity", func() error {
		out, err := asNobody(t, program, "fetch", "-socket", a.SocketPath)
		if err != nil {
			return errors.New(out)
		}
		if out != ID("/another-user") {
			return fmt.Errorf("it is %q", out)
		}
		return nil
	})
}

func TestAnAgentWithoutPrivilegesIsHardenedToo(t *testing.T) {
	OursOnly(t, "it keeps all capabilities and filters nothing")
	if os.Getuid() != 0 {
		t.Skip("the other tests run as an ordinary user then")
	}
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	a.Process.Stop(t)
	NoError(t, filepath.Walk(a.Dir, func(path string, _ os.FileInfo, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	}))
	a.Process = StartAs(t, nobody, a.Dir, "spire-agent", Binary(t, "spire-agent"), "run", "-config", a.ConfigPath)
	a.WaitHealthy(t)
	wantHardenedUser(t, a.Process)
}

func wantHardenedUser(t *testing.T, p *Process) {
	t.Helper()
	for _, status := range processStatus(t, p) {
		for name, want := range map[string]string{"CapEff": "0000000000000000", "CapPrm": "0000000000000000",
			"NoNewPrivs": "1", "Seccomp": "2"} {
			if status[name] != want {
				t.Errorf("%s: %s is %s, want %s", p.Name, name, status[name], want)
			}
		}
	}
	// A process that is not dumpable belongs to root in /proc, whoever runs it, so that
	// another process of the same user cannot look into it.
	environ := Must[os.FileInfo](t)(os.Stat(fmt.Sprintf("/proc/%d/environ", p.Pid())))
	if uid := environ.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("%s: its files in /proc belong to uid %d: it may be dumped", p.Name, uid)
	}
}
