// SPDX-License-Identifier: Apache-2.0

// Goal: a grpc-go client finds nothing missing in our server side: all kinds of calls, statuses with
// details, deadlines, cancellation, metadata, limits, flow control, draining. Method: each test runs
// against grpc-go's own server first, which proves the test, and then against ours.

package rpclayer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// startOurs runs our echo server on a Unix socket.
func startOurs(t *testing.T, options ...string) (string, *Process) {
	t.Helper()
	binary := PeerBinary(t, "rpc_echo_server")
	path := filepath.Join(TempDir(t), "s")
	process := Start(t, filepath.Dir(path), "rpc_echo_server", binary, append([]string{"unix:" + path}, options...)...)
	process.WaitLog(t, 0, "listening", CallDeadline)
	return "unix:" + path, process
}

func both(t *testing.T, test func(t *testing.T, conn *grpc.ClientConn)) {
	t.Run("grpc-go", func(t *testing.T) {
		where, _ := startGoEcho(t)
		test(t, DialUnix(t, strings.TrimPrefix(where, "unix:")))
	})
	t.Run("ours", func(t *testing.T) {
		where, _ := startOurs(t)
		test(t, DialUnix(t, strings.TrimPrefix(where, "unix:")))
	})
}

func call(ctx context.Context, conn grpc.ClientConnInterface, method, request string) (string, error) {
	in, out := []byte(request), []byte(nil)
	err := conn.Invoke(ctx, prefix+method, &in, &out, grpc.ForceCodec(RawCodec{}))
	return string(out), err
}

func TestUnaryCallsOfAllSizes(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		for _, method := range []string{"Unary", "UnaryOnLoop"} {
			for _, size := range []int{0, 1, 16383, 16384, 65535, 65536, 1 << 20, 4<<20 - 10} {
				request := strings.Repeat("a", size)
				got, err := call(Context(t), conn, method, request)
				NoError(t, err)
				if got != request {
					t.Fatalf("%s: %d bytes came back of %d", method, len(got), size)
				}
			}
		}
	})
}

func TestMessagesBeyondFourMebibytesAreRefused(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		_, err := call(Context(t), conn, "Unary", strings.Repeat("a", 4<<20+1))
		WantStatus(t, err, codes.ResourceExhausted, "")
		_, err = call(Context(t), conn, "Unary", "still here")
		NoError(t, err)
	})
}

func TestStatusesTravelWithTextAndDetails(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		for code := 1; code <= 16; code++ {
			for _, text := range []string{"plain", "", "per cent 100%25 and % alone", "ünïcödé ✓ 你好", "line\nbreak\ttab"} {
				_, err := call(Context(t), conn, "Fail", fmt.Sprintf("%d %s", code, text))
				st := status.Convert(err)
				if st.Code() != codes.Code(code) || st.Message() != text {
					t.Errorf("got %v %q, want %v %q", st.Code(), st.Message(), codes.Code(code), text)
				}
				details := st.Details()
				if len(details) != 1 {
					t.Fatalf("details %v", details)
				}
				if d, ok := details[0].(*wrapperspb.StringValue); !ok || d.Value != "detail" {
					t.Errorf("detail %v", details[0])
				}
			}
		}
	})
}

func TestDeadlinesReachTheServerAndEndTheCall(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		got, err := call(context.Background(), conn, "Deadline", "")
		NoError(t, err)
		if got != "none" {
			t.Errorf("without a deadline the server sees %q", got)
		}
		for _, d := range []time.Duration{5 * time.Second, 3 * time.Minute, 1000 * time.Hour} {
			ctx, cancel := context.WithTimeout(context.Background(), d)
			got, err := call(ctx, conn, "Deadline", "")
			cancel()
			NoError(t, err)
			left := time.Duration(Must[int](t)(strconv.Atoi(got))) * time.Millisecond
			if left > d || left < d-3*time.Second {
				t.Errorf("of %v the server sees %v", d, left)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_, err = RawCall(ctx, conn, prefix+"Hang", nil)
		WantStatus(t, err, codes.DeadlineExceeded, "")
		wantHanging(t, conn, 0)
	})
}

