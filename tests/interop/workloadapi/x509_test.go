// SPDX-License-Identifier: Apache-2.0

// Goal: a go-spiffe workload gets exactly its identities, in the order and with everything that
// belongs to them, and is told of each change without asking. Method: this test process is the
// workload, told apart from others by its user.

package workloadapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
)

func pair(t *testing.T) (*Server, *Agent) {
	t.Helper()
	s := StartServer(t, ServerOptions{})
	return s, StartAgent(t, s, AgentOptions{})
}

func entry(a *Agent, id, path string, selectors ...string) *types.Entry {
	if len(selectors) == 0 {
		selectors = []string{MySelector()}
	}
	e := NewEntry(ID(path), a.ID, selectors...)
	e.Id = id
	return e
}

func TestAWorkloadGetsItsX509SvidWithAllThatBelongsToIt(t *testing.T) {
	s, a := pair(t)
	foreign := SetFederatedBundle(t, s, "one.test")
	SetFederatedBundle(t, s, "not-mine.test")
	e := entry(a, "e1", "/web")
	e.DnsNames, e.Hint, e.X509SvidTtl = []string{"web.test"}, "internal", 600
	e.FederatesWith = []string{"one.test"}
	s.Create(t, e)
	got := a.WaitFetch(t, "/web")

	svid := got.DefaultSVID()
	if svid.Hint != "internal" {
		t.Errorf("hint %q", svid.Hint)
	}
	leaf := svid.Certificates[0]
	if len(svid.Certificates) != 1 || strings.Join(leaf.DNSNames, " ") != "web.test" || leaf.Subject.CommonName != "web.test" {
		t.Errorf("%d certificates, DNS %v, subject %v", len(svid.Certificates), leaf.DNSNames, leaf.Subject)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life < 600*time.Second || life > 615*time.Second {
		t.Errorf("it lives for %v", life)
	}
	id, _, err := x509svid.Verify(svid.Certificates, got.Bundles)
	NoError(t, err)
	if id.String() != ID("/web") {
		t.Errorf("verified as %s", id)
	}
	if n := got.Bundles.Len(); n != 2 {
		t.Errorf("%d bundles, want the own one and one.test's", n)
	}
	own, ok := got.Bundles.Get(spiffeid.RequireTrustDomainFromString(TD))
	if !ok || !own.Equal(s.X509Bundle(t)) {
		t.Error("the own bundle is not the server's")
	}
	federated, ok := got.Bundles.Get(spiffeid.RequireTrustDomainFromString("one.test"))
	if !ok || len(federated.X509Authorities()) != 1 ||
		string(federated.X509Authorities()[0].Raw) != string(foreign.X509Authorities[0].Asn1) {
		t.Error("the federated bundle is not the one that was set")
	}
	t.Run("on the wire", func(t *testing.T) {
		stream, err := a.Raw(t).FetchX509SVID(WithHeader(Context(t)), &workload.X509SVIDRequest{})
		NoError(t, err)
		response, err := stream.Recv()
		NoError(t, err)
		if len(response.Svids) != 1 || len(response.Crl) != 0 || len(response.FederatedBundles) != 1 ||
			response.FederatedBundles["spiffe://one.test"] == nil {
			t.Fatalf("response %v", response)
		}
		if w := response.Svids[0]; w.SpiffeId != ID("/web") || len(w.Bundle) == 0 || len(w.X509SvidKey) == 0 {
			t.Errorf("svid %v", w.SpiffeId)
		}
	})
	t.Run("the same SVID to each of its calls", func(t *testing.T) {
		again := a.WaitFetch(t, "/web")
		if again.DefaultSVID().Certificates[0].SerialNumber.Cmp(leaf.SerialNumber) != 0 {
			t.Error("a second fetch made a second certificate")
		}
	})
}

func TestSeveralIdentitiesComeInTheOrderOfTheirEntries(t *testing.T) {
	s, a := pair(t)
	s.Create(t, entry(a, "c", "/first-made"), entry(a, "a", "/second"), entry(a, "b", "/third"),
		entry(a, "d", "/foreign", "unix:uid:4000000"))
	got := a.WaitFetch(t, "/second /third /first-made")
	if got.DefaultSVID().ID.Path() != "/second" {
		t.Errorf("the default identity is %s", got.DefaultSVID().ID)
	}
}

func TestOfEqualHintsTheOldestEntryIsKept(t *testing.T) {
	s, a := pair(t)
	hinted := func(id, path, hint string) *types.Entry {
		e := entry(a, id, path)
		e.Hint = hint
		return e
	}
	first := s.Create(t, hinted("z", "/oldest", "same"))[0]
	// Creation times have seconds.
	Eventually(t, 3*time.Second, "the next second begins", func() error {
		if time.Now().Unix() <= first.CreatedAt {
			return errors.New("not yet")
		}
		return nil
	})
	s.Create(t, hinted("a", "/newer", "same"), hinted("b", "/other", "other"), hinted("c", "/none", ""), hinted("d", "/none2", ""))
	got := a.WaitFetch(t, "/other /none /none2 /oldest")
	hints := map[string]string{}
	for _, svid := range got.SVIDs {
		hints[svid.ID.Path()] = svid.Hint
	}
	if hints["/oldest"] != "same" || hints["/other"] != "other" || hints["/none"] != "" {
		t.Errorf("hints %v", hints)
	}
}

func TestAWatcherIsToldOfEachChangeOfItsEntries(t *testing.T) {
	s, a := pair(t)
	s.Create(t, entry(a, "e1", "/one"))
	a.WaitFetch(t, "/one")
	w := a.WatchX509(t)
	first := w.WaitIDs(t, "/one")

	t.Run("create", func(t *testing.T) {
		s.Create(t, entry(a, "e2", "/two"))
		both := w.WaitIDs(t, "/one /two")
		if both.SVIDs[0].Certificates[0].SerialNumber.Cmp(first.SVIDs[0].Certificates[0].SerialNumber) != 0 {
			t.Error("the first identity was issued anew")
		}
	})
	t.Run("update of the DNS names", func(t *testing.T) {
		changed := entry(a, "e1", "/one")
		changed.DnsNames = []string{"new.test"}
		s.Update(t, changed)
		Eventually(t, Visible, "the new name is in the SVID", func() error {
			last, _, _ := w.Last()
			if names := last.SVIDs[0].Certificates[0].DNSNames; len(names) != 1 || names[0] != "new.test" {
				return fmt.Errorf("names %v", names)
			}
			return nil
		})
	})
	t.Run("update of the SPIFFE ID", func(t *testing.T) {
		s.Update(t, entry(a, "e2", "/renamed"))
		w.WaitIDs(t, "/one /renamed")
	})
	t.Run("update of the selectors", func(t *testing.T) {
		s.Update(t, entry(a, "e2", "/renamed", "unix:uid:4000000"))
		w.WaitIDs(t, "/one")
	})
	t.Run("a federated bundle", func(t *testing.T) {
		SetFederatedBundle(t, s, "one.test")
		changed := entry(a, "e1", "/one")
		changed.FederatesWith = []string{"one.test"}
		s.Update(t, changed)
		wantBundles := func(n int) {
			t.Helper()
			Eventually(t, Visible, fmt.Sprintf("%d bundles", n), func() error {
				last, _, _ := w.Last()
				if got := last.Bundles.Len(); got != n {
					return fmt.Errorf("%d", got)
				}
				return nil
			})
		}
		wantBundles(2)
		fresh := SetFederatedBundle(t, s, "one.test")
		Eventually(t, Visible, "the new foreign bundle arrives", func() error {
			last, _, _ := w.Last()
			b, ok := last.Bundles.Get(spiffeid.RequireTrustDomainFromString("one.test"))
			if !ok || string(b.X509Authorities()[0].Raw) != string(fresh.X509Authorities[0].Asn1) {
				return errors.New("still the old one")
			}
			return nil
		})
		s.Update(t, entry(a, "e1", "/one"))
		wantBundles(1)
	})
	t.Run("delete of the last", func(t *testing.T) {
		s.Delete(t, "e1", "e2")
		Eventually(t, Visible, "the stream ends with PermissionDenied", func() error {
			for _, err := range w.Errors() {
				if strings.Contains(err.Error(), "PermissionDenied") && strings.Contains(err.Error(), "no identity issued") {
					return nil
				}
			}
			return fmt.Errorf("errors so far: %v", w.Errors())
		})
	})
	t.Run("and of its return", func(t *testing.T) {
		s.Create(t, entry(a, "e3", "/back"))
		w.WaitIDs(t, "/back")
	})
}

func TestAShortLivedSvidIsRotatedInTime(t *testing.T) {
	s, a := pair(t)
	e := entry(a, "e1", "/short")
	// Half of its life, which begins 10 s in the past, passes after 5 s.
	e.X509SvidTtl = 20
	s.Create(t, e)
	a.WaitFetch(t, "/short")
	w := a.WatchX509(t)
	w.WaitIDs(t, "/short")
	seen := map[string]bool{}
	Eventually(t, 90*time.Second, "four certificates in turn", func() error {
		last, _, _ := w.Last()
		leaf := last.SVIDs[0].Certificates[0]
		if now := time.Now(); now.After(leaf.NotAfter) {
			t.Fatalf("the workload holds an expired SVID: it ended at %v", leaf.NotAfter)
		}
		seen[leaf.SerialNumber.String()] = true
		if len(seen) < 4 {
			return fmt.Errorf("%d so far", len(seen))
		}
		return nil
	})
	if len(w.Errors()) != 0 {
		t.Errorf("errors on the way: %v", w.Errors())
	}
}

func TestASecondStreamOfTheSameWorkloadGetsTheSame(t *testing.T) {
	s, a := pair(t)
	s.Create(t, entry(a, "e1", "/one"))
	a.WaitFetch(t, "/one")
	var watches []*X509Watch
	for range 20 {
		watches = append(watches, a.WatchX509(t))
	}
	var serial string
	for _, w := range watches {
		got := w.WaitIDs(t, "/one").SVIDs[0].Certificates[0].SerialNumber.String()
		if serial != "" && got != serial {
			t.Errorf("serial numbers %s and %s", serial, got)
		}
		serial = got
	}
	s.Create(t, entry(a, "e2", "/two"))
	for _, w := range watches {
		w.WaitIDs(t, "/one /two")
	}
}

// fetchAs runs a copy of the test workload and returns its identities.
func fetchAs(t *testing.T, a *Agent, path string, credential *syscall.Credential) (string, error) {
	t.Helper()
	command := exec.Command(path, "fetch", "-socket", a.SocketPath)
	command.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return "", errors.New(stderr.String())
	}
	return strings.ReplaceAll(strings.TrimSpace(string(out)), "spiffe://"+TD, ""), nil
}

