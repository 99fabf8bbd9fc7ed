// SPDX-License-Identifier: Apache-2.0

// Between the messages of the APIs and our types: IDs, bundles, agents. Requests are checked here,
// with the reference's words. Entries have their own converter in server/registration. Pure.

#pragma once

#include <string_view>

#include "lib/base/result.h"
#include "lib/jose/bundle.h"
#include "server/datastore/types.h"
#include "spire/api/types/agent.pb.h"
#include "spire/api/types/bundle.pb.h"
#include "spire/api/types/spiffeid.pb.h"
#include "spire/api/types/x509svid.pb.h"

namespace steeple::server {

// `proto` null: "request must specify SPIFFE ID".
Result<spiffe::SpiffeId> id_from_proto(const spire::api::types::SPIFFEID* proto);
// In the trust domain, below /spire/agent/.
Result<spiffe::SpiffeId> agent_id_from_proto(const spiffe::TrustDomain& domain,
                                             const spire::api::types::SPIFFEID* proto);
// In the trust domain, with a path that is not below /spire/.
Result<spiffe::SpiffeId> workload_id_from_proto(const spiffe::TrustDomain& domain,
                                                const spire::api::types::SPIFFEID* proto);
Result<void> check_workload_id(const spiffe::TrustDomain& domain, const spiffe::SpiffeId& id);

void id_to_proto(const spiffe::SpiffeId& id, spire::api::types::SPIFFEID& proto);

Result<jose::Bundle> bundle_from_proto(const spire::api::types::Bundle& proto);
// `mask` null: everything.
void bundle_to_proto(const jose::Bundle& bundle, const spire::api::types::BundleMask* mask,
                     spire::api::types::Bundle& proto);
Result<jose::JwtAuthority> jwt_authority_from_proto(const spire::api::types::JWTKey& proto);
Result<std::vector<jose::X509Authority>> x509_authorities_from_proto(
    const google::protobuf::RepeatedPtrField<spire::api::types::X509Certificate>& proto);

void agent_to_proto(const AttestedNode& node, const spire::api::types::AgentMask* mask,
                    spire::api::types::Agent& proto);

void svid_to_proto(const spiffe::SpiffeId& id, const std::vector<Bytes>& chain, WallTime not_after,
                   spire::api::types::X509SVID& proto);

// The mask of a request, or null when it has none.
template <class Request>
auto output_mask_of(const Request& request) {
  return request.has_output_mask() ? &request.output_mask() : nullptr;
}

}  // namespace steeple::server
