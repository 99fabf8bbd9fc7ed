// SPDX-License-Identifier: Apache-2.0

// Goal: the limits of surface 4.3: per client address on TCP, waiting instead of rejecting as long
// as the call's deadline allows, and none on the admin socket.

package ratelimits

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// attest tries a token that does not exist: the limit comes first.
func attest(ctx context.Context, t *testing.T, conn grpc.ClientConnInterface) error {
	_, err := Attest(ctx, conn, AttestRequest("join_token", []byte("none"), CSR(t, NewKey(t), nil)), nil)
	return err
}

func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestAttestationIsLimitedToOneASecondPerAddress(t *testing.T) {
	s := StartServer(t, ServerOptions{LimitAttestation: true})
	conn := s.Dial(t, nil)
	t.Run("what exceeds it waits", func(t *testing.T) {
		var codesSeen []codes.Code
		elapsed := took(func() {
			for range 3 {
				codesSeen = append(codesSeen, status.Code(attest(Context(t), t, conn)))
			}
		})
		for _, code := range codesSeen {
			if code != codes.InvalidArgument {
				t.Errorf("codes %v: each call should be judged, after its wait", codesSeen)
			}
		}
		if elapsed < 1700*time.Millisecond || elapsed > 10*time.Second {
			t.Errorf("3 calls took %v, want about 2 s", elapsed)
		}
	})
	t.Run("what cannot be served within its deadline is refused", func(t *testing.T) {
		var group sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
				defer cancel()
				errs[i] = attest(ctx, t, conn)
			})
		}
		group.Wait()
		refused := 0
		for _, err := range errs {
			switch code := status.Code(err); code {
			case codes.ResourceExhausted, codes.DeadlineExceeded:
				refused++
			case codes.InvalidArgument:
			default:
				t.Errorf("got %v", err)
			}
		}
		if refused < 3 {
			t.Errorf("%d of 6 calls were refused; at most 2 or 3 fit into 1.5 s", refused)
		}
	})
	t.Run("another address has its own", func(t *testing.T) {
		other := dialFrom(t, s, "127.0.0.2")
		elapsed := took(func() { WantStatus(t, attest(Context(t), t, other), codes.InvalidArgument, "") })
		if elapsed > 900*time.Millisecond {
			t.Errorf("it waited %v", elapsed)
		}
	})
	t.Run("the admin socket has none", func(t *testing.T) {
		elapsed := took(func() {
			for range 20 {
				WantStatus(t, attest(Context(t), t, s.Admin(t)), codes.InvalidArgument, "")
			}
		})
		if elapsed > 5*time.Second {
			t.Errorf("20 calls took %v", elapsed)
		}
	})
}

func dialFrom(t *testing.T, s *Server, address string) *grpc.ClientConn {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := grpc.NewClient("passthrough:///"+s.Address(),
		grpc.WithTransportCredentials(credentials.NewTLS(s.ClientTLS(t, nil))),
		grpc.WithContextDialer(func(ctx context.Context, target string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", target)
		}))
	NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func unknownEntries(n int) *svidv1.BatchNewX509SVIDRequest {
	request := &svidv1.BatchNewX509SVIDRequest{}
	for range n {
		request.Params = append(request.Params, &svidv1.NewX509SVIDParams{EntryId: "none", Csr: []byte("x")})
	}
	return request
}

func TestSigningIsLimitedByTheNumberOfItems(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	client := svidv1.NewSVIDClient(s.Dial(t, s.NewAgent(t)))
	_, err := client.BatchNewX509SVID(Context(t), unknownEntries(501))
	WantStatus(t, err, codes.ResourceExhausted,
		"rejecting request due to certificate signing rate limiting: rate (501) exceeds burst size (500)")
	elapsed := took(func() {
		for range 3 {
			response, err := client.BatchNewX509SVID(Context(t), unknownEntries(500))
			NoError(t, err)
			WantItem(t, response.Results[499].Status, codes.NotFound, "")
		}
	})
	if elapsed < 1700*time.Millisecond || elapsed > 10*time.Second {
		t.Errorf("3 batches of 500 took %v, want about 2 s", elapsed)
	}
}

func TestLimitsCanBeSwitchedOff(t *testing.T) {
	s := StartServer(t, ServerOptions{
		LimitAttestation: true, // The block below says both.
		Blocks:           "  ratelimit {\n    attestation = false\n    signing = false\n  }",
	})
	conn := s.Dial(t, nil)
	client := svidv1.NewSVIDClient(s.Dial(t, s.NewAgent(t)))
	elapsed := took(func() {
		for range 10 {
			WantStatus(t, attest(Context(t), t, conn), codes.InvalidArgument, "")
			_, err := client.BatchNewX509SVID(Context(t), unknownEntries(501))
			NoError(t, err)
		}
	})
	if elapsed > 5*time.Second {
		t.Errorf("it took %v", elapsed)
	}
}

func TestPostStatusIsLimitedToTenASecond(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	client := agentv1.NewAgentClient(s.Dial(t, s.NewAgent(t)))
	elapsed := took(func() {
		for range 25 {
			_, err := client.PostStatus(Context(t), &agentv1.PostStatusRequest{})
			NoError(t, err)
		}
	})
	if elapsed < 1200*time.Millisecond || elapsed > 10*time.Second {
		t.Errorf("25 calls took %v, want about 1.5 s", elapsed)
	}
}
