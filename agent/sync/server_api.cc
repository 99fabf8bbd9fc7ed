// SPDX-License-Identifier: Apache-2.0

#include "agent/sync/server_api.h"

#include <fmt/core.h>

#include <algorithm>

#include "agent/nodeattestor/attestation.h"
#include "lib/base/limits.h"
#include "lib/x509/certificate.h"
#include "spire/api/server/agent/v1/agent.pb.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/server/entry/v1/entry.pb.h"
#include "spire/api/server/svid/v1/svid.pb.h"

namespace steeple::agent {

namespace agent_v1 = ::spire::api::server::agent::v1;
namespace bundle_v1 = ::spire::api::server::bundle::v1;
namespace entry_v1 = ::spire::api::server::entry::v1;
namespace svid_v1 = ::spire::api::server::svid::v1;
namespace types = ::spire::api::types;

namespace {

// All entries of an agent in one message.
constexpr std::size_t kEntriesBytesMax = std::size_t{256} << 20;
// 500 chains of a few certificates.
constexpr std::size_t kSvidsBytesMax = std::size_t{32} << 20;

Result<spiffe::SpiffeId> id_from_proto(const types::SPIFFEID& id) {
  auto domain = TRY(spiffe::TrustDomain::parse(id.trust_domain()));
  return spiffe::SpiffeId::make(domain, id.path());
}

Result<std::vector<Selector>> selectors_from_proto(const types::Entry& entry) {
  if (entry.selectors().empty()) {
    return invalid_argument("selector list is empty");
  }
  std::vector<Selector> out;
  out.reserve(static_cast<std::size_t>(entry.selectors_size()));
  for (const types::Selector& selector : entry.selectors()) {
    if (selector.type().empty()) {
      return invalid_argument("missing selector type");
    }
    if (selector.type().find(':') != std::string::npos) {
      return invalid_argument("selector type contains ':'");
    }
    if (selector.value().empty()) {
      return invalid_argument("missing selector value");
    }
    out.push_back({selector.type(), selector.value()});
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

// A reply of the expected type, or why not.
template <class Message>
Result<Message> parsed(Result<Bytes> raw, std::string_view doing) {
  if (!raw.ok()) {
    return call_error(raw.error(), doing);
  }
  Message message;
  if (!message.ParseFromString(*raw)) {
    return internal(fmt::format("{}: malformed response", doing));
  }
  return message;
}

Result<std::vector<NewSvidResult>> svid_results(const svid_v1::BatchNewX509SVIDResponse& response,
                                                std::size_t expected) {
  if (static_cast<std::size_t>(response.results_size()) != expected) {
    return internal(fmt::format("failed to batch new X509 SVID(s): {} results for {} requests",
                                response.results_size(), expected));
  }
  std::vector<NewSvidResult> out;
  out.reserve(expected);
  for (const auto& result : response.results()) {
    if (result.status().code() != 0) {
      out.push_back({Error{static_cast<Code>(std::clamp(result.status().code(), 0, 16)),
                           result.status().message()}});
    } else if (result.svid().cert_chain().empty()) {
      out.push_back({internal("empty SVID cert chain")});
    } else {
      const auto& chain = result.svid().cert_chain();
      out.push_back({std::vector<Bytes>(chain.begin(), chain.end())});
    }
  }
  return out;
}

Result<NewJwtSvid> jwt_svid_from(const svid_v1::NewJWTSVIDResponse& response) {
  const types::JWTSVID& svid = response.svid();
  if (!response.has_svid() || svid.token().empty()) {
    return internal("JWTSVID response missing SVID");
  }
  if (svid.issued_at() == 0) {
    return internal("JWTSVID missing issued at");
  }
  if (svid.expires_at() == 0) {
    return internal("JWTSVID missing expires at");
  }
  if (svid.issued_at() > svid.expires_at()) {
    return internal("JWTSVID issued after it has expired");
  }
  auto id = TRY(id_from_proto(svid.id()).during("could not parse JWT-SVID SPIFFE ID"));
  return NewJwtSvid{std::move(id), svid.token(), from_unix_seconds(svid.issued_at()),
                    from_unix_seconds(svid.expires_at())};
}

}  // namespace

types::EntryMask entry_output_mask() {
  types::EntryMask mask;
  mask.set_spiffe_id(true);
  mask.set_selectors(true);
  mask.set_federates_with(true);
  mask.set_admin(true);
  mask.set_downstream(true);
  mask.set_revision_number(true);
  mask.set_store_svid(true);
  mask.set_hint(true);
  mask.set_created_at(true);
  mask.set_additional_attributes(true);
  return mask;
}

Result<EntryPtr> entry_from_proto(const types::Entry& entry) {
  if (entry.id().empty() || entry.id().size() > limits::kEntryIdBytesMax) {
    return invalid_argument("missing entry ID");
  }
  auto id = TRY(id_from_proto(entry.spiffe_id()).during("invalid SPIFFE ID"));
  if (id.path().empty()) {
    return invalid_argument("invalid SPIFFE ID: path is empty");
  }
  auto selectors = TRY(selectors_from_proto(entry));
  Entry out{.id = entry.id(),
            .spiffe_id = std::move(id),
            .selectors = std::move(selectors),
            .revision_number = entry.revision_number(),
            .created_at = entry.created_at(),
            .hint = entry.hint().size() <= limits::kHintBytesMax ? entry.hint() : std::string(),
            .admin = entry.admin(),
            .downstream = entry.downstream(),
            .store_svid = entry.store_svid(),
            .prefetch = !entry.additional_attributes().disable_x509_svid_prefetch(),
            .unique_jwt_id = entry.additional_attributes().jwt_svid_include_jti()};
  for (const std::string& name : entry.federates_with()) {
    out.federates_with.push_back(
        TRY(spiffe::TrustDomain::parse(name).during("invalid federated trust domain")));
  }
  return std::make_shared<const Entry>(std::move(out));
}

Result<jose::Bundle> bundle_from_proto(const types::Bundle& bundle) {
  auto domain = TRY(spiffe::TrustDomain::parse(bundle.trust_domain()));
  jose::Bundle out{.trust_domain = std::move(domain)};
  for (const types::X509Certificate& authority : bundle.x509_authorities()) {
    // Some servers put a chain into one field, as SPIRE's parser allows.
    for (Bytes& der : TRY(x509::split_concatenated(authority.asn1(), limits::kChainCertificatesMax)
                              .during("unable to parse root CA"))) {
      out.x509_authorities.push_back({std::move(der), authority.tainted()});
    }
  }
  for (const types::JWTKey& key : bundle.jwt_authorities()) {
    if (key.key_id().empty()) {
      return invalid_argument("missing key ID");
    }
    out.jwt_authorities.push_back(
        {key.public_key(), key.key_id(), from_unix_seconds(key.expires_at()), key.tainted()});
  }
  out.sequence_number = bundle.sequence_number();
  out.refresh_hint = seconds_within_limits(bundle.refresh_hint());
  return out;
}

ServerApi::Handle ServerApi::unary(std::string method, Bytes request, rpc::CallOptions options,
                                   rpc::UnaryReply reply) {
  return identity_.channel().unary(
      std::move(method), std::move(request), std::move(options),
      [&identity = identity_, asked = identity_.svid(),
       reply = std::move(reply)](Result<Bytes> raw) mutable {
        reply(raw.ok() ? std::move(raw) : identity.of_call(asked, std::move(raw.error())));
      });
}

ServerApi::Handle ServerApi::stream(std::string method, rpc::CallOptions options,
                                    rpc::StreamReply reply) {
  reply.on_done = [&identity = identity_, asked = identity_.svid(),
                   done = std::move(reply.on_done)](Result<void> status) mutable {
    done(status.ok() ? std::move(status) : identity.of_call(asked, std::move(status.error())));
  };
  return identity_.channel().stream(std::move(method), std::move(options), std::move(reply));
}

ServerApi::Handle ServerApi::get_bundle(Reply<jose::Bundle> reply) {
  return unary("/spire.api.server.bundle.v1.Bundle/GetBundle",
               bundle_v1::GetBundleRequest().SerializeAsString(), {.timeout = kServerCallTimeout},
               [reply = std::move(reply)](Result<Bytes> raw) mutable {
                 auto message = parsed<types::Bundle>(std::move(raw), "failed to fetch bundle");
                 if (!message.ok()) {
                   reply(std::move(message.error()));
                 } else {
                   reply(bundle_from_proto(*message));
                 }
               });
}

ServerApi::Handle ServerApi::get_federated_bundle(const spiffe::TrustDomain& domain,
                                                  Reply<jose::Bundle> reply) {
  bundle_v1::GetFederatedBundleRequest request;
  request.set_trust_domain(domain.name());
  return unary(
      "/spire.api.server.bundle.v1.Bundle/GetFederatedBundle", request.SerializeAsString(),
      {.timeout = kServerCallTimeout}, [reply = std::move(reply)](Result<Bytes> raw) mutable {
        auto message = parsed<types::Bundle>(std::move(raw), "failed to fetch federated bundle");
        if (!message.ok()) {
          reply(std::move(message.error()));
        } else {
          reply(bundle_from_proto(*message));
        }
      });
}

ServerApi::Handle ServerApi::get_authorized_entries(Reply<std::vector<EntryPtr>> reply,
                                                    Logger log) {
  entry_v1::GetAuthorizedEntriesRequest request;
  *request.mutable_output_mask() = entry_output_mask();
  return unary("/spire.api.server.entry.v1.Entry/GetAuthorizedEntries", request.SerializeAsString(),
               {.timeout = kServerCallTimeout, .message_bytes_max = kEntriesBytesMax},
               [reply = std::move(reply), log = std::move(log)](Result<Bytes> raw) mutable {
                 auto message = parsed<entry_v1::GetAuthorizedEntriesResponse>(
                     std::move(raw), "failed to fetch authorized entries");
                 if (!message.ok()) {
                   reply(std::move(message.error()));
                   return;
                 }
                 std::vector<EntryPtr> out;
                 for (const types::Entry& entry : message->entries()) {
                   auto checked = entry_from_proto(entry);
                   if (checked.ok()) {
                     out.push_back(std::move(*checked));
                   } else {
                     LOG_WARN(
                         log,
                         "Received malformed entry from SPIRE server; are the server and agent "
                         "versions compatible?",
                         {"entry_id", entry.id()}, {"error", checked.error()});
                   }
                 }
                 reply(std::move(out));
               });
}

ServerApi::Handle ServerApi::batch_new_x509_svid(const std::vector<NewSvidRequest>& requests,
                                                 Reply<std::vector<NewSvidResult>> reply) {
  svid_v1::BatchNewX509SVIDRequest request;
  for (const NewSvidRequest& one : requests) {
    auto* params = request.add_params();
    params->set_entry_id(one.entry_id);
    params->set_csr(one.csr);
  }
  return unary("/spire.api.server.svid.v1.SVID/BatchNewX509SVID", request.SerializeAsString(),
               {.timeout = kServerCallTimeout, .message_bytes_max = kSvidsBytesMax},
               [reply = std::move(reply), expected = requests.size()](Result<Bytes> raw) mutable {
                 auto message = parsed<svid_v1::BatchNewX509SVIDResponse>(
                     std::move(raw), "failed to batch new X509 SVID(s)");
                 if (!message.ok()) {
                   reply(std::move(message.error()));
                 } else {
                   reply(svid_results(*message, expected));
                 }
               });
}

ServerApi::Handle ServerApi::new_jwt_svid(const std::string& entry_id,
                                          const std::vector<std::string>& audience,
                                          Duration timeout, Reply<NewJwtSvid> reply) {
  svid_v1::NewJWTSVIDRequest request;
  request.set_entry_id(entry_id);
  for (const std::string& name : audience) {
    request.add_audience(name);
  }
  return unary("/spire.api.server.svid.v1.SVID/NewJWTSVID", request.SerializeAsString(),
               {.timeout = timeout}, [reply = std::move(reply)](Result<Bytes> raw) mutable {
                 auto message = parsed<svid_v1::NewJWTSVIDResponse>(std::move(raw),
                                                                    "failed to fetch JWT SVID");
                 if (!message.ok()) {
                   reply(std::move(message.error()));
                 } else {
                   reply(jwt_svid_from(*message));
                 }
               });
}

ServerApi::Handle ServerApi::post_status(const std::string& version, Reply<void> reply) {
  agent_v1::PostStatusRequest request;
  request.set_agent_version(version);
  return unary("/spire.api.server.agent.v1.Agent/PostStatus", request.SerializeAsString(),
               {.timeout = kServerCallTimeout},
               [reply = std::move(reply)](Result<Bytes> raw) mutable {
                 if (raw.ok()) {
                   reply({});
                 } else {
                   reply(call_error(raw.error(), "failed to post agent status"));
                 }
               });
}

}  // namespace steeple::agent
