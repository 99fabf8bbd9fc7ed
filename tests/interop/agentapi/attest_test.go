// SPDX-License-Identifier: Apache-2.0

// Goal: nodes are attested exactly as their attestor demands, once per join token, and what is
// wrong is refused with the reference's codes and words. Method: AttestAgent spoken by hand.

package agentapi

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const tokenGone = "failed to attest: join token does not exist or has already been used"

func getAgent(t *testing.T, s *Server, id string) *types.Agent {
	t.Helper()
	agent, err := s.Agents(t).GetAgent(Context(t), &agentv1.GetAgentRequest{Id: ProtoID(id)})
	NoError(t, err)
	return agent
}

func TestAJoinTokenAttestsItsAgent(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{"agent_ttl": `"30m"`}})
	token := s.JoinToken(t, "")
	key := NewKey(t)
	result, err := Attest(Context(t), s.Dial(t, nil), AttestRequest("join_token", []byte(token), CSR(t, key, nil)), nil)
	NoError(t, err)
	id := ID("/spire/agent/join_token/" + token)
	if IDString(result.Svid.Id) != id || result.Reattestable {
		t.Errorf("result is %v", result)
	}
	agent := NewIdentity(t, result.Svid.CertChain, key)
	leaf := agent.SVID.Certificates[0]
	if agent.SVID.ID.String() != id {
		t.Errorf("the certificate is for %s", agent.SVID.ID)
	}
	if leaf.NotAfter.Unix() != result.Svid.ExpiresAt {
		t.Errorf("the certificate ends at %v, the response says %d", leaf.NotAfter, result.Svid.ExpiresAt)
	}
	if left := time.Until(leaf.NotAfter); left > 30*time.Minute+time.Second || left < 28*time.Minute {
		t.Errorf("the certificate lives for %v, agent_ttl is 30m", left)
	}
	stored := getAgent(t, s, id)
	if stored.AttestationType != "join_token" || stored.CanReattest || stored.Banned || len(stored.Selectors) != 0 ||
		stored.X509SvidSerialNumber != leaf.SerialNumber.String() || stored.X509SvidExpiresAt != leaf.NotAfter.Unix() {
		t.Errorf("stored agent is %v", stored)
	}
}

func TestAJoinTokenIsSpentOnceUnder100ConcurrentTries(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	const tries, rounds = 100, 3
	for range rounds {
		token := s.JoinToken(t, "")
		conn := s.Dial(t, nil)
		first := AttestRequest("join_token", []byte(token), CSR(t, NewKey(t), nil))
		ctx := ContextFor(t, 60*time.Second)
		errs := make([]error, tries)
		start := make(chan struct{})
		var group sync.WaitGroup
		for i := range tries {
			group.Go(func() {
				<-start
				_, errs[i] = Attest(ctx, conn, first, nil)
			})
		}
		close(start)
		group.Wait()
		winners := 0
		for _, err := range errs {
			switch {
			case err == nil:
				winners++
			case Reference():
				// Its losers may also meet the spent token while deleting it: Internal.
			default:
				WantStatus(t, err, codes.InvalidArgument, tokenGone)
			}
		}
		if winners != 1 {
			t.Errorf("%d attestations by one token succeeded, want 1", winners)
		}
	}
}

func TestJoinTokensThatAreUnknownSpentOrExpiredAreRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	conn := s.Dial(t, nil)
	try := func(token string) error {
		_, err := Attest(Context(t), conn, AttestRequest("join_token", []byte(token), CSR(t, NewKey(t), nil)), nil)
		return err
	}
	WantStatus(t, try("none"), codes.InvalidArgument, tokenGone)
	token := s.JoinToken(t, "")
	NoError(t, try(token))
	WantStatus(t, try(token), codes.InvalidArgument, tokenGone)

	short, err := s.Agents(t).CreateJoinToken(Context(t), &agentv1.CreateJoinTokenRequest{Ttl: 1})
	NoError(t, err)
	// The clock has to pass the token's end; until then nothing may spend it.
	Eventually(t, 5*time.Second, "the token has expired", func() error {
		if now := time.Now(); now.Unix() <= short.ExpiresAt {
			return fmt.Errorf("it is %v", now)
		}
		return nil
	})
	WantStatus(t, try(short.Value), codes.InvalidArgument, "join token")
}

