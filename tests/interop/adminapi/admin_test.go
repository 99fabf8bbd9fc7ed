// SPDX-License-Identifier: Apache-2.0

// Goal: the local services tell the truth: health, debug, logger; and they exist on the admin socket
// only.

package adminapi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	debugv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/debug/v1"
	loggerv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/logger/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

func TestHealthIsServingAndRefusesServiceNames(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	health := healthv1.NewHealthClient(s.Admin(t))
	response, err := health.Check(Context(t), &healthv1.HealthCheckRequest{})
	NoError(t, err)
	if response.Status != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health is %v", response.Status)
	}
	_, err = health.Check(Context(t), &healthv1.HealthCheckRequest{Service: "spire.api.server.entry.v1.Entry"})
	WantStatus(t, err, codes.InvalidArgument, "per-service health is not supported")
}

func TestDebugCountsAndShowsTheServersChain(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	s.NewAgent(t)
	s.Create(t, NewEntry(ID("/a"), ID("/p"), "t:1"), NewEntry(ID("/b"), ID("/p"), "t:1"))
	SetFederatedBundle(t, s, "one.test")
	// The answer may be up to five seconds old; nobody asked before.
	info, err := s.Debug(t).GetInfo(Context(t), &debugv1.GetInfoRequest{})
	NoError(t, err)
	if info.AgentsCount != 1 || info.EntriesCount != 2 || info.FederatedBundlesCount != 2 || info.Uptime < 0 {
		t.Errorf("info is %v", info)
	}
	if len(info.SvidChain) != 2 || IDString(info.SvidChain[0].Id) != ID("/spire/server") ||
		info.SvidChain[0].Subject != "O=SPIRE,C=US" || info.SvidChain[0].ExpiresAt < time.Now().Unix() {
		t.Fatalf("the chain is %v", info.SvidChain)
	}
	root := s.X509Bundle(t).X509Authorities()[0]
	if info.SvidChain[1].Subject != root.Subject.String() || info.SvidChain[1].ExpiresAt != root.NotAfter.Unix() {
		t.Errorf("the root is %v, want %v", info.SvidChain[1], root.Subject)
	}
}

func TestTheLogLevelChangesAtOnceAndIsReset(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{"log_level": `"WARN"`}})
	logger := s.Logger(t)
	want := func(got *types.Logger, err error, level types.LogLevel) {
		t.Helper()
		NoError(t, err)
		if got.CurrentLevel != level || got.LaunchLevel != types.LogLevel_WARN {
			t.Fatalf("logger is %v, want %v", got, level)
		}
	}
	got, err := logger.GetLogger(Context(t), &loggerv1.GetLoggerRequest{})
	want(got, err, types.LogLevel_WARN)
	if strings.Contains(s.Process.Log.String(), "level=info") {
		t.Error("info lines at level warn")
	}
	mark := s.Process.Log.Len()
	got, err = logger.SetLogLevel(Context(t), &loggerv1.SetLogLevelRequest{NewLevel: types.LogLevel_DEBUG})
	want(got, err, types.LogLevel_DEBUG)
	s.Mint(t, ID("/w"), 60)
	s.Process.WaitLog(t, mark, "level=debug", CallDeadline)
	for _, level := range []types.LogLevel{types.LogLevel_PANIC, types.LogLevel_FATAL, types.LogLevel_ERROR,
		types.LogLevel_WARN, types.LogLevel_INFO, types.LogLevel_TRACE} {
		got, err = logger.SetLogLevel(Context(t), &loggerv1.SetLogLevelRequest{NewLevel: level})
		want(got, err, level)
	}
	got, err = logger.ResetLogLevel(Context(t), &loggerv1.ResetLogLevelRequest{})
	want(got, err, types.LogLevel_WARN)
	_, err = logger.SetLogLevel(Context(t), &loggerv1.SetLogLevelRequest{})
	WantStatus(t, err, codes.InvalidArgument, "newLevel value cannot be LogLevel_UNSPECIFIED")
	_, err = logger.SetLogLevel(Context(t), &loggerv1.SetLogLevelRequest{NewLevel: 77})
	WantStatus(t, err, codes.InvalidArgument, "unsupported log level")
}

func TestLocalServicesDoNotExistOnTheTcpEndpoint(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	conn := s.Dial(t, nil)
	_, err := healthv1.NewHealthClient(conn).Check(Context(t), &healthv1.HealthCheckRequest{})
	WantStatus(t, err, codes.Unimplemented, "")
	_, err = loggerv1.NewLoggerClient(conn).GetLogger(Context(t), &loggerv1.GetLoggerRequest{})
	WantStatus(t, err, codes.Unimplemented, "")
	_, err = debugv1.NewDebugClient(conn).GetInfo(Context(t), &debugv1.GetInfoRequest{})
	WantStatus(t, err, codes.Unimplemented, "")
}

func TestUnknownMethodsAreUnimplemented(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	for _, method := range []string{"/no.such.Service/Method", "/spire.api.server.entry.v1.Entry/NoSuchMethod"} {
		for name, conn := range map[string]interface {
			Method(string) error
		}{"local": invoker{t, s, true}, "tcp": invoker{t, s, false}} {
			t.Run(name+method, func(t *testing.T) {
				WantStatus(t, conn.Method(method), codes.Unimplemented, "")
			})
		}
	}
}

type invoker struct {
	t     *testing.T
	s     *Server
	local bool
}

func (i invoker) Method(method string) error {
	conn := i.s.Admin(i.t)
	if !i.local {
		conn = i.s.Dial(i.t, nil)
	}
	return conn.Invoke(Context(i.t), method, &debugv1.GetInfoRequest{}, &debugv1.GetInfoResponse{})
}

func TestTheServerStopsInOrderWhileCallsRun(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	health := healthv1.NewHealthClient(s.Admin(t))
	s.Process.Stop(t)
	s.Process.WaitLog(t, 0, "Server stopped gracefully", CallDeadline)
	if _, err := health.Check(Context(t), &healthv1.HealthCheckRequest{}); err == nil {
		t.Error("a stopped server answers")
	}
	s.Start(t)
	Eventually(t, CallDeadline, "it serves again", func() error {
		response, err := healthv1.NewHealthClient(s.Admin(t)).Check(Context(t), &healthv1.HealthCheckRequest{})
		if err != nil {
			return err
		}
		if response.Status != healthv1.HealthCheckResponse_SERVING {
			return fmt.Errorf("%v", response.Status)
		}
		return nil
	})
}
