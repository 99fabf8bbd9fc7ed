// SPDX-License-Identifier: Apache-2.0

// Workloads: this process itself as one, watched through go-spiffe, and copies of cmd/workload.

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/metadata"
)

// Visible bounds how long a change may take to reach a workload of a polling server and agent.
const Visible = 20 * time.Second

var buildWorkload struct {
	once sync.Once
	path string
	err  error
}

// WorkloadBinary copies the test workload to `dir/name`, so that path selectors tell copies apart.
// A name of more than one copy gets different bytes too, for the sha256 selector.
func WorkloadBinary(t testing.TB, dir, name string) string {
	t.Helper()
	buildWorkload.once.Do(func() {
		root, err := moduleRoot()
		if err != nil {
			buildWorkload.err = err
			return
		}
		out, err := os.MkdirTemp("", "workload")
		if err != nil {
			buildWorkload.err = err
			return
		}
		buildWorkload.path = filepath.Join(out, "workload")
		command := exec.Command("go", "build", "-o", buildWorkload.path, "./cmd/workload")
		command.Dir = root
		if output, err := command.CombinedOutput(); err != nil {
			buildWorkload.err = fmt.Errorf("%w: %s", err, output)
		}
	})
	NoError(t, buildWorkload.err)
	source, err := os.Open(buildWorkload.path)
	NoError(t, err)
	defer func() { _ = source.Close() }()
	path := filepath.Join(dir, name)
	target, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	NoError(t, err)
	_, err = io.Copy(target, source)
	NoError(t, err)
	_, err = target.WriteString(name)
	NoError(t, err)
	NoError(t, target.Close())
	return path
}

// Client is a go-spiffe client of the agent; this process is the workload.
func (a *Agent) Client(t testing.TB) *workloadapi.Client {
	t.Helper()
	client, err := workloadapi.New(Context(t), workloadapi.WithAddr(a.Addr()))
	NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Raw is a client of the generated code, which sends no header by itself.
func (a *Agent) Raw(t testing.TB) workload.SpiffeWorkloadAPIClient {
	t.Helper()
	return workload.NewSpiffeWorkloadAPIClient(a.Dial(t))
}

// WithHeader adds the header that every Workload API call must have.
func WithHeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true")
}

// X509Watch collects what a go-spiffe watcher of X.509 contexts is told.
type X509Watch struct {
	mu      sync.Mutex
	last    *workloadapi.X509Context
	updates int
	at      time.Time
	errs    []error
}

// OnX509ContextUpdate is called by go-spiffe.
func (w *X509Watch) OnX509ContextUpdate(c *workloadapi.X509Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.at = c, time.Now()
	w.updates++
}

// OnX509ContextWatchError is called by go-spiffe.
func (w *X509Watch) OnX509ContextWatchError(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

// Last is the newest context (nil before the first), the number of updates and when it came.
func (w *X509Watch) Last() (*workloadapi.X509Context, int, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.updates, w.at
}

// Errors are what the watcher was told so far.
func (w *X509Watch) Errors() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]error(nil), w.errs...)
}

// WatchX509 starts a go-spiffe watcher that lives until the end of the test.
func (a *Agent) WatchX509(t testing.TB) *X509Watch {
	t.Helper()
	w := &X509Watch{}
	ctx, cancel := context.WithCancel(context.Background())
	client := a.Client(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = client.WatchX509Context(ctx, w)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

// IDs are the identities of a context in their order, joined by spaces, without the trust domain.
func IDs(c *workloadapi.X509Context) string {
	if c == nil {
		return ""
	}
	var ids []string
	for _, svid := range c.SVIDs {
		ids = append(ids, svid.ID.Path())
	}
	return strings.Join(ids, " ")
}

// WaitIDs waits until the watcher's newest context has these identities.
func (w *X509Watch) WaitIDs(t testing.TB, want string) *workloadapi.X509Context {
	t.Helper()
	var result *workloadapi.X509Context
	Eventually(t, Visible, "the workload is "+want, func() error {
		last, _, _ := w.Last()
		if got := IDs(last); got != want {
			return fmt.Errorf("it is %q, errors %v", got, errors.Join(w.Errors()...))
		}
		result = last
		return nil
	})
	return result
}

// WaitFetch fetches until the agent answers with these identities.
func (a *Agent) WaitFetch(t testing.TB, want string) *workloadapi.X509Context {
	t.Helper()
	client := a.Client(t)
	var result *workloadapi.X509Context
	Eventually(t, Visible, "a fetch returns "+want, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), CallDeadline)
		defer cancel()
		got, err := client.FetchX509Context(ctx)
		if err != nil {
			return err
		}
		if IDs(got) != want {
			return fmt.Errorf("it returns %q", IDs(got))
		}
		result = got
		return nil
	})
	return result
}
