// SPDX-License-Identifier: Apache-2.0

// Goal: our HTTP/2 is that of RFC 9113, as h2spec sees it. gRPC servers do not pass all of it, by
// design: the cases that fail are named here with the reason, and any other failure is ours. (The
// reference's grpc-go fails 26 of the 146; what it fails is printed, not judged.)

package rpclayer

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"
)

const (
	noBody = "h2spec wants a DATA frame; a gRPC server refuses a plain GET with headers alone"
	closed = "frames on a stream that is closed are ignored: closed streams are not remembered"
	early  = "the answer leaves with the request's headers, so the stream is over before the fault comes"
)

var expected = map[string]string{
	"generic/2/2": noBody, "generic/2/3": noBody,
	"http2/5.1/8": closed, "http2/5.1/9": closed, "http2/5.1/11": closed, "http2/5.1/12": closed,
	"http2/5.1.1/2": closed,
	"http2/5.1/6":   early, // when the answer wins the race, as the next two
	"http2/6.9/2":   early, "http2/6.9.1/3": early,
	"http2/5.1.2/1": early, "http2/8.1.2.1/3": early, "http2/8.1.2.6/1": early,
}

// run returns the failed cases and how many there were of each outcome.
func run(t *testing.T, tool string, port int, options ...string) (failed map[string]string, counts map[string]int) {
	t.Helper()
	out, errs, code := Run(t, "", tool, append([]string{"-port", fmt.Sprint(port)}, options...)...)
	if code != 0 {
		t.Fatalf("h2spec ended with code %d: %s", code, errs)
	}
	failed, counts = map[string]string{}, map[string]int{}
	for _, line := range strings.Split(out, "\n") {
		fields := strings.SplitN(line, " ", 4)
		if len(fields) != 4 || fields[0] != "RESULT" {
			continue
		}
		counts[fields[1]]++
		if fields[1] == "fail" {
			failed[fields[2]] = fields[3]
		}
	}
	return failed, counts
}

func h2spec(t *testing.T, port int, options ...string) {
	t.Helper()
	tool := Tool(t, "h2spec")
	failed, counts := run(t, tool, port, options...)
	t.Logf("h2spec: %v", counts)
	if counts["pass"] < 100 {
		t.Errorf("only %d cases passed: was there a server at all?", counts["pass"])
	}
	var unexpected []string
	for id, what := range failed {
		if reason, known := expected[id]; known && !Reference() {
			t.Logf("fails as expected: %s %s (%s)", id, what, reason)
		} else {
			unexpected = append(unexpected, id)
		}
	}
	if Reference() {
		t.Logf("fails: %v", unexpected)
		return
	}
	// A case whose fault comes while the early answer is on its way may lose that race once; a fault
	// that is never seen is ours.
	for range 3 {
		if len(unexpected) == 0 {
			return
		}
		again, _ := run(t, tool, port, append(options, "-cases", strings.Join(unexpected, ","))...)
		unexpected = slices.DeleteFunc(unexpected, func(id string) bool { _, still := again[id]; return !still })
	}
	for _, id := range unexpected {
		t.Errorf("fails each time: %s %s", id, failed[id])
	}
}

func TestH2specAgainstTheRpcLayer(t *testing.T) {
	binary := PeerBinary(t, "rpc_echo_server")
	process := Start(t, TempDir(t), "rpc_echo_server", binary, "tcp:127.0.0.1:0")
	process.WaitLog(t, 0, "listening", CallDeadline)
	_, address, _ := strings.Cut(strings.TrimSpace(process.Log.String()), " ")
	_, port, err := net.SplitHostPort(address)
	NoError(t, err)
	var number int
	_, err = fmt.Sscan(port, &number)
	NoError(t, err)
	h2spec(t, number)
	if process.Ended() {
		t.Error("the server ended")
	}
}

func TestH2specAgainstTheServersTcpEndpoint(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	h2spec(t, s.Port, "-tls")
	s.WaitHealthy(t)
}
