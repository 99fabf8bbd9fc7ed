// SPDX-License-Identifier: Apache-2.0

// A server under test: its configuration, its process and the connections to its two endpoints.

package harness

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	debugv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/debug/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	loggerv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/logger/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// TD is the trust domain of all tests.
const TD = "interop.test"

// ID is a SPIFFE ID of the tests' trust domain.
func ID(path string) string { return "spiffe://" + TD + path }

// ServerOptions are the settings that tests vary; the zero value is a good server.
type ServerOptions struct {
	// Lines inside server{}; a key here takes the place of the harness's own.
	Settings map[string]string
	// Further blocks inside server{}.
	Blocks string
	// Trusted by x509pop; the attestor is configured when set.
	NodeCA *Authority
	// Further lines of x509pop's plugin_data.
	X509PopData string
	// Further plugins.
	Plugins string
	// Limits attestation, which most tests do in bulk, as the default configuration does.
	LimitAttestation bool
	// Reload interval of a polling server's cache as in the default configuration.
	DefaultIntervals bool
	// Keys in memory only.
	MemoryKeys bool
	// Another server's database file; empty: its own.
	Database string
	// Further blocks beside server{} and plugins{}.
	TopLevel string
}

// Server is one server under test. It may be stopped and started again on the same data and port.
type Server struct {
	Dir        string
	SocketPath string
	ConfigPath string
	Port       int
	Process    *Process
	// The program for the next start; empty: the one under test.
	Program string

	mu    sync.Mutex
	admin *grpc.ClientConn
}

// StartServer configures and starts a server and waits until it is healthy.
func StartServer(t testing.TB, options ServerOptions) *Server {
	t.Helper()
	s := NewServer(t, options)
	s.Start(t)
	return s
}

// NewServer configures a server and does not start it.
func NewServer(t testing.TB, options ServerOptions) *Server {
	t.Helper()
	s := &Server{Dir: TempDir(t)}
	s.SocketPath = filepath.Join(s.Dir, "private", "api.sock")
	s.ConfigPath = filepath.Join(s.Dir, "server.conf")
	if options.NodeCA != nil {
		NoError(t, os.WriteFile(filepath.Join(s.Dir, "node-ca.crt"),
			PEM("CERTIFICATE", options.NodeCA.Cert.Raw), 0o600))
	}
	s.Port = FreePort(t)
	NoError(t, os.WriteFile(s.ConfigPath, []byte(s.config(options)), 0o600))
	return s
}

func (s *Server) config(o ServerOptions) string {
	settings := map[string]string{
		"bind_address":          `"127.0.0.1"`,
		"bind_port":             fmt.Sprintf(`"%d"`, s.Port),
		"trust_domain":          `"` + TD + `"`,
		"data_dir":              `"` + filepath.Join(s.Dir, "data") + `"`,
		"socket_path":           `"` + s.SocketPath + `"`,
		"log_level":             `"DEBUG"`,
		"ca_ttl":                `"24h"`,
		"default_x509_svid_ttl": `"1h"`,
	}
	for key, value := range o.Settings {
		settings[key] = value
	}
	var b strings.Builder
	b.WriteString("server {\n")
	for key, value := range settings {
		fmt.Fprintf(&b, "  %s = %s\n", key, value)
	}
	if !o.LimitAttestation {
		b.WriteString("  ratelimit { attestation = false }\n")
	}
	if !o.DefaultIntervals {
		// How soon a change by another process is seen; SPIRE polls for its own changes, too.
		b.WriteString("  experimental { cache_reload_interval = \"500ms\" }\n")
	}
	b.WriteString(o.Blocks + "\n}\nplugins {\n")
	database := o.Database
	if database == "" {
		database = s.DatabasePath()
	}
	fmt.Fprintf(&b, `  DataStore "sql" { plugin_data {
    database_type = "sqlite3"
    connection_string = "%s" } }
  NodeAttestor "join_token" { plugin_data {} }
`, database)
	if o.MemoryKeys {
		b.WriteString("  KeyManager \"memory\" { plugin_data {} }\n")
	} else {
		fmt.Fprintf(&b, "  KeyManager \"disk\" { plugin_data { keys_path = \"%s\" } }\n",
			filepath.Join(s.Dir, "data", "keys.json"))
	}
	if o.NodeCA != nil {
		fmt.Fprintf(&b, "  NodeAttestor \"x509pop\" { plugin_data {\n    ca_bundle_path = \"%s\"\n%s } }\n",
			filepath.Join(s.Dir, "node-ca.crt"), o.X509PopData)
	}
	b.WriteString(o.Plugins + "\n}\n" + o.TopLevel + "\n")
	return b.String()
}

// DatabasePath is the server's own database file.
func (s *Server) DatabasePath() string { return filepath.Join(s.Dir, "data", "datastore.sqlite3") }

// Start runs the server (again) and waits until it is healthy.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	program := s.Program
	if program == "" {
		program = Binary(t, "spire-server")
	}
	s.Process = Start(t, s.Dir, "spire-server", program, "run", "-config", s.ConfigPath)
	s.WaitHealthy(t)
}

