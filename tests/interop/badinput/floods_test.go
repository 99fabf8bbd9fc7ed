// SPDX-License-Identifier: Apache-2.0

// Floods against the server's TCP endpoint: each ends the connection it came on, or is not read any
// further; the server stays small, and others are served meanwhile and afterwards.

package badinput

import (
	"net"
	"testing"
	"time"

	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	. "github.com/steeple/steeple/tests/interop/harness"
)

const (
	getBundle = "/spire.api.server.bundle.v1.Bundle/GetBundle"
	// What a flood on one connection may leave behind in a process: buffers, fragmentation.
	floodKiB = 24 << 10
)

// wantServed makes a call of another client.
func wantServed(t *testing.T, s *Server) {
	t.Helper()
	_, err := bundlev1.NewBundleClient(s.Dial(t, nil)).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
	NoError(t, err)
}

// CVE-2023-44487.
func Test200000RapidResetsEndOneConnectionAndNoMore(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	wantServed(t, s)
	before := rssKiB(t, s.Process)
	r := speak(t, Must[net.Conn](t)(dialTCP(t, s, nil)))
	done := make(chan ending, 1)
	go func() { done <- r.drain() }()
	sent := 0
	for i := range uint32(200_000) {
		if r.call(i*2+1, getBundle, nil) != nil || r.framer.WriteRSTStream(i*2+1, http2.ErrCodeCancel) != nil {
			break
		}
		sent++
	}
	end := <-done
	t.Logf("%d of 200000 sent, end %+v", sent, end)
	if !end.closedByPeer() || (end.goAway && end.code != http2.ErrCodeEnhanceYourCalm && end.code != http2.ErrCodeInternal) {
		t.Errorf("the connection ended with %+v", end)
	}
	if sent > 100_000 {
		t.Errorf("%d resets were taken", sent)
	}
	wantServed(t, s)
	wantGrowthBelow(t, s.Process, before, floodKiB)
}

// CVE-2024-28182: a header block without end.
func TestAContinuationFloodEndsTheConnection(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	wantServed(t, s)
	before := rssKiB(t, s.Process)
	r := speak(t, Must[net.Conn](t)(dialTCP(t, s, nil)))
	done := make(chan ending, 1)
	go func() { done <- r.drain() }()
	NoError(t, r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.fields(getBundle)}))
	fragment := r.fields(getBundle, hpack.HeaderField{Name: "x", Value: string(make([]byte, 8000)), Sensitive: true})
	sent := 0
	for range 20_000 { // 160 MB
		if r.framer.WriteContinuation(1, false, fragment) != nil {
			break
		}
		sent++
	}
	end := <-done
	t.Logf("%d CONTINUATION frames sent, end %+v", sent, end)
	if !end.closedByPeer() || sent > 5_000 {
		t.Errorf("the connection ended with %+v after %d frames", end, sent)
	}
	wantServed(t, s)
	wantGrowthBelow(t, s.Process, before, floodKiB)
}

// The client takes no answers: the server must stop reading, or close; it may not collect them.
func TestPingAndSettingsFloodsWithoutReadingStayBounded(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	wantServed(t, s)
	for name, one := range map[string]func(*raw) error{
		"PING":     func(r *raw) error { return r.framer.WritePing(false, [8]byte{1}) },
		"SETTINGS": func(r *raw) error { return r.framer.WriteSettings() },
	} {
		t.Run(name, func(t *testing.T) {
			before := rssKiB(t, s.Process)
			r := speak(t, Must[net.Conn](t)(dialTCP(t, s, nil)))
			// Past what the sockets' buffers hold, each write waits for the server: a second of that
			// is enough to know that it does not read.
			sent := 0
			var last error
			for range 2_000_000 {
				NoError(t, r.SetWriteDeadline(time.Now().Add(2*time.Second)))
				if err := one(r); err != nil {
					last = err
					break
				}
				sent++
			}
			t.Logf("%d frames sent, then: %v", sent, last)
			if sent == 2_000_000 {
				t.Error("all were taken")
			}
			wantServed(t, s)
			wantGrowthBelow(t, s.Process, before, floodKiB)
		})
	}
}

