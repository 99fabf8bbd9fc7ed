// SPDX-License-Identifier: Apache-2.0

// Inputs that do not parse, at the doors of real processes: configuration and stored files at start,
// requests, certificate requests, tokens and SPIFFE IDs afterwards. Each gets its refusal; the process
// stays and does not grow. That each kind of mistake gets its own words is tested where it is made
// (entryapi, svidapi, agentapi, workloadapi); here it is every prefix, and the sheer number.

package badinput

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	. "github.com/steeple/steeple/tests/interop/harness"
)

// What a thousand refused requests may leave behind.
const requestsKiB = 16 << 10

func TestMalformedConfigurationIsRefusedAtStart(t *testing.T) {
	OursOnly(t, "its words for what it cannot parse, and no limits of size and depth")
	dir := TempDir(t)
	for name, c := range map[string]struct{ text, message string }{
		"not closed":     {"server {", "unable to decode configuration"},
		"binary":         {"\x7fELF\x00\xff\xfe", "unable to decode configuration"},
		"a NUL":          {"server { trust_domain = \"a\x00b\" }", "unable to decode configuration"},
		"JSON, cut":      {`{"server": {"trust_domain": 5`, "parse error"},
		"nested":         {strings.Repeat("a {", 100_000), "nested deeper than 32"},
		"nested in JSON": {`{"a":` + strings.Repeat(`[`, 100_000), "nested deeper than 32"},
		"too large":      {"#" + strings.Repeat("x", 5<<20), "larger than 4194304 bytes"},
		"nothing":        {"", "section must be configured"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "bad.conf")
			NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			for _, program := range []string{"spire-server", "spire-agent"} {
				out, errs, code := Run(t, "", Binary(t, program), "run", "-config", path)
				if code != 1 || !strings.Contains(out+errs, c.message) || len(out+errs) > 1000 {
					t.Errorf("%s ended with %d and said %.300q", program, code, out+errs)
				}
			}
		})
	}
}

// A disk that lost a block: the daemon says which file and ends; it never makes a new identity over it.
func TestDamagedFilesEndTheStartAndAreLeftAlone(t *testing.T) {
	OursOnly(t, "it starts over what it cannot read, or dies in other words")
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	a.Process.Stop(t)
	s.Process.Stop(t)
	for _, c := range []struct {
		program, config, file string
	}{
		{"spire-server", s.ConfigPath, filepath.Join(s.Dir, "data", "keys.json")},
		{"spire-server", s.ConfigPath, filepath.Join(s.Dir, "data", "datastore.sqlite3")},
		{"spire-agent", a.ConfigPath, filepath.Join(a.DataDir, "keys.json")},
		{"spire-agent", a.ConfigPath, filepath.Join(a.DataDir, "agent-data.json")},
	} {
		t.Run(c.program+" "+filepath.Base(c.file), func(t *testing.T) {
			good := Must[[]byte](t)(os.ReadFile(c.file))
			bad := append([]byte("\x00damaged\x00"), good[:len(good)/2]...)
			NoError(t, os.WriteFile(c.file, bad, 0o600))
			out, errs, code := Run(t, "", Binary(t, c.program), "run", "-config", c.config)
			if code != 1 {
				t.Errorf("%s ended with %d and said %.1000q", c.program, code, out+errs)
			}
			if now := Must[[]byte](t)(os.ReadFile(c.file)); string(now) != string(bad) {
				t.Error("the file was written to")
			}
			NoError(t, os.WriteFile(c.file, good, 0o600))
		})
	}
	s.Start(t)
	a.Start(t, true)
}

func TestRequestsThatDoNotParseAreRefusedByEveryMethod(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	local := s.Admin(t)
	before := rssKiB(t, s.Process)
	random := rand.New(rand.NewPCG(1, 2))
	junk := make([]byte, 4000)
	for i := range junk {
		junk[i] = byte(random.Uint32())
	}
	for _, method := range []string{"agent.v1.Agent/BanAgent", "agent.v1.Agent/CountAgents",
		"agent.v1.Agent/CreateJoinToken", "agent.v1.Agent/DeleteAgent", "agent.v1.Agent/GetAgent",
		"agent.v1.Agent/ListAgents", "bundle.v1.Bundle/AppendBundle",
		"bundle.v1.Bundle/BatchSetFederatedBundle", "bundle.v1.Bundle/ListFederatedBundles",
		"entry.v1.Entry/BatchCreateEntry", "entry.v1.Entry/BatchDeleteEntry", "entry.v1.Entry/BatchUpdateEntry",
		"entry.v1.Entry/GetEntry", "entry.v1.Entry/ListEntries", "svid.v1.SVID/MintJWTSVID",
		"svid.v1.SVID/MintX509SVID", "logger.v1.Logger/SetLogLevel"} {
		for _, bytes := range [][]byte{{0xff, 0xff, 0xff}, {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, junk} {
			_, err := RawCall(Context(t), local, "/spire.api.server."+method, bytes)
			if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "unmarshal") {
				t.Errorf("%s answered %v", method, err)
			}
		}
	}
	wantServed(t, s)
	wantGrowthBelow(t, s.Process, before, requestsKiB)
}