// WaitHealthy polls the health service of the admin socket.
func (s *Server) WaitHealthy(t testing.TB) {
	t.Helper()
	health := healthv1.NewHealthClient(s.Admin(t))
	Eventually(t, startDeadline, "the server is healthy", func() error {
		if s.Process.Ended() {
			t.Fatalf("the server ended while starting")
		}
		ctx, cancel := context.WithTimeout(context.Background(), CallDeadline)
		defer cancel()
		response, err := health.Check(ctx, &healthv1.HealthCheckRequest{})
		if err != nil {
			s.Admin(t).ResetConnectBackoff()
			return err
		}
		if response.Status != healthv1.HealthCheckResponse_SERVING {
			return fmt.Errorf("health is %v", response.Status)
		}
		return nil
	})
}

// Restart stops the server in order and starts it on the same data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Process.Stop(t)
	s.Start(t)
}

// Admin is the connection to the local socket.
func (s *Server) Admin(t testing.TB) *grpc.ClientConn {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admin == nil {
		s.admin = DialUnix(t, s.SocketPath)
	}
	return s.admin
}

// Entries, Agents, Svids, Bundles, Debug and Logger are clients on the admin socket.
func (s *Server) Entries(t testing.TB) entryv1.EntryClient { return entryv1.NewEntryClient(s.Admin(t)) }

// Agents is a client on the admin socket.
func (s *Server) Agents(t testing.TB) agentv1.AgentClient { return agentv1.NewAgentClient(s.Admin(t)) }

// Svids is a client on the admin socket.
func (s *Server) Svids(t testing.TB) svidv1.SVIDClient { return svidv1.NewSVIDClient(s.Admin(t)) }

// Bundles is a client on the admin socket.
func (s *Server) Bundles(t testing.TB) bundlev1.BundleClient {
	return bundlev1.NewBundleClient(s.Admin(t))
}

// Debug is a client on the admin socket.
func (s *Server) Debug(t testing.TB) debugv1.DebugClient { return debugv1.NewDebugClient(s.Admin(t)) }

// Logger is a client on the admin socket.
func (s *Server) Logger(t testing.TB) loggerv1.LoggerClient {
	return loggerv1.NewLoggerClient(s.Admin(t))
}

// Address of the TCP endpoint.
func (s *Server) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// X509Bundle is the server's bundle, as its admin socket tells.
func (s *Server) X509Bundle(t testing.TB) *x509bundle.Bundle {
	t.Helper()
	bundle, err := s.Bundles(t).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
	NoError(t, err)
	result := x509bundle.New(spiffeid.RequireTrustDomainFromString(TD))
	for _, authority := range bundle.X509Authorities {
		result.AddX509Authority(Must[*x509.Certificate](t)(x509.ParseCertificate(authority.Asn1)))
	}
	return result
}

// Identity is a certificate chain with its key: a caller of the TCP endpoint.
type Identity struct {
	SVID *x509svid.SVID
}

// NewIdentity puts a chain in DER, leaf first, and its key together.
func NewIdentity(t testing.TB, chain [][]byte, key *ecdsa.PrivateKey) *Identity {
	t.Helper()
	svid := &x509svid.SVID{PrivateKey: key}
	for _, der := range chain {
		svid.Certificates = append(svid.Certificates,
			Must[*x509.Certificate](t)(x509.ParseCertificate(der)))
	}
	svid.ID = Must[spiffeid.ID](t)(x509svid.IDFromCert(svid.Certificates[0]))
	return &Identity{SVID: svid}
}

// Mint makes a workload identity through the admin socket, without any entry.
func (s *Server) Mint(t testing.TB, id string, ttlSeconds int32) *Identity {
	t.Helper()
	key := NewKey(t)
	response, err := s.Svids(t).MintX509SVID(Context(t), &svidv1.MintX509SVIDRequest{
		Csr: CSR(t, key, nil, id), Ttl: ttlSeconds})
	NoError(t, err)
	return NewIdentity(t, response.Svid.CertChain, key)
}

// ClientTLS verifies the server by its SPIFFE ID and shows the identity, if there is one.
func (s *Server) ClientTLS(t testing.TB, identity *Identity) *tls.Config {
	t.Helper()
	server := tlsconfig.AuthorizeID(spiffeid.RequireFromString(ID("/spire/server")))
	if identity == nil {
		return tlsconfig.TLSClientConfig(s.X509Bundle(t), server)
	}
	return tlsconfig.MTLSClientConfig(identity.SVID, s.X509Bundle(t), server)
}

// Dial connects to the TCP endpoint as `identity`, or as nobody when that is nil.
func (s *Server) Dial(t testing.TB, identity *Identity) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.Address(),
		grpc.WithTransportCredentials(credentials.NewTLS(s.ClientTLS(t, identity))))
	NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// DialUnix makes a plaintext connection to a Unix socket.
func DialUnix(t testing.TB, path string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// FreePort finds a port below the kernel's own range, so that no outgoing connection takes it
// before the server does.
func FreePort(t testing.TB) int {
	t.Helper()
	var last error = errors.New("no try")
	for range 100 {
		port := 12000 + rand.IntN(18000)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			last = err
			continue
		}
		_ = listener.Close()
		return port
	}
	t.Fatalf("no free port: %v", last)
	return 0
}
