// SPDX-License-Identifier: Apache-2.0

// Calls by method name with messages as bytes, for tests that go through every method there is and
// for services that have no generated Go code.

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
)

// RawCodec passes *[]byte through as messages.
type RawCodec struct{}

// Marshal returns the bytes themselves.
func (RawCodec) Marshal(v any) ([]byte, error) {
	if b, ok := v.(*[]byte); ok {
		return *b, nil
	}
	return nil, fmt.Errorf("not bytes: %T", v)
}

// Unmarshal keeps the bytes.
func (RawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("not bytes: %T", v)
	}
	*b = append([]byte(nil), data...)
	return nil
}

// Name is the content subtype; the messages are protobuf.
func (RawCodec) Name() string { return "proto" }

// RawStream opens a call of any kind.
func RawStream(ctx context.Context, conn grpc.ClientConnInterface, method string) (grpc.ClientStream, error) {
	return conn.NewStream(ctx, &grpc.StreamDesc{StreamName: method, ClientStreams: true, ServerStreams: true},
		method, grpc.ForceCodec(RawCodec{}))
}

// RawCall sends one message and returns the first answer or the call's error; the rest of a stream
// is cancelled.
func RawCall(ctx context.Context, conn grpc.ClientConnInterface, method string, request []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := RawStream(ctx, conn, method)
	if err != nil {
		return nil, err
	}
	// The reason why a send fails is what the receive returns.
	_ = stream.SendMsg(&request)
	_ = stream.CloseSend()
	var response []byte
	err = stream.RecvMsg(&response)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return response, err
}