// A library below used to write a line to standard error for each: any client could fill the log.
func TestTextsThatAreNotUtf8WriteNothingToTheLog(t *testing.T) {
	s := StartServer(t, ServerOptions{Settings: map[string]string{"log_level": `"INFO"`}})
	mark := s.Process.Log.Len()
	for range 100 {
		_, err := RawCall(Context(t), s.Admin(t), "/spire.api.server.agent.v1.Agent/CreateJoinToken",
			[]byte{0x12, 0x01, 0xff})
		WantStatus(t, err, codes.Internal, "grpc: error unmarshalling request")
	}
	wantServed(t, s)
	if log := s.Process.Log.After(mark); strings.Contains(log, "UTF-8") {
		t.Errorf("the log has %.300q", log)
	}
}

// Every prefix of a request, and one with each byte changed, to the mint and to attestation.
func TestDamagedCertificateRequestsAreRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	good := CSR(t, NewKey(t), nil, ID("/workload"))
	mint := func(csr []byte) error {
		_, err := s.Svids(t).MintX509SVID(Context(t), &svidv1.MintX509SVIDRequest{Csr: csr})
		return err
	}
	NoError(t, mint(good))
	before := rssKiB(t, s.Process)
	for i := range good {
		WantStatus(t, mint(good[:i]), codes.InvalidArgument, "CSR")
		changed := append([]byte(nil), good...)
		changed[i] ^= 0x41
		WantStatus(t, mint(changed), codes.InvalidArgument, "CSR")
	}
	WantStatus(t, mint(make([]byte, 1<<20)), codes.InvalidArgument, "malformed CSR")
	conn := s.Dial(t, nil)
	for i := 0; i < len(good); i += 10 {
		_, err := Attest(Context(t), conn, AttestRequest("join_token", []byte("none"), good[:i]), nil)
		WantStatus(t, err, codes.InvalidArgument, "")
	}
	wantServed(t, s)
	wantGrowthBelow(t, s.Process, before, requestsKiB)
}

// Prefixes of a token, and tokens with a character changed, to the agent.
func TestDamagedTokensAreRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{})
	s.Create(t, NewEntry(ID("/one"), a.ID, MySelector()))
	a.WaitFetch(t, "/one")
	svid, err := a.Client(t).FetchJWTSVID(Context(t), jwtsvid.Params{Audience: "a"})
	NoError(t, err)
	good := svid.Marshal()
	raw := a.Raw(t)
	validate := func(token string) error {
		_, err := raw.ValidateJWTSVID(WithHeader(Context(t)),
			&workload.ValidateJWTSVIDRequest{Audience: "a", Svid: token})
		return err
	}
	NoError(t, validate(good))
	before := rssKiB(t, a.Process)
	// Each call hashes this program for its selectors, which takes its time: not every place.
	for i := 0; i < len(good); i += 11 {
		WantStatus(t, validate(good[:i]), codes.InvalidArgument, "")
		// The next character of the alphabet, so that a change of unused bits shows, too.
		changed := good[:i] + string(good[i]^1) + good[i+1:]
		WantStatus(t, validate(changed), codes.InvalidArgument, "")
	}
	for _, large := range []string{strings.Repeat("A", 3<<20), strings.Repeat(".", 3<<20), good + strings.Repeat("A", 1<<20)} {
		WantStatus(t, validate(large), codes.InvalidArgument, "")
	}
	a.WaitFetch(t, "/one")
	wantGrowthBelow(t, a.Process, before, requestsKiB)
}

// SPIFFE IDs with a second spelling, or none, wherever a request carries one.
func TestMalformedIdsAreRefused(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	before := rssKiB(t, s.Process)
	for _, path := range []string{"no-slash", "/", "/a/", "//a", "/a/../b", "/a/./b", "/a%2fb", "/ä", "/a b", "/a?b",
		"/a#b", "/a\x00b", "/a\nb", "/" + strings.Repeat("x", 3000)} {
		id := ProtoID(ID("/x"))
		id.Path = path
		e := NewEntry(ID("/x"), ID("/parent"), "unix:uid:1")
		e.SpiffeId = id
		result, err := s.Entries(t).BatchCreateEntry(Context(t), &entryv1.BatchCreateEntryRequest{Entries: []*types.Entry{e}})
		NoError(t, err)
		WantItem(t, result.Results[0].Status, codes.InvalidArgument, "")
		_, err = s.Agents(t).GetAgent(Context(t), &agentv1.GetAgentRequest{Id: id})
		WantStatus(t, err, codes.InvalidArgument, "")
		_, err = s.Svids(t).MintJWTSVID(Context(t), &svidv1.MintJWTSVIDRequest{Id: id, Audience: []string{"a"}})
		WantStatus(t, err, codes.InvalidArgument, "")
	}
	for _, domain := range []string{"", "UPPER.test", "a b", "a/b", "a:1", "user@a", strings.Repeat("x", 256)} {
		id := ProtoID(ID("/x"))
		id.TrustDomain = domain
		_, err := s.Agents(t).GetAgent(Context(t), &agentv1.GetAgentRequest{Id: id})
		WantStatus(t, err, codes.InvalidArgument, "")
	}
	wantServed(t, s)
	wantGrowthBelow(t, s.Process, before, requestsKiB)
}