func wantHanging(t *testing.T, conn *grpc.ClientConn, want int) {
	t.Helper()
	Eventually(t, CallDeadline, fmt.Sprintf("%d calls hang", want), func() error {
		got, err := call(Context(t), conn, "Hanging", "")
		NoError(t, err)
		if got != strconv.Itoa(want) {
			return fmt.Errorf("%s do", got)
		}
		return nil
	})
}

func TestCancelledCallsEndAtTheServer(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		ctx, cancel := context.WithCancel(context.Background())
		for range 50 {
			stream, err := RawStream(ctx, conn, prefix+"Hang")
			NoError(t, err)
			message := []byte("x")
			NoError(t, stream.SendMsg(&message))
		}
		wantHanging(t, conn, 50)
		cancel()
		wantHanging(t, conn, 0)
	})
}

func TestAVanishedConnectionEndsItsCalls(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		other, err := grpc.NewClient(conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		NoError(t, err)
		for range 10 {
			stream, err := RawStream(Context(t), other, prefix+"Hang")
			NoError(t, err)
			message := []byte("x")
			NoError(t, stream.SendMsg(&message))
		}
		wantHanging(t, conn, 10)
		NoError(t, other.Close())
		wantHanging(t, conn, 0)
	})
}

func TestServerStreamsDeliverEverythingInOrderAndUnderFlowControl(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		for _, shape := range [][2]int{{0, 0}, {1, 0}, {1000, 10}, {50, 1 << 20}} {
			stream, err := RawStream(Context(t), conn, prefix+"ServerStream")
			NoError(t, err)
			request := []byte(fmt.Sprintf("%d %d", shape[0], shape[1]))
			NoError(t, stream.SendMsg(&request))
			NoError(t, stream.CloseSend())
			count := 0
			for {
				var message []byte
				err := stream.RecvMsg(&message)
				if errors.Is(err, io.EOF) {
					break
				}
				NoError(t, err)
				if len(message) != shape[1] {
					t.Fatalf("a message of %d bytes, want %d", len(message), shape[1])
				}
				count++
			}
			if count != shape[0] {
				t.Errorf("%d messages, want %d", count, shape[0])
			}
		}
	})
}

func TestBidirectionalStreamsEchoEachMessageAtOnce(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		stream, err := RawStream(Context(t), conn, prefix+"Bidi")
		NoError(t, err)
		for i := range 500 {
			message := []byte(strings.Repeat("m", i*37%5000))
			NoError(t, stream.SendMsg(&message))
			var back []byte
			NoError(t, stream.RecvMsg(&back))
			if len(back) != len(message) {
				t.Fatalf("message %d: %d bytes back, sent %d", i, len(back), len(message))
			}
		}
		NoError(t, stream.CloseSend())
		var rest []byte
		if err := stream.RecvMsg(&rest); !errors.Is(err, io.EOF) {
			t.Errorf("after the half-close: %v", err)
		}
	})
}

func TestClientStreamsAreCollectedToTheirEnd(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		stream, err := RawStream(Context(t), conn, prefix+"Collect")
		NoError(t, err)
		message := []byte(strings.Repeat("c", 100000))
		for range 100 {
			NoError(t, stream.SendMsg(&message))
		}
		NoError(t, stream.CloseSend())
		var sum []byte
		NoError(t, stream.RecvMsg(&sum))
		if string(sum) != "100 10000000" {
			t.Errorf("collected %s", sum)
		}
	})
}

func TestMetadataArrivesComplete(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		long := strings.Repeat("v", 6000)
		ctx := metadata.AppendToOutgoingContext(Context(t), "x-test", "one", "x-test", "two", "X-Upper", "down", "x-long", long)
		for name, want := range map[string]string{"x-test": "one\ntwo\n", "x-upper": "down\n", "x-long": long + "\n", "x-none": ""} {
			got, err := call(ctx, conn, "Metadata", name)
			NoError(t, err)
			if got != want {
				t.Errorf("%s is %q", name, got)
			}
		}
	})
}

func TestTooManyHeadersAreRefusedAndTheServerGoesOn(t *testing.T) {
	where, _ := startOurs(t)
	conn := DialUnix(t, strings.TrimPrefix(where, "unix:"))
	ctx := metadata.AppendToOutgoingContext(Context(t), "x-huge", strings.Repeat("v", 1<<20))
	if _, err := call(ctx, conn, "Unary", "x"); err == nil {
		t.Error("a megabyte of headers was accepted")
	}
	_, err := call(Context(t), conn, "Unary", "x")
	NoError(t, err)
}

