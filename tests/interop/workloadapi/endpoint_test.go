// SPDX-License-Identifier: Apache-2.0

// Goal: the SPIFFE Workload Endpoint's rules: the header on each Workload API call and on nothing
// else, health, reflection, what is not implemented, and callers that misbehave.

package workloadapi

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

var methods = []string{"FetchX509SVID", "FetchX509Bundles", "FetchJWTSVID", "FetchJWTBundles", "ValidateJWTSVID"}

// SPIFFE Workload Endpoint 5: a call without the header, exactly once and exactly so, is refused.
func TestEachWorkloadApiCallNeedsTheSecurityHeader(t *testing.T) {
	_, a := pair(t)
	conn := a.Dial(t)
	headers := map[string][]string{
		"missing":      {},
		"false":        {"workload.spiffe.io", "false"},
		"upper case":   {"workload.spiffe.io", "True"},
		"empty":        {"workload.spiffe.io", ""},
		"twice":        {"workload.spiffe.io", "true", "workload.spiffe.io", "true"},
		"contradicted": {"workload.spiffe.io", "true", "workload.spiffe.io", "false"},
	}
	for name, pairs := range headers {
		for _, method := range methods {
			t.Run(method+" "+name, func(t *testing.T) {
				ctx := metadata.AppendToOutgoingContext(Context(t), pairs...)
				_, err := RawCall(ctx, conn, "/SpiffeWorkloadAPI/"+method, nil)
				WantStatus(t, err, codes.InvalidArgument, "security header missing from request")
			})
		}
	}
}

func TestWitCallsAreUnimplemented(t *testing.T) {
	s, a := pair(t)
	s.Create(t, entry(a, "e1", "/one"))
	a.WaitFetch(t, "/one")
	for _, method := range []string{"FetchWITSVID", "FetchWITBundles", "NoSuchMethod"} {
		_, err := RawCall(WithHeader(Context(t)), a.Dial(t), "/SpiffeWorkloadAPI/"+method, nil)
		WantStatus(t, err, codes.Unimplemented, "")
	}
}

func TestHealthNeedsNoHeader(t *testing.T) {
	_, a := pair(t)
	health := healthv1.NewHealthClient(a.Dial(t))
	response, err := health.Check(Context(t), &healthv1.HealthCheckRequest{})
	NoError(t, err)
	if response.Status != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health is %v", response.Status)
	}
	_, err = health.Check(Context(t), &healthv1.HealthCheckRequest{Service: "SpiffeWorkloadAPI"})
	WantStatus(t, err, codes.InvalidArgument, "per-service health is not supported")
}

func TestReflectionDescribesTheWorkloadApi(t *testing.T) {
	_, a := pair(t)
	t.Run("v1", func(t *testing.T) {
		stream, err := reflectionv1.NewServerReflectionClient(a.Dial(t)).ServerReflectionInfo(Context(t))
		NoError(t, err)
		NoError(t, stream.Send(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}))
		response, err := stream.Recv()
		NoError(t, err)
		var names []string
		for _, service := range response.GetListServicesResponse().GetService() {
			names = append(names, service.Name)
		}
		for _, want := range []string{"SpiffeWorkloadAPI", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
			"grpc.reflection.v1alpha.ServerReflection"} {
			if !slices.Contains(names, want) {
				t.Errorf("services %v, no %s", names, want)
			}
		}
		NoError(t, stream.Send(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{
				FileContainingSymbol: "SpiffeWorkloadAPI"}}))
		response, err = stream.Recv()
		NoError(t, err)
		wantMethods(t, response.GetFileDescriptorResponse().GetFileDescriptorProto())
		NoError(t, stream.Send(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "no.such.Symbol"}}))
		response, err = stream.Recv()
		NoError(t, err)
		if code := response.GetErrorResponse().GetErrorCode(); codes.Code(code) != codes.NotFound {
			t.Errorf("an unknown symbol: %v", response)
		}
	})
	t.Run("v1alpha", func(t *testing.T) {
		stream, err := reflectionalpha.NewServerReflectionClient(a.Dial(t)).ServerReflectionInfo(Context(t))
		NoError(t, err)
		NoError(t, stream.Send(&reflectionalpha.ServerReflectionRequest{
			MessageRequest: &reflectionalpha.ServerReflectionRequest_FileContainingSymbol{
				FileContainingSymbol: "SpiffeWorkloadAPI"}}))
		response, err := stream.Recv()
		NoError(t, err)
		wantMethods(t, response.GetFileDescriptorResponse().GetFileDescriptorProto())
	})
}

