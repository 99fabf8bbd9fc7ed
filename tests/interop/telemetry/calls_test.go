// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"

	debugv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/agent/debug/v1"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
)

// federate sets a foreign bundle and deletes it.
func federate(t *testing.T, bundles bundlev1.BundleClient) {
	t.Helper()
	authority := NewAuthority(t, "foreign")
	_, err := bundles.BatchSetFederatedBundle(Context(t), &bundlev1.BatchSetFederatedBundleRequest{
		Bundle: []*types.Bundle{{TrustDomain: "foreign.test",
			X509Authorities: []*types.X509Certificate{{Asn1: authority.Cert.Raw}}}}})
	NoError(t, err)
	_, err = bundles.BatchDeleteFederatedBundle(Context(t),
		&bundlev1.BatchDeleteFederatedBundleRequest{TrustDomains: []string{"foreign.test"}})
	NoError(t, err)
}

func debugInfo(t *testing.T, a *Agent) {
	t.Helper()
	_, err := debugv1.NewDebugClient(DialUnix(t, a.AdminPath)).GetInfo(Context(t),
		&debugv1.GetInfoRequest{})
	NoError(t, err)
}
