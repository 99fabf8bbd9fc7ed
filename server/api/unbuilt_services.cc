// SPDX-License-Identifier: Apache-2.0

// The services that SPIRE has and this build has not: they exist, so that the policy applies and a
// client is told what is missing, and answer UNIMPLEMENTED.

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include "server/api/failure.h"
#include "server/api/services.h"
#include "spire/api/server/localauthority/v1/localauthority.pb.h"
#include "spire/api/server/trustdomain/v1/trustdomain.pb.h"

namespace steeple::server {
namespace {

void refuse_all(Endpoint& endpoint, const google::protobuf::ServiceDescriptor* service,
                std::string_view why) {
  for (int i = 0; i < service->method_count(); ++i) {
    endpoint.server().unary(fmt::format("/{}/{}", service->full_name(), service->method(i)->name()),
                            rpc::Where::kWorker,
                            [why](rpc::CallContext& call, ByteView) -> Result<Bytes> {
                              return fail(caller_of(call), Code::kUnimplemented, why);
                            });
  }
}

}  // namespace

void register_unbuilt_services(Endpoint& endpoint) {
  namespace authority = spire::api::server::localauthority::v1;
  namespace domain = spire::api::server::trustdomain::v1;
  refuse_all(endpoint,
             authority::GetX509AuthorityStateRequest::descriptor()->file()->FindServiceByName(
                 "LocalAuthority"),
             "the LocalAuthority API is not built yet");
  refuse_all(endpoint,
             domain::RefreshBundleRequest::descriptor()->file()->FindServiceByName("TrustDomain"),
             "federation relationships are not built yet");
}

}  // namespace steeple::server