func wantMethods(t *testing.T, files [][]byte) {
	t.Helper()
	for _, file := range files {
		descriptor := &descriptorpb.FileDescriptorProto{}
		NoError(t, proto.Unmarshal(file, descriptor))
		for _, service := range descriptor.Service {
			if service.GetName() != "SpiffeWorkloadAPI" {
				continue
			}
			var names []string
			for _, method := range service.Method {
				names = append(names, method.GetName())
			}
			for _, want := range methods {
				if !slices.Contains(names, want) {
					t.Errorf("methods %v, no %s", names, want)
				}
			}
			return
		}
	}
	t.Errorf("no SpiffeWorkloadAPI in %d files", len(files))
}

func TestTheSocketIsOpenToAll(t *testing.T) {
	_, a := pair(t)
	info, err := os.Stat(a.SocketPath)
	NoError(t, err)
	if info.Mode().Perm() != 0o777 {
		t.Errorf("mode %v", info.Mode().Perm())
	}
}

// The reference locks up for half a minute after some thousands of cancelled fetches (DESIGN 6.9).
func TestCancelledFetchesDoNotHinderOthers(t *testing.T) {
	s, a := pair(t)
	s.Create(t, entry(a, "e1", "/one"))
	a.WaitFetch(t, "/one")
	count := 2500
	if Reference() {
		count = 200
	}
	conn := a.Dial(t)
	raw := workload.NewSpiffeWorkloadAPIClient(conn)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range count / 10 {
				ctx, cancel := context.WithCancel(WithHeader(context.Background()))
				if _, err := raw.FetchX509SVID(ctx, &workload.X509SVIDRequest{}); err != nil {
					cancel()
					continue
				}
				cancel()
			}
		})
	}
	group.Wait()
	start := time.Now()
	ctx, cancel := context.WithTimeout(WithHeader(context.Background()), CallDeadline)
	defer cancel()
	stream, err := workload.NewSpiffeWorkloadAPIClient(a.Dial(t)).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	NoError(t, err)
	_, err = stream.Recv()
	NoError(t, err)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the next fetch took %v", took)
	}
}

// Peers that say nothing, or nonsense, and many of them.
func TestSilentAndBabblingConnectionsDoNotHinderOthers(t *testing.T) {
	s, a := pair(t)
	s.Create(t, entry(a, "e1", "/one"))
	a.WaitFetch(t, "/one")
	for i := range 200 {
		conn, err := net.Dial("unix", a.SocketPath)
		NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		if i%2 == 0 {
			_, _ = conn.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 20)))
		}
	}
	a.WaitFetch(t, "/one")
}

func TestAMessageThatIsTooLargeIsRefused(t *testing.T) {
	_, a := pair(t)
	big := make([]byte, 5<<20)
	_, err := RawCall(WithHeader(Context(t)), a.Dial(t), "/SpiffeWorkloadAPI/FetchX509SVID", big)
	WantStatus(t, err, codes.ResourceExhausted, "")
	a.WaitHealthy(t)
}

func TestAMessageThatDoesNotParseIsRefused(t *testing.T) {
	_, a := pair(t)
	_, err := RawCall(WithHeader(Context(t)), a.Dial(t), "/SpiffeWorkloadAPI/FetchJWTSVID", []byte{0xff, 0xff, 0xff})
	WantStatus(t, err, codes.Internal, "")
}

func TestManyWorkloadConnectionsAreServed(t *testing.T) {
	s, a := pair(t)
	s.Create(t, entry(a, "e1", "/one"))
	a.WaitFetch(t, "/one")
	ctx := ContextFor(t, 60*time.Second)
	errs := make(chan error, 100)
	for range 100 {
		go func() {
			errs <- func() error {
				conn, err := grpc.NewClient("unix:"+a.SocketPath, insecureOption())
				if err != nil {
					return err
				}
				defer func() { _ = conn.Close() }()
				stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(WithHeader(ctx), &workload.X509SVIDRequest{})
				if err != nil {
					return err
				}
				response, err := stream.Recv()
				if err == nil && len(response.Svids) != 1 {
					return fmt.Errorf("%d svids", len(response.Svids))
				}
				return err
			}()
		}()
	}
	for range 100 {
		NoError(t, <-errs)
	}
}

func insecureOption() grpc.DialOption {
	return grpc.WithTransportCredentials(insecure.NewCredentials())
}
