// SPDX-License-Identifier: Apache-2.0

// An agent under test, and the ways to become an agent without one: attesting by hand.

package harness

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// AgentOptions are the settings that tests vary; the zero value attests by a fresh join token.
type AgentOptions struct {
	// Lines inside agent{}.
	Settings map[string]string
	// Attest with this certificate instead of a join token.
	Node *NodeCert
	// SPIFFE ID of the alias entry that the join token brings.
	Alias string
	// Sync interval of a polling agent as in the default configuration.
	DefaultIntervals bool
	// Keys in memory only.
	MemoryKeys bool
	// Do not wait until it is healthy.
	NoWait bool
	// Further blocks beside agent{} and plugins{}.
	TopLevel string
	// Another server address than the server's own, such as a proxy's.
	ServerPort int
}

// Agent is one agent under test. It may be stopped and started again on the same data.
type Agent struct {
	// SPIFFE ID, known in advance for a join token only.
	ID         string
	Dir        string
	DataDir    string
	SocketPath string
	AdminPath  string
	ConfigPath string
	Process    *Process
	// The program for the next start; empty: the one under test.
	Program string
}

// StartAgent configures an agent of the server, starts it and waits until it is healthy.
func StartAgent(t testing.TB, s *Server, options AgentOptions) *Agent {
	t.Helper()
	a := &Agent{Dir: TempDir(t)}
	a.DataDir = filepath.Join(a.Dir, "data")
	a.SocketPath = filepath.Join(a.Dir, "public", "api.sock")
	a.AdminPath = filepath.Join(a.Dir, "admin", "admin.sock")
	a.ConfigPath = filepath.Join(a.Dir, "agent.conf")
	NoError(t, os.MkdirAll(a.DataDir, 0o700))
	var roots []byte
	for _, root := range s.X509Bundle(t).X509Authorities() {
		roots = append(roots, PEM("CERTIFICATE", root.Raw)...)
	}
	NoError(t, os.WriteFile(filepath.Join(a.Dir, "bundle.crt"), roots, 0o600))
	NoError(t, os.WriteFile(a.ConfigPath, []byte(a.config(t, s, options)), 0o600))
	a.Start(t, !options.NoWait)
	return a
}

func (a *Agent) config(t testing.TB, s *Server, o AgentOptions) string {
	t.Helper()
	port := s.Port
	if o.ServerPort != 0 {
		port = o.ServerPort
	}
	settings := map[string]string{
		"data_dir":          `"` + a.DataDir + `"`,
		"log_level":         `"DEBUG"`,
		"server_address":    `"127.0.0.1"`,
		"server_port":       fmt.Sprintf(`"%d"`, port),
		"socket_path":       `"` + a.SocketPath + `"`,
		"admin_socket_path": `"` + a.AdminPath + `"`,
		"trust_bundle_path": `"` + filepath.Join(a.Dir, "bundle.crt") + `"`,
		"trust_domain":      `"` + TD + `"`,
	}
	attestor := `  NodeAttestor "join_token" { plugin_data {} }`
	if o.Node != nil {
		cert, key := o.Node.WriteFiles(t, a.Dir)
		attestor = fmt.Sprintf("  NodeAttestor \"x509pop\" { plugin_data {\n"+
			"    certificate_path = \"%s\"\n    private_key_path = \"%s\" } }", cert, key)
	} else {
		token := s.JoinToken(t, o.Alias)
		settings["join_token"] = `"` + token + `"`
		a.ID = ID("/spire/agent/join_token/" + token)
	}
	for key, value := range o.Settings {
		settings[key] = value
	}
	var b strings.Builder
	b.WriteString("agent {\n")
	for key, value := range settings {
		fmt.Fprintf(&b, "  %s = %s\n", key, value)
	}
	if !o.DefaultIntervals {
		b.WriteString("  experimental { sync_interval = \"500ms\" }\n")
	}
	b.WriteString("}\nplugins {\n" + attestor + "\n")
	if o.MemoryKeys {
		b.WriteString("  KeyManager \"memory\" { plugin_data {} }\n")
	} else {
		fmt.Fprintf(&b, "  KeyManager \"disk\" { plugin_data { directory = \"%s\" } }\n", a.DataDir)
	}
	b.WriteString("  WorkloadAttestor \"unix\" { plugin_data { discover_workload_path = true } }\n}\n")
	b.WriteString(o.TopLevel + "\n")
	return b.String()
}