func TestUnixSelectorsTellWorkloadsApart(t *testing.T) {
	s, a := pair(t)
	dir := TempDir(t)
	one, two := WorkloadBinary(t, dir, "one"), WorkloadBinary(t, dir, "two")
	me := Must[*user.User](t)(user.Current())
	group := Must[*user.Group](t)(user.LookupGroupId(fmt.Sprint(os.Getgid())))
	file := Must[*os.File](t)(os.Open(two))
	digest := sha256.New()
	_ = Must[int64](t)(io.Copy(digest, file))
	_ = file.Close()
	s.Create(t,
		entry(a, "a", "/uid-gid", MySelector(), fmt.Sprintf("unix:gid:%d", os.Getgid())),
		entry(a, "b", "/names", "unix:user:"+me.Username, "unix:group:"+group.Name),
		entry(a, "c", "/path-one", "unix:path:"+one),
		entry(a, "d", "/hash-two", "unix:sha256:"+hex.EncodeToString(digest.Sum(nil))),
		entry(a, "e", "/both", "unix:path:"+one, "unix:uid:4000000"))
	want := func(path, ids string, credential *syscall.Credential) {
		t.Helper()
		Eventually(t, Visible, path+" is "+ids, func() error {
			got, err := fetchAs(t, a, path, credential)
			if err != nil {
				return err
			}
			if strings.ReplaceAll(got, "\n", " ") != ids {
				return fmt.Errorf("it is %q", got)
			}
			return nil
		})
	}
	want(one, "/uid-gid /names /path-one", nil)
	want(two, "/uid-gid /names /hash-two", nil)
	t.Run("other users", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("only root can be another user")
		}
		s.Create(t, entry(a, "f", "/other", "unix:uid:4321"), entry(a, "g", "/supplementary", "unix:supplementary_gid:4567"))
		want(one, "/path-one /other /supplementary", &syscall.Credential{Uid: 4321, Gid: 4321, Groups: []uint32{4567}})
		if got, err := fetchAs(t, a, WorkloadBinary(t, dir, "three"), &syscall.Credential{Uid: 999, Gid: 999}); err == nil ||
			!strings.Contains(err.Error(), "no identity issued") {
			t.Errorf("a stranger is %q, %v", got, err)
		}
	})
}

