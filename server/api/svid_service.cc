// SPDX-License-Identifier: Apache-2.0

// spire.api.server.svid.v1.SVID: signing, for agents on behalf of their workloads and for
// administrators. What an agent may have is the index's answer; what it gets is the CA's.

#include <fmt/ranges.h>

#include "lib/x509/csr.h"
#include "server/api/convert.h"
#include "server/api/failure.h"
#include "server/api/services.h"
#include "server/registration/entry_validation.h"
#include "spire/api/server/svid/v1/svid.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::svid::v1;  // NOLINT(google-build-using-namespace): messages

constexpr std::string_view kService = "/spire.api.server.svid.v1.SVID/";
constexpr std::string_view kJwtDisabled = "JWT functionality is disabled";

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

class SvidService {
 public:
  explicit SvidService(const ServiceDeps& deps) : deps_(deps) {}

  Result<MintX509SVIDResponse> mint_x509(Caller& caller, const MintX509SVIDRequest& request) const {
    caller.audit.add({"ttl", request.ttl()});
    if (request.csr().empty()) {
      return fail(caller, Code::kInvalidArgument, "missing CSR");
    }
    auto csr = x509::CertificateRequest::parse(request.csr());
    if (!csr.ok()) {
      return fail(caller, Code::kInvalidArgument, "malformed CSR", csr.error());
    }
    if (auto proof = csr->check_signature(); !proof.ok()) {
      return fail(caller, Code::kInvalidArgument, "failed to verify CSR signature", proof.error());
    }
    spiffe::SpiffeId id = TRY(csr_id(caller, *csr));
    for (const std::string& name : csr->dns_sans()) {
      if (auto good = validate_dns_name(name); !good.ok()) {
        return fail(caller, Code::kInvalidArgument, "CSR DNS name is invalid", good.error());
      }
    }
    if (auto overlap = check_wildcard_overlap(csr->dns_sans()); !overlap.ok()) {
      return fail(caller, Code::kInvalidArgument,
                  "CSR DNS name contains a wildcard that covers another non-wildcard name",
                  overlap.error());
    }
    auto subject = csr->subject_name();
    if (!subject.ok()) {
      return fail(caller, Code::kInvalidArgument, "malformed CSR", subject.error());
    }
    auto svid = deps_.ca.sign_workload_x509_svid({.public_key = csr->public_key(),
                                                  .id = id,
                                                  .ttl = std::chrono::seconds(request.ttl()),
                                                  .dns_names = csr->dns_sans(),
                                                  .subject = &*subject});
    if (!svid.ok()) {
      return fail(caller, Code::kInternal, "failed to sign X509-SVID", svid.error());
    }
    caller.audit.add({"spiffe_id", id.text()});
    LOG_DEBUG(caller.log(LogLevel::kDebug), "Signed X509 SVID", {"spiffe_id", id.text()},
              {"expiration", format_rfc3339(svid->leaf->not_after())},
              {"serial_num", svid->leaf->serial_decimal()});
    MintX509SVIDResponse response;
    svid_to_proto(id, svid->chain, svid->leaf->not_after(), *response.mutable_svid());
    return response;
  }

  Result<MintJWTSVIDResponse> mint_jwt(Caller& caller, const MintJWTSVIDRequest& request) const {
    if (deps_.authorities.jwt_svids_disabled()) {
      return fail(caller, Code::kUnimplemented, kJwtDisabled);
    }
    auto id =
        workload_id_from_proto(deps_.trust_domain, request.has_id() ? &request.id() : nullptr);
    if (!id.ok()) {
      return fail(caller, Code::kInvalidArgument, "invalid SPIFFE ID", id.error());
    }
    MintJWTSVIDResponse response;
    TRY(sign_jwt(caller, *id, request.audience(), request.ttl(), false, *response.mutable_svid()));
    return response;
  }

  Result<BatchNewX509SVIDResponse> batch_new_x509(Caller& caller,
                                                  const BatchNewX509SVIDRequest& request) const {
    BatchNewX509SVIDResponse response;
    response.mutable_results()->Reserve(request.params_size());
    for (const NewX509SVIDParams& params : request.params()) {
      auto* result = response.add_results();
      Result<void> status = new_x509(caller, params, *result);
      set_status(status, *result->mutable_status());
      if (caller.audit.enabled()) {
        caller.audit.item(caller.log(), status, {{"entry_id", params.entry_id()}});
      }
    }
    return response;
  }