func TestUnknownMethodsAreUnimplementedAtOnce(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		for _, method := range []string{prefix + "None", "/none.Service/None"} {
			// Without a half-close: the answer must not wait for it.
			stream, err := RawStream(Context(t), conn, method)
			NoError(t, err)
			message := []byte("x")
			_ = stream.SendMsg(&message)
			var response []byte
			WantStatus(t, stream.RecvMsg(&response), codes.Unimplemented, "")
		}
	})
}

func TestCompressedMessagesAreRefusedAsUnimplemented(t *testing.T) {
	where, _ := startOurs(t)
	conn := DialUnix(t, strings.TrimPrefix(where, "unix:"))
	in, out := []byte(strings.Repeat("a", 1000)), []byte(nil)
	err := conn.Invoke(Context(t), prefix+"Unary", &in, &out, grpc.ForceCodec(RawCodec{}), grpc.UseCompressor("gzip"))
	WantStatus(t, err, codes.Unimplemented, "")
}

func TestManyCallsAtOnceOnOneConnection(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		ctx := ContextFor(t, time.Minute)
		errs := make(chan error, 2000)
		var group sync.WaitGroup
		for worker := range 200 {
			group.Go(func() {
				for i := range 10 {
					text := fmt.Sprintf("%d-%d", worker, i)
					got, err := call(ctx, conn, []string{"Unary", "UnaryOnLoop"}[i%2], text)
					if err == nil && got != text {
						err = fmt.Errorf("sent %s, got %s", text, got)
					}
					errs <- err
				}
			})
		}
		group.Wait()
		close(errs)
		for err := range errs {
			NoError(t, err)
		}
	})
}

func TestHealthAndReflectionAnswer(t *testing.T) {
	both(t, func(t *testing.T, conn *grpc.ClientConn) {
		health := healthv1.NewHealthClient(conn)
		response, err := health.Check(Context(t), &healthv1.HealthCheckRequest{})
		NoError(t, err)
		if response.Status != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health %v", response.Status)
		}
		watch, err := health.Watch(Context(t), &healthv1.HealthCheckRequest{})
		NoError(t, err)
		response, err = watch.Recv()
		NoError(t, err)
		if response.Status != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("watched health %v", response.Status)
		}
		stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(Context(t))
		NoError(t, err)
		NoError(t, stream.Send(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}))
		list, err := stream.Recv()
		NoError(t, err)
		var names []string
		for _, service := range list.GetListServicesResponse().GetService() {
			names = append(names, service.Name)
		}
		if !slices.Contains(names, "grpc.health.v1.Health") {
			t.Errorf("services %v", names)
		}
	})
}

func TestAConnectionThatGrowsOldIsReplacedWithoutALostCall(t *testing.T) {
	where, _ := startOurs(t, "--age-ms", "300", "--grace-ms", "5000")
	conn := DialUnix(t, strings.TrimPrefix(where, "unix:"))
	end := time.Now().Add(3 * time.Second)
	for i := 0; time.Now().Before(end); i++ {
		if _, err := call(Context(t), conn, "Unary", "x"); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func TestAStoppingServerLetsRunningCallsEnd(t *testing.T) {
	where, process := startOurs(t)
	conn := DialUnix(t, strings.TrimPrefix(where, "unix:"))
	stream, err := RawStream(Context(t), conn, prefix+"Bidi")
	NoError(t, err)
	message, back := []byte("before"), []byte(nil)
	NoError(t, stream.SendMsg(&message))
	NoError(t, stream.RecvMsg(&back))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		process.Stop(t)
	}()
	Eventually(t, CallDeadline, "the socket is closed to others", func() error {
		other, err := net.Dial("unix", strings.TrimPrefix(where, "unix:"))
		if err != nil {
			return nil
		}
		_ = other.Close()
		return errors.New("still open")
	})
	NoError(t, stream.SendMsg(&message))
	NoError(t, stream.RecvMsg(&back))
	NoError(t, stream.CloseSend())
	if err := stream.RecvMsg(&back); !errors.Is(err, io.EOF) {
		t.Errorf("the running call ended with %v", err)
	}
	select {
	case <-stopped:
	case <-time.After(CallDeadline):
		t.Error("the server still runs")
	}
}