// A window that never opens: 100 calls with answers that cannot be sent, 200 times over.
func TestClientsThatTakeNoAnswersHoldBoundedMemory(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	wantServed(t, s)
	before := rssKiB(t, s.Process)
	for range 200 {
		r := speak(t, Must[net.Conn](t)(dialTCP(t, s, nil)), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		for i := range uint32(100) {
			NoError(t, r.call(i*2+1, getBundle, nil))
		}
	}
	wantServed(t, s)
	// 20,000 stalled calls of 200 connections.
	wantGrowthBelow(t, s.Process, before, 20_000*4+200*64)
}

func TestMessagesAndHeadersOverTheLimitAreRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	r := speak(t, Must[net.Conn](t)(dialTCP(t, s, nil)))
	NoError(t, r.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: r.fields(getBundle), EndHeaders: true}))
	NoError(t, r.framer.WriteData(1, false, []byte{0, 0xff, 0xff, 0xff, 0xff}))
	code, message, err := r.status(1)
	NoError(t, err)
	if code != "8" || message != "grpc: received message larger than max (4294967295 vs. 4194304)" {
		t.Errorf("an announced message of 4 GiB got %s %q", code, message)
	}
	r = speak(t, Must[net.Conn](t)(dialTCP(t, s, nil)))
	// The server may close before all of it was written.
	if err := r.call(1, getBundle, nil, hpack.HeaderField{Name: "a", Value: string(make([]byte, 9000))},
		hpack.HeaderField{Name: "b", Value: string(make([]byte, 9000))}); err == nil {
		if code, message, err := r.status(1); err == nil {
			t.Errorf("18000 bytes of headers got %s %q", code, message)
		}
	}
	wantServed(t, s)
}

// Frames that break HTTP/2: each gets the connection error of RFC 9113.
func TestBrokenFramesGetTheirConnectionError(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	for name, one := range map[string]struct {
		bytes string
		code  http2.ErrCode
	}{
		"DATA on stream 0":       {"\x00\x00\x01\x00\x00\x00\x00\x00\x00x", http2.ErrCodeProtocol},
		"HEADERS on even stream": {"\x00\x00\x01\x01\x04\x00\x00\x00\x02\x82", http2.ErrCodeProtocol},
		"PING of 7 bytes":        {"\x00\x00\x07\x06\x00\x00\x00\x00\x001234567", http2.ErrCodeFrameSize},
		"frame of 16 MiB":        {"\xff\xff\xff\x00\x00\x00\x00\x00\x01x", http2.ErrCodeFrameSize},
		"bad HPACK index":        {"\x00\x00\x01\x01\x04\x00\x00\x00\x01\xff", http2.ErrCodeCompression},
		"window overflow":        {"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff", http2.ErrCodeFlowControl},
		"PUSH_PROMISE":           {"\x00\x00\x04\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02", http2.ErrCodeProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			r := speak(t, Must[net.Conn](t)(dialTCP(t, s, nil)))
			_, err := r.Write([]byte(one.bytes))
			NoError(t, err)
			end := r.drain()
			if !end.closedByPeer() || !end.goAway || end.code != one.code {
				t.Errorf("ended with %+v, want GOAWAY %v", end, one.code)
			}
		})
	}
	wantServed(t, s)
}

// Not even TLS.
func TestGarbageInsteadOfAHandshakeIsClosed(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	for _, garbage := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", http2.ClientPreface,
		"\x16\x03\x01\xff\xff\x01", "\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00"} {
		conn := Must[net.Conn](t)(net.Dial("tcp", s.Address()))
		NoError(t, conn.SetDeadline(time.Now().Add(stepDeadline)))
		_, err := conn.Write([]byte(garbage))
		NoError(t, err)
		if !(&raw{Conn: conn, framer: http2.NewFramer(conn, conn)}).drain().closedByPeer() {
			t.Errorf("%q was not closed", garbage)
		}
		_ = conn.Close()
	}
	wantServed(t, s)
}

// A handshake, or a preface, that takes longer than ten seconds.
func TestSlowHandshakesRunIntoTheirTimeout(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	begun := time.Now()
	silent := Must[net.Conn](t)(net.Dial("tcp", s.Address()))
	slow := Must[net.Conn](t)(net.Dial("tcp", s.Address()))
	mute := Must[net.Conn](t)(dialTCP(t, s, nil)) // TLS done, no preface
	local := Must[net.Conn](t)(net.Dial("unix", s.SocketPath))
	conns := []net.Conn{silent, slow, mute, local}
	stop := make(chan struct{})
	go func() { // a byte of a ClientHello now and then
		hello := append([]byte{0x16, 0x03, 0x01, 0x01, 0x00, 0x01, 0x00, 0x00, 0xfc}, make([]byte, 200)...)
		for _, b := range hello {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				if _, err := slow.Write([]byte{b}); err != nil {
					return
				}
			}
		}
	}()
	defer close(stop)
	for i, conn := range conns {
		NoError(t, conn.SetReadDeadline(time.Now().Add(stepDeadline)))
		end := (&raw{Conn: conn, framer: http2.NewFramer(conn, conn)}).drain()
		took := time.Since(begun)
		if !end.closedByPeer() || took < 8*time.Second || took > 30*time.Second {
			t.Errorf("connection %d ended after %v with %+v", i, took, end)
		}
		_ = conn.Close()
	}
	wantServed(t, s)
}
