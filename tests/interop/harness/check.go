// SPDX-License-Identifier: Apache-2.0

// The few words that the tests are written in: wait for a condition, demand a status.

package harness

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// CallDeadline bounds every single call that a test makes.
const CallDeadline = 20 * time.Second

// Context has the deadline of one call, or of a handful.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), CallDeadline)
	t.Cleanup(cancel)
	return ctx
}

// ContextFor has a deadline of its own.
func ContextFor(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// Eventually looks again and again until `f` returns nil; at the deadline its last error is shown.
func Eventually(t testing.TB, deadline time.Duration, what string, f func() error) {
	t.Helper()
	end := time.Now().Add(deadline)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s: %v", deadline, what, err)
		}
		time.Sleep(pollInterval)
	}
}

// NoError ends the test on an error.
func NoError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// Must returns the value or ends the test.
func Must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return value
	}
}

// WantStatus demands a call's refusal: its code, and a part of its message (empty: any).
func WantStatus(t testing.TB, err error, code codes.Code, message string) {
	t.Helper()
	if err == nil {
		t.Fatalf("the call succeeded, want %v %q", code, message)
	}
	st := status.Convert(err)
	if st.Code() != code || !strings.Contains(st.Message(), message) {
		t.Fatalf("got %v %q, want %v %q", st.Code(), st.Message(), code, message)
	}
}

// WantItem demands the status of one item of a batch.
func WantItem(t testing.TB, got *types.Status, code codes.Code, message string) {
	t.Helper()
	if codes.Code(got.GetCode()) != code || !strings.Contains(got.GetMessage(), message) {
		t.Fatalf("got item status %v %q, want %v %q",
			codes.Code(got.GetCode()), got.GetMessage(), code, message)
	}
}

// Reason is the detail of a PermissionDenied about an agent; ok is false when it has none.
func Reason(err error) (reason types.PermissionDeniedDetails_Reason, ok bool) {
	for _, detail := range status.Convert(err).Details() {
		if d, is := detail.(*types.PermissionDeniedDetails); is {
			return d.Reason, true
		}
	}
	return 0, false
}

// WriteFile writes a private file of the test and returns its path.
func WriteFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
