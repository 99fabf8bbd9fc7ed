// SPDX-License-Identifier: Apache-2.0

// Package helper judges spiffe-helper against a real server and agent: Go reads the files that it
// writes, and sees what its command sees.
package helper

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	. "github.com/steeple/steeple/tests/interop/harness"
)

const deadline = 60 * time.Second

// The command: notes its start, each signal and its end.
const command = `#!/bin/sh
trap 'echo renewed >>note' HUP
trap 'echo ended >>note; exit 0' TERM
cd "$1" || exit 1
[ "$2" = "two words" ] || echo "wrong argument: $2" >>note
echo started >>note
while ! [ -e end ]; do sleep 0.05; done
rm end
`

const x509Files = `
svid_file_name = "svid.pem"
svid_key_file_name = "svid_key.pem"
svid_bundle_file_name = "svid_bundle.pem"
`

type helper struct {
	dir   string
	certs string
	conf  string
}

// configure writes a configuration for the agent; `lines` come on top.
func configure(t *testing.T, socket string, lines string) *helper {
	t.Helper()
	dir := TempDir(t)
	h := &helper{dir: dir, certs: filepath.Join(dir, "certs"), conf: filepath.Join(dir, "helper.conf")}
	NoError(t, os.Mkdir(h.certs, 0o755))
	text := fmt.Sprintf("agent_address = %q\ncert_dir = %q\n%s", socket, h.certs, lines)
	NoError(t, os.WriteFile(h.conf, []byte(text), 0o600))
	return h
}

func (h *helper) start(t *testing.T, args ...string) *Process {
	t.Helper()
	return Start(t, h.dir, "helper", Binary(t, "spiffe-helper"), append([]string{"-config", h.conf}, args...)...)
}

func (h *helper) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(h.certs, name))
	return string(text)
}

func (h *helper) note() string {
	text, _ := os.ReadFile(filepath.Join(h.dir, "note"))
	return string(text)
}

// svid loads what is written and verifies it by the bundle that is written.
func (h *helper) svid() (*x509svid.SVID, error) {
	svid, err := x509svid.Load(filepath.Join(h.certs, "svid.pem"), filepath.Join(h.certs, "svid_key.pem"))
	if err != nil {
		return nil, err
	}
	bundle, err := x509bundle.Load(spiffeid.RequireTrustDomainFromString(TD), filepath.Join(h.certs, "svid_bundle.pem"))
	if err != nil {
		return nil, err
	}
	_, _, err = x509svid.Verify(svid.Certificates, bundle)
	return svid, err
}

func world(t *testing.T) (*Server, *Agent) {
	t.Helper()
	s := StartServer(t, ServerOptions{Settings: map[string]string{
		"default_x509_svid_ttl": `"12s"`, "default_jwt_svid_ttl": `"8s"`}})
	return s, StartAgent(t, s, AgentOptions{})
}

func register(t *testing.T, s *Server, a *Agent) {
	t.Helper()
	s.Create(t, NewEntry(ID("/helper"), a.ID, MySelector()))
}

func freePort(t *testing.T) int {
	t.Helper()
	l := Must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func health(port int, path string) string {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, body)
}

