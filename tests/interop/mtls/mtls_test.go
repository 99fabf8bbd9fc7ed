// SPDX-License-Identifier: Apache-2.0

// Goal: two go-spiffe workloads talk over mutual TLS with the identities of the agent, and a third,
// whose identity is another, is refused by both. Method: three copies of the test workload, told
// apart by their paths.

package mtls

import (
	"bufio"
	"crypto/tls"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

type scene struct {
	server                      *Server
	agent                       *Agent
	backend, frontend, intruder string
}

func stage(t *testing.T) *scene {
	t.Helper()
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	dir := TempDir(t)
	c := &scene{server: s, agent: a}
	for name, path := range map[string]*string{"backend": &c.backend, "frontend": &c.frontend, "intruder": &c.intruder} {
		*path = WorkloadBinary(t, dir, name)
		s.Create(t, NewEntry(ID("/"+name), a.ID, "unix:path:"+*path))
	}
	// Each workload waits for its identity by itself: go-spiffe retries until it has one.
	return c
}

func (c *scene) serve(t *testing.T, binary, authorize string) string {
	t.Helper()
	command := exec.Command(binary, "serve", "-socket", c.agent.SocketPath, "-authorize", authorize)
	out, err := command.StdoutPipe()
	NoError(t, err)
	NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case text := <-line:
		address, found := strings.CutPrefix(strings.TrimSpace(text), "listening ")
		if !found {
			t.Fatalf("the server says %q", text)
		}
		return address
	case <-time.After(Visible):
		t.Fatal("the server does not listen")
	}
	return ""
}

func (c *scene) call(t *testing.T, binary, authorize, address string) (stdout, stderr string, code int) {
	t.Helper()
	return Run(t, "", binary, "call", "-socket", c.agent.SocketPath, "-authorize", authorize, "-address", address)
}

func TestTwoWorkloadsTalkAndAThirdIsRefused(t *testing.T) {
	c := stage(t)
	address := c.serve(t, c.backend, ID("/frontend"))
	out, errs, code := c.call(t, c.frontend, ID("/backend"), address)
	if code != 0 || strings.TrimSpace(out) != "hello "+ID("/frontend") {
		t.Fatalf("code %d, output %q, errors %q", code, out, errs)
	}
	t.Run("the server refuses the intruder", func(t *testing.T) {
		out, errs, code := c.call(t, c.intruder, ID("/backend"), address)
		if code != 1 || out != "" || !strings.Contains(errs, "remote error: tls: bad certificate") {
			t.Errorf("code %d, output %q, errors %q", code, out, errs)
		}
	})
	t.Run("the client refuses a server that is another", func(t *testing.T) {
		_, errs, code := c.call(t, c.frontend, ID("/somebody"), address)
		if code != 1 || !strings.Contains(errs, `unexpected ID "`+ID("/backend")+`"`) {
			t.Errorf("code %d, errors %q", code, errs)
		}
	})
	t.Run("a client without a certificate", func(t *testing.T) {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			// In TLS 1.3 the client hears of the refusal with its first read.
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "certificate required") && !strings.Contains(err.Error(), "bad certificate") {
			t.Errorf("got %v", err)
		}
	})
}

func TestConnectionsFollowARotationWithoutANewSource(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	e := NewEntry(ID("/short"), a.ID, MySelector())
	// Half of its life, which begins 10 s in the past, passes after 5 s.
	e.X509SvidTtl = 20
	s.Create(t, e)
	a.WaitFetch(t, "/short")
	source, err := workloadapi.NewX509Source(Context(t), workloadapi.WithClientOptions(workloadapi.WithAddr(a.Addr())))
	NoError(t, err)
	t.Cleanup(func() { _ = source.Close() })
	listener, err := tls.Listen("tcp", "127.0.0.1:0",
		tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeMemberOf(spiffeid.RequireTrustDomainFromString(TD))))
	NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(spiffeid.RequireFromString(ID("/short"))))
	serials := map[string]bool{}
	Eventually(t, 60*time.Second, "connections with three certificates", func() error {
		conn, err := tls.Dial("tcp", listener.Addr().String(), config)
		if err != nil {
			t.Fatalf("a handshake failed on the way: %v", err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the peer refused on the way: %v", err)
		}
		serials[conn.ConnectionState().PeerCertificates[0].SerialNumber.String()] = true
		if len(serials) < 3 {
			return io.ErrNoProgress
		}
		return nil
	})
}
