// SPDX-License-Identifier: Apache-2.0

// Goal: our client side gets from a grpc-go server what grpc-go's own client would. Method: the
// program rpc_echo_client makes one call a run and prints what it got.

package rpclayer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"
)

// ours runs our client and returns the lines before the status, and the status.
func ours(t *testing.T, where string, words ...string) (lines []string, status string) {
	t.Helper()
	out, errs, code := Run(t, "", PeerBinary(t, "rpc_echo_client"), append([]string{where}, words...)...)
	if code != 0 {
		t.Fatalf("code %d, %s%s", code, out, errs)
	}
	lines = strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	last := len(lines) - 1
	return lines[:last], strings.TrimPrefix(lines[last], "status ")
}

func want(t *testing.T, lines []string, status string, wantLines []string, wantStatus string) {
	t.Helper()
	if strings.Join(lines, "|") != strings.Join(wantLines, "|") || status != wantStatus {
		t.Errorf("got %q and %q, want %q and %q", lines, status, wantLines, wantStatus)
	}
}

func TestOurClientMakesEveryKindOfCall(t *testing.T) {
	where, echo := startGoEcho(t)
	t.Run("unary", func(t *testing.T) {
		lines, status := ours(t, where, "unary", prefix+"Unary", "hello")
		want(t, lines, status, []string{"reply hello"}, "OK")
	})
	t.Run("big", func(t *testing.T) {
		for _, size := range []int{0, 65536, 4<<20 - 10} {
			lines, status := ours(t, where, "big", prefix+"Unary", fmt.Sprint(size))
			want(t, lines, status, []string{fmt.Sprintf("bytes %d", size)}, "OK")
		}
		_, status := ours(t, where, "big", prefix+"Unary", fmt.Sprint(4<<20+1))
		if !strings.HasPrefix(status, "ResourceExhausted ") {
			t.Errorf("too big: %q", status)
		}
	})
	t.Run("server stream", func(t *testing.T) {
		lines, status := ours(t, where, "stream", prefix+"ServerStream", "200 100000")
		if status != "OK" || len(lines) != 200 || lines[199] != "message 100000" {
			t.Errorf("%d lines, status %q", len(lines), status)
		}
		lines, status = ours(t, where, "stream", prefix+"ServerStream", "0 0")
		want(t, lines, status, nil, "OK")
	})
	t.Run("bidi", func(t *testing.T) {
		lines, status := ours(t, where, "bidi", prefix+"Bidi", "300", "5000")
		if status != "OK" || len(lines) != 300 || lines[299] != "message 5000" {
			t.Errorf("%d lines, status %q", len(lines), status)
		}
	})
	t.Run("client stream", func(t *testing.T) {
		lines, status := ours(t, where, "bidi", prefix+"Collect", "100", "100000")
		want(t, lines, status, []string{"message 12"}, "OK")
	})
	t.Run("metadata", func(t *testing.T) {
		lines, status := ours(t, where, "unary", prefix+"Metadata", "x-test", "5000", "x-test", "one", "x-test", "two")
		want(t, lines, status, []string{"reply one", "two", ""}, "OK")
	})
	t.Run("user agent and content type", func(t *testing.T) {
		lines, _ := ours(t, where, "unary", prefix+"Metadata", "content-type")
		if !strings.HasPrefix(lines[0], "reply application/grpc") {
			t.Errorf("content type %q", lines)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		lines, status := ours(t, where, "cancel", prefix+"ServerStream", "1000000 1000")
		if len(lines) != 1 || !strings.HasPrefix(status, "Canceled") && !strings.HasPrefix(status, "Cancelled") {
			t.Errorf("%d lines, status %q", len(lines), status)
		}
	})
	if n := echo.hanging.Load(); n != 0 {
		t.Errorf("%d calls still hang at the server", n)
	}
}

func TestOurClientReadsStatusesWithDetails(t *testing.T) {
	where, _ := startGoEcho(t)
	for code, name := range map[int]string{3: "InvalidArgument", 5: "NotFound", 7: "PermissionDenied", 14: "Unavailable", 16: "Unauthenticated"} {
		for _, text := range []string{"plain", "ünïcödé ✓ 100% of it"} {
			lines, status := ours(t, where, "unary", prefix+"Fail", fmt.Sprintf("%d %s", code, text))
			want(t, lines, status, nil, name+" "+text+" type.googleapis.com/google.protobuf.StringValue")
		}
	}
	_, status := ours(t, where, "unary", prefix+"None", "x")
	if !strings.HasPrefix(status, "Unimplemented ") {
		t.Errorf("unknown method: %q", status)
	}
}

func TestOurClientKeepsItsDeadlines(t *testing.T) {
	where, echo := startGoEcho(t)
	lines, status := ours(t, where, "unary", prefix+"Deadline", "", "5000")
	var left int
	if _, err := fmt.Sscanf(strings.Join(lines, ""), "reply %d", &left); err != nil || left > 5000 || left < 2000 || status != "OK" {
		t.Errorf("got %q, %q", lines, status)
	}
	start := time.Now()
	_, status = ours(t, where, "unary", prefix+"Hang", "", "300")
	if took := time.Since(start); !strings.HasPrefix(status, "DeadlineExceeded ") || took > 5*time.Second {
		t.Errorf("status %q after %v", status, took)
	}
	Eventually(t, CallDeadline, "the server knows", func() error {
		if n := echo.hanging.Load(); n != 0 {
			return fmt.Errorf("%d hang", n)
		}
		return nil
	})
}

func TestOurClientSaysWhyItCannotConnect(t *testing.T) {
	_, status := ours(t, "unix:/tmp/no-such-socket-of-steeple", "unary", prefix+"Unary", "x", "5000")
	if !strings.HasPrefix(status, "Unavailable ") || !strings.Contains(status, "no such file or directory") {
		t.Errorf("status %q", status)
	}
	_, status = ours(t, "tcp:127.0.0.1:1", "unary", prefix+"Unary", "x", "5000")
	if !strings.HasPrefix(status, "Unavailable ") || !strings.Contains(status, "connection refused") {
		t.Errorf("status %q", status)
	}
}

func TestOurClientAndOurServerAgree(t *testing.T) {
	where, _ := startOurs(t)
	lines, status := ours(t, where, "bidi", prefix+"Bidi", "300", "5000")
	if status != "OK" || len(lines) != 300 {
		t.Errorf("%d lines, status %q", len(lines), status)
	}
	lines, status = ours(t, where, "unary", prefix+"Fail", "7 ünïcödé")
	want(t, lines, status, nil, "PermissionDenied ünïcödé type.googleapis.com/google.protobuf.StringValue")
}
