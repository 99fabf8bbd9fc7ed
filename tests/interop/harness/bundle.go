// SPDX-License-Identifier: Apache-2.0

// Bundles of other trust domains.

package harness

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"testing"
	"time"

	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
)

// ForeignAuthority is a self-signed signing certificate of another trust domain.
func ForeignAuthority(t testing.TB, domain string) *Authority {
	t.Helper()
	key := NewKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: domain},
		URIs:      []*url.URL{{Scheme: "spiffe", Host: domain}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := Must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return &Authority{Cert: Must[*x509.Certificate](t)(x509.ParseCertificate(der)), Key: key}
}

// Foreign issues an identity of that trust domain.
func (a *Authority) Foreign(t testing.TB, id string) *Identity {
	t.Helper()
	key := NewKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t),
		URIs:         []*url.URL{Must[*url.URL](t)(url.Parse(id))},
		NotBefore:    time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der := Must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, a.Cert, key.Public(), a.Key))
	return NewIdentity(t, [][]byte{der}, key)
}

// JWTKey is a public JWT key with its id.
func JWTKey(t testing.TB, id string) *types.JWTKey {
	t.Helper()
	return &types.JWTKey{
		KeyId:     id,
		PublicKey: Must[[]byte](t)(x509.MarshalPKIXPublicKey(NewKey(t).Public())),
		ExpiresAt: time.Now().Add(time.Hour).Unix(),
	}
}

// SetFederatedBundle gives the server a bundle of another trust domain, with one authority of each
// kind, and returns it.
func SetFederatedBundle(t testing.TB, s *Server, domain string) *types.Bundle {
	t.Helper()
	return PutBundle(t, s, &types.Bundle{
		TrustDomain:     domain,
		X509Authorities: []*types.X509Certificate{{Asn1: ForeignAuthority(t, domain).Cert.Raw}},
		JwtAuthorities:  []*types.JWTKey{JWTKey(t, "key-of-"+domain)},
		SequenceNumber:  1,
	})
}

// PutBundle sets a bundle and demands success.
func PutBundle(t testing.TB, s *Server, bundle *types.Bundle) *types.Bundle {
	t.Helper()
	response, err := s.Bundles(t).BatchSetFederatedBundle(Context(t),
		&bundlev1.BatchSetFederatedBundleRequest{Bundle: []*types.Bundle{bundle}})
	NoError(t, err)
	WantItem(t, response.Results[0].Status, codes.OK, "")
	return response.Results[0].Bundle
}