func TestJoinTokensAreMadeAsAsked(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	agents := s.Agents(t)
	before := time.Now().Unix()
	token, err := agents.CreateJoinToken(Context(t), &agentv1.CreateJoinTokenRequest{Ttl: 100, Token: "my-token"})
	NoError(t, err)
	if token.Value != "my-token" || token.ExpiresAt < before+99 || token.ExpiresAt > time.Now().Unix()+101 {
		t.Errorf("token is %v", token)
	}
	token, err = agents.CreateJoinToken(Context(t), &agentv1.CreateJoinTokenRequest{Ttl: 1})
	NoError(t, err)
	if len(token.Value) != 36 || token.Value[14] != '4' {
		t.Errorf("token %q is no UUID of version 4", token.Value)
	}
	cases := []struct {
		name    string
		request *agentv1.CreateJoinTokenRequest
		message string
	}{
		{"no ttl", &agentv1.CreateJoinTokenRequest{}, "ttl is required, you must provide one"},
		{"negative ttl", &agentv1.CreateJoinTokenRequest{Ttl: -1}, "ttl is required, you must provide one"},
		{"foreign agent id", &agentv1.CreateJoinTokenRequest{Ttl: 1, AgentId: ProtoID("spiffe://other.test/x")},
			"invalid agent ID: "},
		{"reserved agent id", &agentv1.CreateJoinTokenRequest{Ttl: 1, AgentId: ProtoID(ID("/spire/agent/x"))},
			"invalid agent ID: "},
		{"agent id without path", &agentv1.CreateJoinTokenRequest{Ttl: 1, AgentId: ProtoID(ID(""))},
			"invalid agent ID: "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := agents.CreateJoinToken(Context(t), c.request)
			WantStatus(t, err, codes.InvalidArgument, c.message)
		})
	}
	t.Run("the same token twice", func(t *testing.T) {
		_, err := agents.CreateJoinToken(Context(t), &agentv1.CreateJoinTokenRequest{Ttl: 1, Token: "my-token"})
		if err == nil {
			t.Error("made twice")
		}
	})
}

func TestMalformedAttestationsAreRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	conn := s.Dial(t, nil)
	csr := CSR(t, NewKey(t), nil)
	params := func(change func(*agentv1.AttestAgentRequest_Params)) *agentv1.AttestAgentRequest {
		request := AttestRequest("join_token", []byte("x"), csr)
		change(request.GetParams())
		return request
	}
	type P = agentv1.AttestAgentRequest_Params
	cases := []struct {
		name    string
		request *agentv1.AttestAgentRequest
		message string
	}{
		{"nothing", &agentv1.AttestAgentRequest{}, "malformed param: missing params"},
		{"a challenge response first", &agentv1.AttestAgentRequest{
			Step: &agentv1.AttestAgentRequest_ChallengeResponse{ChallengeResponse: []byte("x")}},
			"malformed param: missing params"},
		{"no data", params(func(p *P) { p.Data = nil }), "malformed param: missing attestation data"},
		{"no parameters", params(func(p *P) { p.Params = nil }), "malformed param: missing X509-SVID parameters"},
		{"no csr", params(func(p *P) { p.Params.Csr = nil }), "malformed param: missing CSR"},
		{"no type", params(func(p *P) { p.Data.Type = "" }), "malformed param: missing attestation data type"},
		{"no payload", params(func(p *P) { p.Data.Payload = nil }), "malformed param: missing attestation data payload"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Attest(Context(t), conn, c.request, nil)
			WantStatus(t, err, codes.InvalidArgument, c.message)
		})
	}
	t.Run("an attestor that is not configured", func(t *testing.T) {
		_, err := Attest(Context(t), conn, AttestRequest("x509pop", []byte("{}"), csr), nil)
		WantStatus(t, err, codes.FailedPrecondition,
			`error getting node attestor: could not find node attestor type "x509pop"`)
	})
	t.Run("a csr that is none", func(t *testing.T) {
		_, err := Attest(Context(t), conn, AttestRequest("join_token", []byte(s.JoinToken(t, "")), []byte("no csr")), nil)
		WantStatus(t, err, codes.InvalidArgument, "failed to parse CSR")
	})
	t.Run("a stream that is closed at once", func(t *testing.T) {
		stream, err := agentv1.NewAgentClient(conn).AttestAgent(Context(t))
		NoError(t, err)
		NoError(t, stream.CloseSend())
		_, err = stream.Recv()
		WantStatus(t, err, codes.InvalidArgument, "failed to receive request from stream")
	})
}

