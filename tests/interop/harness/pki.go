// SPDX-License-Identifier: Apache-2.0

// Keys, certificate requests and a small external CA for node attestation by certificate.

package harness

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// NewKey makes an EC P-256 key.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// CSR makes a certificate request; ids become URI SANs.
func CSR(t testing.TB, key crypto.Signer, dns []string, ids ...string) []byte {
	t.Helper()
	template := &x509.CertificateRequest{DNSNames: dns}
	for _, id := range ids {
		template.URIs = append(template.URIs, Must[*url.URL](t)(url.Parse(id)))
	}
	return Must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, template, key))
}

// BrokenCSR is a well-formed request whose signature is wrong.
func BrokenCSR(t testing.TB, ids ...string) []byte {
	t.Helper()
	csr := CSR(t, NewKey(t), nil, ids...)
	csr[len(csr)-1] ^= 1
	return csr
}

// Authority is a CA of the data centre, as x509pop trusts it.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	key := NewKey(t)
	template := &x509.Certificate{
		SerialNumber:          serial(t),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der := Must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	return &Authority{Cert: Must[*x509.Certificate](t)(x509.ParseCertificate(der)), Key: key}
}

// NodeCert is a node's certificate with its key.
type NodeCert struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Issue makes a node certificate. With `rsaKey` its key is RSA 2048, else EC P-256.
func (a *Authority) Issue(t testing.TB, commonName string, rsaKey bool, usage x509.KeyUsage,
	sans ...string) *NodeCert {
	t.Helper()
	var key crypto.Signer = NewKey(t)
	if rsaKey {
		key = Must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: commonName}, KeyUsage: usage}
	for _, san := range sans {
		template.URIs = append(template.URIs, Must[*url.URL](t)(url.Parse(san)))
	}
	return a.sign(t, template, key)
}

// IssueFor makes a certificate with these extended key usages, or without any.
func (a *Authority) IssueFor(t testing.TB, commonName string, usage ...x509.ExtKeyUsage) *NodeCert {
	t.Helper()
	return a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: commonName},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage}, NewKey(t))
}

// sign fills in what all node certificates have.
func (a *Authority) sign(t testing.TB, template *x509.Certificate, key crypto.Signer) *NodeCert {
	t.Helper()
	template.SerialNumber = serial(t)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(12*time.Hour)
	der := Must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, a.Cert, key.Public(), a.Key))
	return &NodeCert{Cert: Must[*x509.Certificate](t)(x509.ParseCertificate(der)), Key: key}
}

// WriteFiles stores the certificate and the key for an agent and returns their paths.
func (n *NodeCert) WriteFiles(t testing.TB, dir string) (certPath, keyPath string) {
	t.Helper()
	certPath, keyPath = filepath.Join(dir, "node.crt"), filepath.Join(dir, "node.key")
	key := Must[[]byte](t)(x509.MarshalPKCS8PrivateKey(n.Key))
	NoError(t, os.WriteFile(certPath, PEM("CERTIFICATE", n.Cert.Raw), 0o600))
	NoError(t, os.WriteFile(keyPath, PEM("PRIVATE KEY", key), 0o600))
	return certPath, keyPath
}

// Payload is what an agent sends first.
func (n *NodeCert) Payload(t testing.TB) []byte {
	t.Helper()
	return Must[[]byte](t)(json.Marshal(map[string]any{"certificates": [][]byte{n.Cert.Raw}}))
}

type popChallenge struct {
	RSA   *popNonce `json:"rsa_signature"`
	ECDSA *popNonce `json:"ecdsa_signature"`
}

type popNonce struct {
	Nonce []byte `json:"nonce"`
}

// Answer signs a challenge as the plugin of an agent would.
func (n *NodeCert) Answer(t testing.TB, challenge []byte) []byte {
	t.Helper()
	var c popChallenge
	NoError(t, json.Unmarshal(challenge, &c))
	nonce := make([]byte, 32)
	_ = Must[int](t)(rand.Read(nonce))
	var answer any
	switch key := n.Key.(type) {
	case *rsa.PrivateKey:
		if c.RSA == nil {
			t.Fatalf("an RSA certificate was challenged with %s", challenge)
		}
		digest := sha256.Sum256(append(append([]byte{}, c.RSA.Nonce...), nonce...))
		signature := Must[[]byte](t)(rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], nil))
		answer = map[string]any{"rsa_signature": map[string]any{"nonce": nonce, "signature": signature}}
	case *ecdsa.PrivateKey:
		if c.ECDSA == nil {
			t.Fatalf("an EC certificate was challenged with %s", challenge)
		}
		digest := sha256.Sum256(append(append([]byte{}, c.ECDSA.Nonce...), nonce...))
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		NoError(t, err)
		answer = map[string]any{"ecdsa_signature": map[string]any{
			"nonce": nonce, "r": r.Bytes(), "s": s.Bytes()}}
	}
	return Must[[]byte](t)(json.Marshal(answer))
}

// PEM wraps one block.
func PEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	return Must[*big.Int](t)(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)))
}