// Start runs the agent (again).
func (a *Agent) Start(t testing.TB, waitHealthy bool) {
	t.Helper()
	program := a.Program
	if program == "" {
		program = Binary(t, "spire-agent")
	}
	a.Process = Start(t, a.Dir, "spire-agent", program, "run", "-config", a.ConfigPath)
	if waitHealthy {
		a.WaitHealthy(t)
	}
}

// WaitHealthy polls the health service of the public socket.
func (a *Agent) WaitHealthy(t testing.TB) {
	t.Helper()
	conn := a.Dial(t)
	health := healthv1.NewHealthClient(conn)
	Eventually(t, startDeadline, "the agent is healthy", func() error {
		if a.Process.Ended() {
			t.Fatalf("the agent ended while starting")
		}
		ctx, cancel := context.WithTimeout(context.Background(), CallDeadline)
		defer cancel()
		response, err := health.Check(ctx, &healthv1.HealthCheckRequest{})
		if err != nil {
			conn.ResetConnectBackoff()
			return err
		}
		if response.Status != healthv1.HealthCheckResponse_SERVING {
			return fmt.Errorf("health is %v", response.Status)
		}
		return nil
	})
}

// Dial makes a plain connection to the public socket.
func (a *Agent) Dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	return DialUnix(t, a.SocketPath)
}

// Addr is the public socket as SPIFFE_ENDPOINT_SOCKET wants it.
func (a *Agent) Addr() string { return "unix://" + a.SocketPath }

// JoinToken makes a token; with `alias` it brings an entry of that SPIFFE ID.
func (s *Server) JoinToken(t testing.TB, alias string) string {
	t.Helper()
	request := &agentv1.CreateJoinTokenRequest{Ttl: 600}
	if alias != "" {
		request.AgentId = ProtoID(alias)
	}
	token, err := s.Agents(t).CreateJoinToken(Context(t), request)
	NoError(t, err)
	return token.Value
}

// AttestRequest is the first message of an attestation.
func AttestRequest(kind string, payload, csr []byte) *agentv1.AttestAgentRequest {
	return &agentv1.AttestAgentRequest{Step: &agentv1.AttestAgentRequest_Params_{
		Params: &agentv1.AttestAgentRequest_Params{
			Data:   &types.AttestationData{Type: kind, Payload: payload},
			Params: &agentv1.AgentX509SVIDParams{Csr: csr},
		}}}
}

// Attest runs a whole attestation over the connection. `answer` solves the challenge, if one comes.
func Attest(ctx context.Context, conn grpc.ClientConnInterface, first *agentv1.AttestAgentRequest,
	answer func(challenge []byte) []byte) (*agentv1.AttestAgentResponse_Result, error) {
	stream, err := agentv1.NewAgentClient(conn).AttestAgent(ctx)
	if err != nil {
		return nil, err
	}
	// A send that fails has its reason in the receive.
	_ = stream.Send(first)
	for {
		response, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if challenge := response.GetChallenge(); challenge != nil {
			if answer == nil {
				return nil, errors.New("challenged, but there is no answer")
			}
			_ = stream.Send(&agentv1.AttestAgentRequest{
				Step: &agentv1.AttestAgentRequest_ChallengeResponse{ChallengeResponse: answer(challenge)}})
			continue
		}
		return response.GetResult(), stream.CloseSend()
	}
}

// NewAgent attests by a join token over TCP and returns the agent's identity.
func (s *Server) NewAgent(t testing.TB) *Identity {
	t.Helper()
	key := NewKey(t)
	return s.attested(t, key, AttestRequest("join_token", []byte(s.JoinToken(t, "")), CSR(t, key, nil)), nil)
}

// NewPopAgent attests by a node certificate over TCP.
func (s *Server) NewPopAgent(t testing.TB, node *NodeCert) *Identity {
	t.Helper()
	key := NewKey(t)
	return s.attested(t, key, AttestRequest("x509pop", node.Payload(t), CSR(t, key, nil)),
		func(challenge []byte) []byte { return node.Answer(t, challenge) })
}

func (s *Server) attested(t testing.TB, key *ecdsa.PrivateKey, first *agentv1.AttestAgentRequest,
	answer func([]byte) []byte) *Identity {
	t.Helper()
	result, err := Attest(Context(t), s.Dial(t, nil), first, answer)
	NoError(t, err)
	return NewIdentity(t, result.Svid.CertChain, key)
}