func TestX509PopAttestsByProofOfTheKey(t *testing.T) {
	authority := NewAuthority(t, "nodes")
	s := StartServer(t, ServerOptions{NodeCA: authority})
	for _, rsaKey := range []bool{false, true} {
		t.Run(fmt.Sprintf("rsa %v", rsaKey), func(t *testing.T) {
			node := authority.Issue(t, "node-1", rsaKey, x509.KeyUsageDigitalSignature,
				"x509pop://"+TD+"/cluster/blue", "x509pop://other.test/not/this")
			agent := s.NewPopAgent(t, node)
			id := ID("/spire/agent/x509pop/" + hexSha1(node.Cert.Raw))
			if agent.SVID.ID.String() != id {
				t.Errorf("the agent is %s, want %s", agent.SVID.ID, id)
			}
			stored := getAgent(t, s, id)
			if !stored.CanReattest || stored.AttestationType != "x509pop" {
				t.Errorf("stored agent is %v", stored)
			}
			want := map[string]bool{
				"subject:cn:node-1":                                          true,
				"ca:fingerprint:" + hexSha1(authority.Cert.Raw):              true,
				"serialnumber:" + hex.EncodeToString(serialBytes(node.Cert)): true,
				"san:cluster:blue":                                           true,
			}
			for _, selector := range stored.Selectors {
				if selector.Type != "x509pop" || !want[selector.Value] {
					t.Errorf("unexpected selector %v", selector)
				}
				delete(want, selector.Value)
			}
			for selector := range want {
				t.Errorf("no selector %s", selector)
			}
			// Again: the same agent, another certificate.
			again := s.NewPopAgent(t, node)
			if again.SVID.ID != agent.SVID.ID {
				t.Errorf("attested again as %s", again.SVID.ID)
			}
			if got := getAgent(t, s, id).X509SvidSerialNumber; got != again.SVID.Certificates[0].SerialNumber.String() {
				t.Errorf("the serial number is still %s", got)
			}
		})
	}
}