func TestStrangersGetNothing(t *testing.T) {
	s, a := pair(t)
	s.Create(t, entry(a, "e1", "/other", "unix:uid:4000000"))
	ctx := WithHeader(Context(t))
	raw := a.Raw(t)
	x509s, err := raw.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	NoError(t, err)
	_, err = x509s.Recv()
	WantStatus(t, err, codes.PermissionDenied, "no identity issued")
	bundles, err := raw.FetchX509Bundles(ctx, &workload.X509BundlesRequest{})
	NoError(t, err)
	_, err = bundles.Recv()
	WantStatus(t, err, codes.PermissionDenied, "no identity issued")
	jwtBundles, err := raw.FetchJWTBundles(ctx, &workload.JWTBundlesRequest{})
	NoError(t, err)
	_, err = jwtBundles.Recv()
	WantStatus(t, err, codes.PermissionDenied, "no identity issued")
	_, err = raw.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{Audience: []string{"a"}})
	WantStatus(t, err, codes.PermissionDenied, "no identity issued")
	a.Process.WaitLog(t, 0, "No identity issued", CallDeadline)
}

func TestUnauthenticatedVerifiersMayBeAllowedBundles(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	a := StartAgent(t, s, AgentOptions{Settings: map[string]string{"allow_unauthenticated_verifiers": "true"}})
	client := a.Client(t)
	bundles, err := client.FetchX509Bundles(Context(t))
	NoError(t, err)
	if bundles.Len() != 1 {
		t.Errorf("%d bundles", bundles.Len())
	}
	jwtBundles, err := client.FetchJWTBundles(Context(t))
	NoError(t, err)
	if jwtBundles.Len() != 1 {
		t.Errorf("%d JWT bundles", jwtBundles.Len())
	}
	_, err = client.FetchX509SVID(Context(t))
	WantStatus(t, err, codes.PermissionDenied, "no identity issued")
}