  Result<NewJWTSVIDResponse> new_jwt(Caller& caller, const NewJWTSVIDRequest& request) const {
    if (deps_.authorities.jwt_svids_disabled()) {
      return fail(caller, Code::kUnimplemented, kJwtDisabled);
    }
    caller.audit.add({"entry_id", request.entry_id()});
    IndexedEntryPtr indexed = deps_.index.authorized_entry(caller.id()->text(), request.entry_id());
    if (!indexed) {
      return fail(caller, Code::kNotFound, "entry not found or not authorized");
    }
    Entry entry = indexed->to_entry();
    NewJWTSVIDResponse response;
    TRY(sign_jwt(caller, entry.spiffe_id, request.audience(),
                 static_cast<std::int32_t>(entry.jwt_svid_ttl.count()), entry.jwt_svid_include_jti,
                 *response.mutable_svid()));
    return response;
  }

  Result<NewDownstreamX509CAResponse> new_downstream_ca(
      Caller& caller, const NewDownstreamX509CARequest& request) const {
    if (caller.downstream_entries.empty()) {
      return fail(caller, Code::kInternal, "caller is not a downstream workload");
    }
    auto csr = x509::CertificateRequest::parse(request.csr());
    if (!csr.ok()) {
      return fail(caller, Code::kInvalidArgument, "malformed CSR", csr.error());
    }
    if (auto proof = csr->check_signature(); !proof.ok()) {
      return fail(caller, Code::kInvalidArgument, "invalid CSR signature", proof.error());
    }
    auto ca = deps_.ca.sign_downstream_x509_ca(csr->public_key(),
                                               std::chrono::seconds(request.preferred_ttl()));
    if (!ca.ok()) {
      return fail(caller, Code::kInternal, "failed to sign downstream X.509 CA", ca.error());
    }
    auto bundle = deps_.bundles.own();
    if (!bundle) {
      return fail(caller, Code::kNotFound, "bundle not found");
    }
    LOG_DEBUG(caller.log(LogLevel::kDebug), "Signed X509 CA SVID",
              {"expiration", format_rfc3339(ca->leaf->not_after())});
    NewDownstreamX509CAResponse response;
    for (const Bytes& certificate : ca->chain) {
      response.add_ca_cert_chain(certificate);
    }
    for (const jose::X509Authority& authority : bundle->x509_authorities) {
      response.add_x509_authorities(authority.der);
    }
    return response;
  }

 private:
  Result<spiffe::SpiffeId> csr_id(Caller& caller, const x509::CertificateRequest& csr) const {
    if (csr.uri_sans().empty()) {
      return fail(caller, Code::kInvalidArgument, "CSR URI SAN is required");
    }
    if (csr.uri_sans().size() > 1) {
      return fail(caller, Code::kInvalidArgument, "only one URI SAN is expected");
    }
    auto id = spiffe::SpiffeId::parse(csr.uri_sans().front());
    if (id.ok()) {
      if (auto good = check_workload_id(deps_.trust_domain, *id); !good.ok()) {
        id = std::move(good.error());
      }
    }
    if (!id.ok()) {
      return fail(caller, Code::kInvalidArgument, "CSR URI SAN is invalid", id.error());
    }
    return id;
  }

  Result<void> new_x509(Caller& caller, const NewX509SVIDParams& params,
                        BatchNewX509SVIDResponse::Result& result) const {
    if (params.entry_id().empty()) {
      return fail(caller, Code::kInvalidArgument, "missing entry ID");
    }
    if (params.csr().empty()) {
      return fail(caller, Code::kInvalidArgument, "missing CSR");
    }
    IndexedEntryPtr indexed = deps_.index.authorized_entry(caller.id()->text(), params.entry_id());
    if (!indexed) {
      return fail(caller, Code::kNotFound, "entry not found or not authorized");
    }
    auto csr = x509::CertificateRequest::parse(params.csr());
    if (!csr.ok()) {
      return fail(caller, Code::kInvalidArgument, "malformed CSR", csr.error());
    }
    if (auto proof = csr->check_signature(); !proof.ok()) {
      return fail(caller, Code::kInvalidArgument, "invalid CSR signature", proof.error());
    }
    Entry entry = indexed->to_entry();
    auto svid = deps_.ca.sign_workload_x509_svid({.public_key = csr->public_key(),
                                                  .id = entry.spiffe_id,
                                                  .ttl = entry.x509_svid_ttl,
                                                  .dns_names = entry.dns_names});
    if (!svid.ok()) {
      return fail(caller, Code::kInternal, "failed to sign X509-SVID", svid.error());
    }
    LOG_DEBUG(
        caller.log(LogLevel::kDebug), "Signed X509 SVID", {"spiffe_id", entry.spiffe_id.text()},
        {"expiration", format_rfc3339(svid->leaf->not_after())},
        {"serial_num", svid->leaf->serial_decimal()}, {"revision_number", entry.revision_number});
    svid_to_proto(entry.spiffe_id, svid->chain, svid->leaf->not_after(), *result.mutable_svid());
    return {};
  }

