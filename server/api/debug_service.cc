// SPDX-License-Identifier: Apache-2.0

// spire.api.server.debug.v1.Debug: numbers about this server, at most five seconds old.

#include "lib/x509/verify.h"
#include "server/api/convert.h"
#include "server/api/failure.h"
#include "server/api/services.h"
#include "spire/api/server/debug/v1/debug.pb.h"

namespace steeple::server {
namespace {

using spire::api::server::debug::v1::GetInfoRequest;
using spire::api::server::debug::v1::GetInfoResponse;

constexpr auto kCachedFor = std::chrono::seconds(5);

class DebugService {
 public:
  explicit DebugService(const ServiceDeps& deps) : deps_(deps) {}

  Result<GetInfoResponse> get_info(Caller& caller, const GetInfoRequest&) {
    auto cached = cached_.lock();
    SteadyTime now = deps_.clock.steady();
    if (!cached->response || now - cached->made >= kCachedFor) {
      cached->response = TRY(make(caller));
      cached->made = now;
    }
    return *cached->response;
  }

 private:
  struct Cached {
    std::optional<GetInfoResponse> response;
    SteadyTime made;
  };

  Result<GetInfoResponse> make(Caller& caller) const {
    GetInfoResponse response;
    auto agents = deps_.datastore.count_nodes({});
    if (!agents.ok()) {
      return fail(caller, Code::kInternal, "failed to count agents", agents.error());
    }
    auto entries = deps_.datastore.count_entries({});
    if (!entries.ok()) {
      return fail(caller, Code::kInternal, "failed to count entries", entries.error());
    }
    auto bundles = deps_.datastore.count_bundles();
    if (!bundles.ok()) {
      return fail(caller, Code::kInternal, "failed to count bundles", bundles.error());
    }
    response.set_agents_count(*agents);
    response.set_entries_count(*entries);
    response.set_federated_bundles_count(*bundles);
    response.set_uptime(static_cast<std::int32_t>(
        std::chrono::duration_cast<std::chrono::seconds>(deps_.clock.steady() - deps_.started)
            .count()));
    TRY(add_chain(caller, response));
    return response;
  }

  Result<void> add_chain(Caller& caller, GetInfoResponse& response) const {
    auto identity = deps_.server_svid.identity().get();
    if (!identity) {
      return fail(caller, Code::kInternal, "the server has no SVID yet");
    }
    auto bundles = deps_.bundles.authorities()->get();
    auto verified = x509::verify_svid(
        identity->chain,
        [&bundles](const spiffe::TrustDomain& domain) -> x509::AuthoritiesPtr {
          auto at = bundles ? bundles->find(domain) : tls::BundleSet::const_iterator();
          return bundles && at != bundles->end() ? at->second : nullptr;
        },
        deps_.clock.now());
    if (!verified.ok()) {
      return fail(caller, Code::kInternal, "failed verification against bundle", verified.error());
    }
    for (const x509::CertificatePtr& certificate : verified->path) {
      auto* proto = response.add_svid_chain();
      if (auto id = x509::id_from_certificate(*certificate); id.ok()) {
        id_to_proto(*id, *proto->mutable_id());
      }
      proto->set_expires_at(to_unix_seconds(certificate->not_after()));
      if (auto subject = certificate->subject_name(); subject.ok()) {
        proto->set_subject(subject->to_string());
      }
    }
    return {};
  }

  const ServiceDeps& deps_;
  Guarded<Cached> cached_;
};

}  // namespace

void register_debug_service(Endpoint& endpoint, const ServiceDeps& deps) {
  auto service = std::make_shared<DebugService>(deps);
  endpoint.unary<GetInfoRequest, GetInfoResponse>("/spire.api.server.debug.v1.Debug/GetInfo",
                                                  [service](Caller& caller, const auto& request) {
                                                    return service->get_info(caller, request);
                                                  });
  endpoint.server().describe(GetInfoRequest::descriptor()->file()->FindServiceByName("Debug"));
}

}  // namespace steeple::server
