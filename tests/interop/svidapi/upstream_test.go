// SPDX-License-Identifier: Apache-2.0

// Goal: below an upstream authority on disk the server's CA is an intermediate, and what it signs
// comes with that; downstream servers get a CA and may publish their JWT keys.

package svidapi

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"google.golang.org/grpc/codes"
)

func TestAnUpstreamAuthorityOnDiskSignsTheServersCa(t *testing.T) {
	root := ForeignAuthority(t, TD)
	dir := TempDir(t)
	key := Must[[]byte](t)(x509.MarshalPKCS8PrivateKey(root.Key))
	NoError(t, os.WriteFile(filepath.Join(dir, "root.crt"), PEM("CERTIFICATE", root.Cert.Raw), 0o600))
	NoError(t, os.WriteFile(filepath.Join(dir, "root.key"), PEM("PRIVATE KEY", key), 0o600))
	s := StartServer(t, ServerOptions{Plugins: fmt.Sprintf(
		"  UpstreamAuthority \"disk\" { plugin_data {\n    cert_file_path = \"%s/root.crt\"\n    key_file_path = \"%s/root.key\" } }",
		dir, dir)})
	roots := s.X509Bundle(t).X509Authorities()
	if len(roots) != 1 || !roots[0].Equal(root.Cert) {
		t.Fatalf("the bundle holds %d authorities, want the upstream root alone", len(roots))
	}
	identity := s.Mint(t, workload, 600)
	chain := identity.SVID.Certificates
	if len(chain) != 2 || !chain[1].IsCA || chain[1].URIs[0].String() != "spiffe://"+TD {
		t.Fatalf("a chain of %d certificates", len(chain))
	}
	_, _, err := x509svid.Verify(chain, s.X509Bundle(t))
	NoError(t, err)
	if chain[1].NotAfter.After(root.Cert.NotAfter) || chain[0].NotAfter.After(chain[1].NotAfter) {
		t.Error("something outlives its signer")
	}
	agent := s.NewAgent(t)
	if len(agent.SVID.Certificates) != 2 {
		t.Errorf("the agent's chain has %d certificates", len(agent.SVID.Certificates))
	}
}

func TestADownstreamServerGetsACaAndPublishesItsKeys(t *testing.T) {
	s := StartServer(t, ServerOptions{})
	entry := NewEntry(ID("/downstream"), ID("/parent"), "t:1")
	entry.Downstream, entry.X509SvidTtl = true, 300
	s.Create(t, entry)
	conn := s.Dial(t, s.Mint(t, ID("/downstream"), 600))
	key := NewKey(t)
	response, err := svidv1.NewSVIDClient(conn).NewDownstreamX509CA(Context(t), &svidv1.NewDownstreamX509CARequest{
		Csr: CSR(t, key, nil, "spiffe://"+TD)})
	NoError(t, err)
	ca := Must[*x509.Certificate](t)(x509.ParseCertificate(response.CaCertChain[0]))
	if !ca.IsCA || ca.URIs[0].String() != "spiffe://"+TD || !key.PublicKey.Equal(ca.PublicKey) ||
		len(ca.Subject.OrganizationalUnit) != 1 || ca.Subject.OrganizationalUnit[0] != "DOWNSTREAM-1" {
		t.Errorf("the CA is %v, CA %v, URIs %v", ca.Subject, ca.IsCA, ca.URIs)
	}
	NoError(t, ca.CheckSignatureFrom(s.X509Bundle(t).X509Authorities()[0]))
	if len(response.X509Authorities) != 1 {
		t.Errorf("%d authorities", len(response.X509Authorities))
	}
	refused := map[string][]byte{"malformed CSR": []byte("x"), "invalid CSR signature": BrokenCSR(t, "spiffe://"+TD)}
	for message, csr := range refused {
		_, err := svidv1.NewSVIDClient(conn).NewDownstreamX509CA(Context(t), &svidv1.NewDownstreamX509CARequest{Csr: csr})
		WantStatus(t, err, codes.InvalidArgument, message)
	}

	published, err := bundlev1.NewBundleClient(conn).PublishJWTAuthority(Context(t),
		&bundlev1.PublishJWTAuthorityRequest{JwtAuthority: JWTKey(t, "downstream-key")})
	NoError(t, err)
	if len(published.JwtAuthorities) != 2 {
		t.Errorf("%d JWT keys", len(published.JwtAuthorities))
	}
	Eventually(t, 10*time.Second, "the key is in the bundle", func() error {
		bundle, err := s.Bundles(t).GetBundle(Context(t), &bundlev1.GetBundleRequest{})
		NoError(t, err)
		for _, k := range bundle.JwtAuthorities {
			if k.KeyId == "downstream-key" {
				return nil
			}
		}
		return fmt.Errorf("keys %v", bundle.JwtAuthorities)
	})
	_, err = bundlev1.NewBundleClient(conn).PublishJWTAuthority(Context(t), &bundlev1.PublishJWTAuthorityRequest{})
	WantStatus(t, err, codes.InvalidArgument, "missing JWT authority")
	_, err = bundlev1.NewBundleClient(conn).PublishJWTAuthority(Context(t),
		&bundlev1.PublishJWTAuthorityRequest{JwtAuthority: JWTKey(t, "")})
	WantStatus(t, err, codes.InvalidArgument, "invalid JWT authority")
}
