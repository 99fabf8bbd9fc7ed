// SPDX-License-Identifier: Apache-2.0

#include "bench/load/simulated_agent.h"

#include <fmt/format.h>

#include "lib/tls/spiffe_policy.h"
#include "spire/api/server/agent/v1/agent.pb.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"

namespace steeple::bench {

namespace agent_v1 = ::spire::api::server::agent::v1;
namespace bundle_v1 = ::spire::api::server::bundle::v1;
namespace entry_v1 = ::spire::api::server::entry::v1;

Admin::Admin(World& world, const std::string& socket, const std::string& trust_domain)
    : world_(world),
      trust_domain_(spiffe::TrustDomain::parse(trust_domain).take()),
      channel_(world.local(socket)) {}

x509::AuthoritiesPtr Admin::bundle() {
  auto bundle = world_.call<::spire::api::types::Bundle>(
      *channel_, "/spire.api.server.bundle.v1.Bundle/GetBundle", bundle_v1::GetBundleRequest());
  auto out = std::make_shared<x509::Authorities>();
  for (const auto& authority : bundle.x509_authorities()) {
    out->push_back(x509::Certificate::parse(authority.asn1()).take());
  }
  return out;
}

std::string Admin::join_token() {
  agent_v1::CreateJoinTokenRequest request;
  request.set_ttl(600);
  return world_
      .call<::spire::api::types::JoinToken>(
          *channel_, "/spire.api.server.agent.v1.Agent/CreateJoinToken", request)
      .value();
}

entry_v1::BatchCreateEntryRequest Admin::batch(const std::string& prefix,
                                               const std::string& parent_path, int first,
                                               int count) const {
  entry_v1::BatchCreateEntryRequest request;
  std::string domain(trust_domain_.name());
  for (int i = first; i < first + count; ++i) {
    auto* entry = request.add_entries();
    entry->mutable_spiffe_id()->set_trust_domain(domain);
    entry->mutable_spiffe_id()->set_path(fmt::format("/{}/service-{}", prefix, i));
    entry->mutable_parent_id()->set_trust_domain(domain);
    entry->mutable_parent_id()->set_path(parent_path);
    auto* selector = entry->add_selectors();
    selector->set_type("unix");
    selector->set_value("uid:1000");
    selector = entry->add_selectors();
    selector->set_type("unix");
    selector->set_value(fmt::format("path:/usr/bin/{}-{}", prefix, i));
  }
  return request;
}

std::vector<std::string> Admin::create(const entry_v1::BatchCreateEntryRequest& request) {
  auto response = world_.call<entry_v1::BatchCreateEntryResponse>(
      *channel_, "/spire.api.server.entry.v1.Entry/BatchCreateEntry", request);
  std::vector<std::string> ids;
  for (const auto& result : response.results()) {
    if (result.status().code() != 0) {
      fail("create entry", internal(result.status().message()));
    }
    ids.push_back(result.entry().id());
  }
  return ids;
}

std::shared_ptr<const tls::ClientPolicy> ServerSide::policy(
    std::shared_ptr<const tls::Identity> own) const {
  auto policy = std::make_shared<tls::ClientPolicy>();
  if (own) {
    policy->identity = [own = std::move(own)] { return own; };
  }
  policy->verify_server = tls::verify_spire_server(
      trust_domain, [authorities = bundle](const spiffe::TrustDomain&) { return authorities; },
      system_clock());
  return policy;
}

void SimulatedAgent::attest(World& world, const ServerSide& server, Done done) {
  channel_ = world.secure(server.address, server.policy(nullptr));
  rpc::StreamReply reply;
  reply.on_message = [this, &world, done = std::move(done)](ByteView raw) {
    agent_v1::AttestAgentResponse response;
    if (!response.ParseFromArray(raw.data(), static_cast<int>(raw.size())) ||
        !response.has_result()) {
      fail("attest", internal("the answer holds no SVID"));
    }
    auto identity = std::make_shared<tls::Identity>();
    identity->key = key_;
    const auto& chain = response.result().svid().cert_chain();
    identity->chain.assign(chain.begin(), chain.end());
    identity_ = std::move(identity);
    done();
    world.loop().post([this] {
      call_.reset();
      channel_.reset();
    });
  };
  reply.on_done = [this](Result<void> status) {
    if (!identity_) {
      fail("attest", status.ok() ? internal("no answer") : status.error());
    }
  };
  call_ = channel_->stream("/spire.api.server.agent.v1.Agent/AttestAgent", {}, std::move(reply));
  agent_v1::AttestAgentRequest request;
  auto* params = request.mutable_params();
  params->mutable_data()->set_type("join_token");
  params->mutable_data()->set_payload(token_);
  params->mutable_params()->set_csr(csr_);
  call_->send(request.SerializeAsString());
}

rpc::Channel& SimulatedAgent::channel(World& world, const ServerSide& server) {
  if (!channel_) {
    CHECK(identity_ != nullptr);
    channel_ = world.secure(server.address, server.policy(identity_));
  }
  return *channel_;
}

}  // namespace steeple::bench