func TestX509PopRefusesWhatItCannotTrust(t *testing.T) {
	authority, stranger := NewAuthority(t, "nodes"), NewAuthority(t, "strangers")
	s := StartServer(t, ServerOptions{NodeCA: authority})
	conn := s.Dial(t, nil)
	node := authority.Issue(t, "node-1", false, x509.KeyUsageDigitalSignature)
	other := authority.Issue(t, "node-2", false, x509.KeyUsageDigitalSignature)
	try := func(payload []byte, answer func([]byte) []byte) error {
		_, err := Attest(Context(t), conn, AttestRequest("x509pop", payload, CSR(t, NewKey(t), nil)), answer)
		return err
	}
	t.Run("a challenge answered with another key", func(t *testing.T) {
		err := try(node.Payload(t), func(c []byte) []byte { return other.Answer(t, c) })
		WantStatus(t, err, codes.PermissionDenied, "challenge response verification failed")
	})
	t.Run("the answer to another challenge", func(t *testing.T) {
		var old []byte
		NoError(t, try(node.Payload(t), func(c []byte) []byte { old = node.Answer(t, c); return old }))
		err := try(node.Payload(t), func([]byte) []byte { return old })
		WantStatus(t, err, codes.PermissionDenied, "challenge response verification failed")
	})
	t.Run("an answer that is no JSON", func(t *testing.T) {
		err := try(node.Payload(t), func([]byte) []byte { return []byte("nonsense") })
		WantStatus(t, err, codes.InvalidArgument, "unable to unmarshal challenge response")
	})
	t.Run("an empty answer", func(t *testing.T) {
		if err := try(node.Payload(t), func([]byte) []byte { return []byte("{}") }); status.Code(err) != codes.PermissionDenied {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a certificate of a stranger", func(t *testing.T) {
		err := try(stranger.Issue(t, "x", false, x509.KeyUsageDigitalSignature).Payload(t), nil)
		WantStatus(t, err, codes.PermissionDenied, "certificate verification failed")
	})
	t.Run("a certificate that may not sign", func(t *testing.T) {
		err := try(authority.Issue(t, "x", false, x509.KeyUsageKeyEncipherment).Payload(t), nil)
		if err == nil || !strings.Contains(err.Error(), "certificate not intended for digital signature use") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no certificate", func(t *testing.T) {
		WantStatus(t, try([]byte(`{}`), nil), codes.InvalidArgument, "no certificate to attest")
	})
	t.Run("a payload that is no JSON", func(t *testing.T) {
		WantStatus(t, try([]byte(`{`), nil), codes.InvalidArgument, "failed to unmarshal data")
	})
	t.Run("a certificate that is none", func(t *testing.T) {
		WantStatus(t, try([]byte(`{"certificates":["AAAA"]}`), nil), codes.InvalidArgument,
			"unable to parse leaf certificate")
	})
	t.Run("too many intermediates", func(t *testing.T) {
		payload := Must[[]byte](t)(json.Marshal(map[string]any{
			"certificates": bytesTimes(node.Cert.Raw, 6)}))
		WantStatus(t, try(payload, nil), codes.InvalidArgument, "too many intermediate certificates")
	})
	t.Run("a stream that ends instead of an answer", func(t *testing.T) {
		stream, err := agentv1.NewAgentClient(conn).AttestAgent(Context(t))
		NoError(t, err)
		NoError(t, stream.Send(AttestRequest("x509pop", node.Payload(t), CSR(t, NewKey(t), nil))))
		_, err = stream.Recv()
		NoError(t, err)
		NoError(t, stream.CloseSend())
		if _, err = stream.Recv(); err == nil {
			t.Error("attested without an answer")
		}
	})
	t.Run("the csr's key is what gets certified", func(t *testing.T) {
		key := NewKey(t)
		result, err := Attest(Context(t), conn, AttestRequest("x509pop", node.Payload(t), CSR(t, key, nil)),
			func(c []byte) []byte { return node.Answer(t, c) })
		NoError(t, err)
		leaf := Must[*x509.Certificate](t)(x509.ParseCertificate(result.Svid.CertChain[0]))
		if !key.PublicKey.Equal(leaf.PublicKey) {
			t.Error("another key was certified")
		}
		if _, isRSA := leaf.PublicKey.(*rsa.PublicKey); isRSA {
			t.Error("an RSA key was certified")
		}
	})
}

func TestABannedAgentCannotAttest(t *testing.T) {
	authority := NewAuthority(t, "nodes")
	s := StartServer(t, ServerOptions{NodeCA: authority})
	node := authority.Issue(t, "node-1", false, x509.KeyUsageDigitalSignature)
	agent := s.NewPopAgent(t, node)
	_, err := s.Agents(t).BanAgent(Context(t), &agentv1.BanAgentRequest{Id: ProtoID(agent.SVID.ID.String())})
	NoError(t, err)
	_, err = Attest(Context(t), s.Dial(t, nil), AttestRequest("x509pop", node.Payload(t), CSR(t, NewKey(t), nil)),
		func(c []byte) []byte { return node.Answer(t, c) })
	WantStatus(t, err, codes.PermissionDenied, "failed to attest: agent is banned")
}

// A node that stops in the middle must not hold anything up.
func TestAttestationsThatHangDoNotHinderOthers(t *testing.T) {
	authority := NewAuthority(t, "nodes")
	s := StartServer(t, ServerOptions{NodeCA: authority})
	conn := s.Dial(t, nil)
	node := authority.Issue(t, "node-1", false, x509.KeyUsageDigitalSignature)
	ctx, cancel := context.WithTimeout(context.Background(), CallDeadline)
	defer cancel()
	for range 20 {
		stream, err := agentv1.NewAgentClient(conn).AttestAgent(ctx)
		NoError(t, err)
		NoError(t, stream.Send(AttestRequest("x509pop", node.Payload(t), CSR(t, NewKey(t), nil))))
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	s.NewPopAgent(t, node)
}

func hexSha1(data []byte) string {
	sum := sha1.Sum(data)
	return hex.EncodeToString(sum[:])
}

func serialBytes(cert *x509.Certificate) []byte { return cert.SerialNumber.Bytes() }

func bytesTimes(data []byte, n int) [][]byte {
	var result [][]byte
	for range n {
		result = append(result, bytes.Clone(data))
	}
	return result
}