func TestFilesFollowTheAgentAndTheCommandHears(t *testing.T) {
	s, a := world(t)
	port := freePort(t)
	h := configure(t, a.SocketPath, "")
	script := filepath.Join(h.dir, "command")
	NoError(t, os.WriteFile(script, []byte(command), 0o755))
	text := fmt.Sprintf("agent_address = %q\ncert_dir = %q\n%s\ncmd = %q\ncmd_args = \"%s \\\"two words\\\"\"\nrenew_signal = \"SIGHUP\"\n"+
		"health_checks { listener_enabled = true\n bind_port = %d }\n", a.SocketPath, h.certs, x509Files, script, h.dir, port)
	NoError(t, os.WriteFile(h.conf, []byte(text), 0o600))
	p := h.start(t)
	Eventually(t, deadline, "the page while there is no identity", func() error {
		want := `503 {"status":"Service Unavailable","health":{"file_write_statuses":{"x509_write_status":"unwritten","jwt_write_status":{}}}}`
		if got := health(port, "/ready"); got != want {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	if got := health(port, "/live"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("live: %s", got)
	}
	register(t, s, a)
	var first *x509svid.SVID
	Eventually(t, deadline, "the first files", func() (err error) { first, err = h.svid(); return err })
	if first.ID.String() != ID("/helper") {
		t.Errorf("identity %s", first.ID)
	}
	Eventually(t, deadline, "the command's start", func() error {
		if got := h.note(); !strings.HasPrefix(got, "started\n") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	want := `200 {"status":"OK","health":{"file_write_statuses":{"x509_write_status":"written","jwt_write_status":{}}}}`
	if got := health(port, "/ready"); got != want {
		t.Errorf("ready: %s", got)
	}
	for name, mode := range map[string]os.FileMode{"svid.pem": 0o644, "svid_key.pem": 0o600, "svid_bundle.pem": 0o644} {
		if info := Must[os.FileInfo](t)(os.Stat(filepath.Join(h.certs, name))); info.Mode() != mode {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	Eventually(t, deadline, "a rotation, with its signal", func() error {
		now, err := h.svid()
		if err != nil {
			return err
		}
		if now.Certificates[0].SerialNumber.Cmp(first.Certificates[0].SerialNumber) == 0 || !strings.Contains(h.note(), "renewed") {
			return fmt.Errorf("the first SVID still; note %q", h.note())
		}
		return nil
	})
	// The command ends by itself, and is started with the next rotation.
	NoError(t, os.WriteFile(filepath.Join(h.dir, "end"), nil, 0o600))
	p.WaitLog(t, 0, "Process exited with code 0", deadline)
	Eventually(t, deadline, "the command's second start", func() error {
		if strings.Count(h.note(), "started") != 2 {
			return fmt.Errorf("%q", h.note())
		}
		return nil
	})
	// An outage takes nothing away.
	a.Process.Stop(t)
	p.WaitLog(t, 0, "Error while watching x509 context", deadline)
	if h.read("svid.pem") == "" || h.read("svid_key.pem") == "" {
		t.Error("the files went with the agent")
	}
	p.Stop(t)
	if !strings.HasSuffix(h.note(), "ended\n") {
		t.Errorf("the command was not ended: %q", h.note())
	}
	entries := Must[[]os.DirEntry](t)(os.ReadDir(h.certs))
	if len(entries) != 3 {
		t.Errorf("files left behind: %v", entries)
	}
}

func TestTokensAndTheirBundlesAreWrittenAndRefreshed(t *testing.T) {
	s, a := world(t)
	register(t, s, a)
	h := configure(t, a.SocketPath, `
jwt_bundle_file_name = "jwt_bundle.json"
jwt_svids = [{
  jwt_audience = "one"
  jwt_extra_audiences = ["two"]
  jwt_svid_file_name = "jwt.token"
}]`)
	p := h.start(t)
	validate := func() (string, error) {
		token := h.read("jwt.token")
		var documents map[string]string
		if err := json.Unmarshal([]byte(h.read("jwt_bundle.json")), &documents); err != nil {
			return "", err
		}
		jwks, err := base64.StdEncoding.DecodeString(documents[TD])
		if err != nil {
			return "", err
		}
		bundle, err := jwtbundle.Parse(spiffeid.RequireTrustDomainFromString(TD), jwks)
		if err != nil {
			return "", err
		}
		svid, err := jwtsvid.ParseAndValidate(token, bundle, []string{"two"})
		if err == nil && (svid.ID.String() != ID("/helper") || len(svid.Audience) != 2) {
			err = fmt.Errorf("%s for %v", svid.ID, svid.Audience)
		}
		return token, err
	}
	var first string
	Eventually(t, deadline, "a token that the written bundle verifies", func() (err error) { first, err = validate(); return err })
	Eventually(t, deadline, "a fresh token", func() error {
		now, err := validate()
		if err == nil && now == first {
			err = fmt.Errorf("the first one still")
		}
		return err
	})
	for _, name := range []string{"jwt.token", "jwt_bundle.json"} {
		if info := Must[os.FileInfo](t)(os.Stat(filepath.Join(h.certs, name))); info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	p.Stop(t)
}

func TestOnceWaitsForItsIdentityWritesAndEnds(t *testing.T) {
	s, a := world(t)
	h := configure(t, a.SocketPath, x509Files+`jwt_svids = [{ jwt_audience = "one", jwt_svid_file_name = "jwt.token" }]`)
	p := h.start(t, "-daemon-mode=false")
	p.WaitLog(t, 0, "Daemon mode disabled", deadline)
	register(t, s, a)
	if code := p.WaitExit(t, deadline); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	Must[*x509svid.SVID](t)(h.svid())
	if h.read("jwt.token") == "" {
		t.Error("no token")
	}
}

func TestOnceFailsWithCodeOne(t *testing.T) {
	h := configure(t, filepath.Join(TempDir(t), "no-agent.sock"), x509Files+"daemon_mode = false\n")
	if code := h.start(t).WaitExit(t, deadline); code != 1 {
		t.Errorf("without an agent: exit code %d", code)
	}
	s, a := world(t)
	register(t, s, a)
	h = configure(t, a.SocketPath, x509Files+"daemon_mode = false\n")
	NoError(t, os.Remove(h.certs))
	if code := h.start(t).WaitExit(t, deadline); code != 1 {
		t.Errorf("without a folder: exit code %d", code)
	}
}

func TestOnceEndsWhenAskedTo(t *testing.T) {
	_, a := world(t)
	h := configure(t, a.SocketPath, x509Files+"daemon_mode = false\n")
	p := h.start(t)
	p.WaitLog(t, 0, "Daemon mode disabled", deadline)
	NoError(t, syscall.Kill(p.Pid(), syscall.SIGTERM))
	if code := p.WaitExit(t, deadline); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func TestWrongConfigurationsEndWithCodeOneAndSayWhy(t *testing.T) {
	for lines, want := range map[string]string{
		"svid_file_name = \"x\"":            "all or none of 'svid_file_name', 'svid_key_file_name', 'svid_bundle_file_name' must be specified",
		x509Files + "svid_path = \"x\"":     "unknown top level key(s): svid_path",
		x509Files + "pid_file_name = \"x\"": "must specify renew_signal when using pid_file_name",
	} {
		h := configure(t, "/none.sock", lines)
		_, errors, code := Run(t, "", Binary(t, "spiffe-helper"), "-config", h.conf)
		if code != 1 || !strings.Contains(errors, want) {
			t.Errorf("%q: code %d, %s", lines, code, errors)
		}
	}
	_, errors, code := Run(t, "", Binary(t, "spiffe-helper"), "-config", "/no/such/file")
	if code != 1 || !strings.Contains(errors, "no such file or directory") {
		t.Errorf("no file: code %d, %s", code, errors)
	}
	if out, _, code := Run(t, "", Binary(t, "spiffe-helper"), "-version"); code != 0 || strings.TrimSpace(out) == "" {
		t.Errorf("version: code %d, %q", code, out)
	}
	if _, errors, code := Run(t, "", Binary(t, "spiffe-helper"), "-nope"); code != 2 || !strings.Contains(errors, "flag provided but not defined: -nope") {
		t.Errorf("unknown flag: code %d, %s", code, errors)
	}
}
