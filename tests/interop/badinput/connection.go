// SPDX-License-Identifier: Apache-2.0

// Package badinput holds the tests of clients that mean harm: frames written by hand on connections to
// real processes. This file is their client: a connection with a framer and no manners of its own.
package badinput

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	. "github.com/steeple/steeple/tests/interop/harness"
)

// How long a single step with a busy machine may take.
const stepDeadline = 60 * time.Second

// raw is an HTTP/2 connection whose frames the test writes and reads itself.
type raw struct {
	net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	coder  *hpack.Encoder
}

// speak sends the preface and our SETTINGS on an open connection.
func speak(t testing.TB, conn net.Conn, settings ...http2.Setting) *raw {
	t.Helper()
	r := &raw{Conn: conn, framer: http2.NewFramer(conn, conn)}
	r.coder = hpack.NewEncoder(&r.block)
	t.Cleanup(func() { _ = conn.Close() })
	NoError(t, conn.SetDeadline(time.Now().Add(stepDeadline)))
	_, err := io.WriteString(conn, http2.ClientPreface)
	NoError(t, err)
	NoError(t, r.framer.WriteSettings(settings...))
	return r
}

// dialTCP opens TLS to the server's TCP endpoint, as `identity` or as nobody.
func dialTCP(t testing.TB, s *Server, identity *Identity) (net.Conn, error) {
	t.Helper()
	config := s.ClientTLS(t, identity)
	config.NextProtos = []string{"h2"}
	dialer := &net.Dialer{Timeout: stepDeadline}
	return tls.DialWithDialer(dialer, "tcp", s.Address(), config)
}

// fields are the header block of a gRPC request.
func (r *raw) fields(method string, more ...hpack.HeaderField) []byte {
	r.block.Reset()
	all := append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: method},
		{Name: ":authority", Value: "server"}, {Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"}}, more...)
	for _, field := range all {
		_ = r.coder.WriteField(field)
	}
	return append([]byte(nil), r.block.Bytes()...)
}

// call begins a call with one message and half-closes it.
func (r *raw) call(stream uint32, method string, message []byte, more ...hpack.HeaderField) error {
	err := r.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: r.fields(method, more...), EndHeaders: true})
	if err != nil {
		return err
	}
	return r.framer.WriteData(stream, true, append([]byte{
		0, byte(len(message) >> 24), byte(len(message) >> 16), byte(len(message) >> 8), byte(len(message))}, message...))
}

// ending is how the peer ended the connection: the code of its GOAWAY, if one came, after what.
type ending struct {
	goAway bool
	code   http2.ErrCode
	err    error
}

// drain reads until the connection ends, acknowledging nothing.
func (r *raw) drain() ending {
	var end ending
	for {
		frame, err := r.framer.ReadFrame()
		if err != nil {
			end.err = err
			return end
		}
		if goAway, is := frame.(*http2.GoAwayFrame); is {
			end.goAway, end.code = true, goAway.ErrCode
		}
	}
}

// closedByPeer is false for our own deadline.
func (e ending) closedByPeer() bool { return e.err != nil && !errors.Is(e.err, os.ErrDeadlineExceeded) }

// status reads until the stream ends and returns its grpc-status and grpc-message.
func (r *raw) status(stream uint32) (code, message string, err error) {
	decoder := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		switch f.Name {
		case "grpc-status":
			code = f.Value
		case "grpc-message":
			message = f.Value
		}
	})
	for {
		frame, err := r.framer.ReadFrame()
		if err != nil {
			return code, message, err
		}
		if headers, is := frame.(*http2.HeadersFrame); is {
			if _, err := decoder.Write(headers.HeaderBlockFragment()); err != nil {
				return "", "", err
			}
			if headers.StreamID == stream && headers.StreamEnded() {
				return code, message, nil
			}
		}
		if reset, is := frame.(*http2.RSTStreamFrame); is && reset.StreamID == stream {
			return "", "", fmt.Errorf("reset with %v", reset.ErrCode)
		}
	}
}

// rssKiB is the resident memory of a process.
func rssKiB(t testing.TB, p *Process) int {
	t.Helper()
	status := Must[[]byte](t)(os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid())))
	for _, line := range strings.Split(string(status), "\n") {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "VmRSS:" {
			return Must[int](t)(strconv.Atoi(fields[1]))
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// wantGrowthBelow demands that a process has grown by less since `before`; the figure is logged.
func wantGrowthBelow(t testing.TB, p *Process, before, limitKiB int) {
	t.Helper()
	grown := rssKiB(t, p) - before
	t.Logf("%s: %d KiB before, grown by %d KiB (bound %d)", p.Name, before, grown, limitKiB)
	if grown > limitKiB {
		t.Errorf("%s grew by %d KiB, want at most %d", p.Name, grown, limitKiB)
	}
}
