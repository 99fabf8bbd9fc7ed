// SPDX-License-Identifier: Apache-2.0

// The echo service of tests/process/rpc_echo_server in grpc-go: the peer of our client, and the proof
// that the tests of our server are right.

package rpclayer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const prefix = "/steeple.test.echo.v1.Echo/"

type goEcho struct{ hanging atomic.Int64 }

// startGoEcho serves on a Unix socket and returns where, in the words of the C++ peers.
func startGoEcho(t *testing.T) (where string, echo *goEcho) {
	t.Helper()
	echo = &goEcho{}
	path := filepath.Join(TempDir(t), "s")
	listener := Must[net.Listener](t)(net.Listen("unix", path))
	server := grpc.NewServer(grpc.ForceServerCodec(mixedCodec{}), grpc.UnknownServiceHandler(echo.handle))
	healthv1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return "unix:" + path, echo
}

// mixedCodec passes bytes through and marshals the messages of health and reflection as ever.
type mixedCodec struct{ RawCodec }

func (c mixedCodec) Marshal(v any) ([]byte, error) {
	if message, ok := v.(proto.Message); ok {
		return proto.Marshal(message)
	}
	return c.RawCodec.Marshal(v)
}

func (c mixedCodec) Unmarshal(data []byte, v any) error {
	if message, ok := v.(proto.Message); ok {
		return proto.Unmarshal(data, message)
	}
	return c.RawCodec.Unmarshal(data, v)
}

func (e *goEcho) handle(_ any, stream grpc.ServerStream) error {
	full, _ := grpc.MethodFromServerStream(stream)
	name, found := strings.CutPrefix(full, prefix)
	if !found {
		return status.Errorf(codes.Unimplemented, "unknown service")
	}
	switch name {
	case "Bidi", "Collect":
		return e.stream(name, stream)
	case "Hang":
		e.hanging.Add(1)
		<-stream.Context().Done()
		e.hanging.Add(-1)
		return nil
	}
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	if name == "ServerStream" {
		var count, size int
		_, _ = fmt.Sscan(string(request), &count, &size)
		message := []byte(strings.Repeat("x", size))
		for range count {
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
		return nil
	}
	response, err := e.unary(stream.Context(), name, request)
	if err != nil {
		return err
	}
	return stream.SendMsg(&response)
}

func (e *goEcho) unary(ctx context.Context, name string, request []byte) ([]byte, error) {
	switch name {
	case "Unary", "UnaryOnLoop":
		return request, nil
	case "Fail":
		code, text, _ := strings.Cut(string(request), " ")
		number, _ := strconv.Atoi(code)
		st, err := status.New(codes.Code(number), text).WithDetails(wrapperspb.String("detail"))
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	case "Deadline":
		deadline, ok := ctx.Deadline()
		if !ok {
			return []byte("none"), nil
		}
		return []byte(strconv.FormatInt(time.Until(deadline).Milliseconds(), 10)), nil
	case "Metadata":
		md, _ := metadata.FromIncomingContext(ctx)
		var lines string
		for _, value := range md.Get(string(request)) {
			lines += value + "\n"
		}
		return []byte(lines), nil
	case "Hanging":
		return []byte(strconv.FormatInt(e.hanging.Load(), 10)), nil
	}
	return nil, status.Errorf(codes.Unimplemented, "unknown method %s", name)
}

func (e *goEcho) stream(name string, stream grpc.ServerStream) error {
	messages, bytes := 0, 0
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		messages++
		bytes += len(message)
		if name == "Bidi" {
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
	}
	if name == "Bidi" {
		return nil
	}
	sum := []byte(fmt.Sprintf("%d %d", messages, bytes))
	return stream.SendMsg(&sum)
}