  Result<void> sign_jwt(Caller& caller, const spiffe::SpiffeId& id,
                        const google::protobuf::RepeatedPtrField<std::string>& audience,
                        std::int32_t ttl, bool include_jti,
                        spire::api::types::JWTSVID& proto) const {
    std::vector<std::string> audiences;
    for (const std::string& one : audience) {
      if (!one.empty()) {
        audiences.push_back(one);
      }
    }
    if (audiences.empty()) {
      return fail(caller, Code::kInvalidArgument, "at least one audience is required");
    }
    auto token = deps_.ca.sign_workload_jwt_svid({.id = id,
                                                  .audience = audiences,
                                                  .ttl = std::chrono::seconds(ttl),
                                                  .include_jti = include_jti});
    if (!token.ok()) {
      return fail(caller, Code::kInternal, "failed to sign JWT-SVID", token.error());
    }
    LOG_DEBUG(caller.log(LogLevel::kDebug), "Server CA successfully signed JWT SVID",
              {"spiffe_id", id.text()}, {"audience", fmt::format("{}", fmt::join(audiences, ","))},
              {"expiration", format_rfc3339(token->expires_at)});
    proto.set_token(std::move(token->token));
    id_to_proto(id, *proto.mutable_id());
    proto.set_expires_at(to_unix_seconds(token->expires_at));
    proto.set_issued_at(to_unix_seconds(token->issued_at));
    return {};
  }

  const ServiceDeps& deps_;
};

}  // namespace

void register_svid_service(Endpoint& endpoint, const ServiceDeps& deps) {
  auto service = std::make_shared<const SvidService>(deps);
  endpoint.unary<MintX509SVIDRequest, MintX509SVIDResponse>(
      method("MintX509SVID"), [service](Caller& caller, const auto& request) {
        return service->mint_x509(caller, request);
      });
  endpoint.unary<MintJWTSVIDRequest, MintJWTSVIDResponse>(
      method("MintJWTSVID"), [service](Caller& caller, const auto& request) {
        return service->mint_jwt(caller, request);
      });
  endpoint.limited<BatchNewX509SVIDRequest, BatchNewX509SVIDResponse>(
      method("BatchNewX509SVID"), deps.limits.signing_x509,
      "rejecting request due to certificate signing rate limiting",
      [](Caller& caller, const auto& request) -> Result<std::size_t> {
        if (request.params_size() == 0) {
          return fail(caller, Code::kInvalidArgument, "missing parameters");
        }
        return static_cast<std::size_t>(request.params_size());
      },
      [service](Caller& caller, const auto& request) -> Result<BatchNewX509SVIDResponse> {
        if (request.params_size() == 0) {
          return fail(caller, Code::kInvalidArgument, "missing parameters");
        }
        return service->batch_new_x509(caller, request);
      });
  endpoint.limited<NewJWTSVIDRequest, NewJWTSVIDResponse>(
      method("NewJWTSVID"), deps.limits.signing_jwt,
      "rejecting request due to JWT signing request rate limiting",
      [](Caller&, const auto&) -> Result<std::size_t> { return 1; },
      [service](Caller& caller, const auto& request) { return service->new_jwt(caller, request); });
  endpoint.limited<NewDownstreamX509CARequest, NewDownstreamX509CAResponse>(
      method("NewDownstreamX509CA"), deps.limits.signing_x509,
      "rejecting request due to downstream CA signing rate limit",
      [](Caller&, const auto&) -> Result<std::size_t> { return 1; },
      [service](Caller& caller, const auto& request) {
        return service->new_downstream_ca(caller, request);
      });
  endpoint.unary<MintWITSVIDRequest, MintWITSVIDResponse>(
      method("MintWITSVID"), [](Caller& caller, const auto&) -> Result<MintWITSVIDResponse> {
        return fail(caller, Code::kUnimplemented, "WIT functionality is disabled");
      });
  endpoint.unary<BatchNewWITSVIDRequest, BatchNewWITSVIDResponse>(
      method("BatchNewWITSVID"),
      [](Caller& caller, const auto&) -> Result<BatchNewWITSVIDResponse> {
        return fail(caller, Code::kUnimplemented, "WIT functionality is disabled");
      });
  endpoint.server().describe(MintX509SVIDRequest::descriptor()->file()->FindServiceByName("SVID"));
}

}  // namespace steeple::server
