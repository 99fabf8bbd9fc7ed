// SPDX-License-Identifier: Apache-2.0

#include "server/nodeattestor/join_token.h"

#include <utility>

namespace steeple::server {

namespace {

class JoinTokenAttestation final : public Attestation {
 public:
  JoinTokenAttestation(const spiffe::TrustDomain& trust_domain, Datastore& datastore, Clock& clock)
      : trust_domain_(trust_domain), datastore_(datastore), clock_(clock) {}

  Result<AttestationOutcome> start(ByteView payload) override {
    if (payload.empty() || payload.size() > kJoinTokenBytesMax) {
      return invalid_argument(std::string(kJoinTokenGone));
    }
    auto token = datastore_.fetch_join_token(payload);
    if (!token.ok()) {
      return internal("failed to look up join token: " + token.error().message);
    }
    if (!*token) {
      return invalid_argument(std::string(kJoinTokenGone));
    }
    if (from_unix_seconds((*token)->expires_at) < clock_.now()) {
      static_cast<void>(datastore_.spend_join_token(payload).ok());  // pruning takes it otherwise
      return invalid_argument("join token expired");
    }
    auto id = join_token_agent_id(trust_domain_, (*token)->token);
    if (!id.ok()) {
      return internal("failed to create join token ID: " + id.error().message);
    }
    return AttestationOutcome(AgentAttributes{.agent_id = std::move(id).take(),
                                              .selectors = {},
                                              .can_reattest = false,
                                              .join_token = (*token)->token});
  }

  Result<AttestationOutcome> challenge_response(ByteView) override {
    return invalid_argument("join_token has no challenge");
  }

 private:
  const spiffe::TrustDomain& trust_domain_;
  Datastore& datastore_;
  Clock& clock_;
};

class JoinTokenAttestor final : public NodeAttestor {
 public:
  JoinTokenAttestor(spiffe::TrustDomain trust_domain, Datastore& datastore, Clock& clock)
      : trust_domain_(std::move(trust_domain)), datastore_(datastore), clock_(clock) {}

  std::string_view name() const override { return kJoinTokenType; }
  std::unique_ptr<Attestation> begin(AttestingPeer) const override {
    return std::make_unique<JoinTokenAttestation>(trust_domain_, datastore_, clock_);
  }

 private:
  const spiffe::TrustDomain trust_domain_;
  Datastore& datastore_;
  Clock& clock_;
};

}  // namespace

Result<spiffe::SpiffeId> join_token_agent_id(const spiffe::TrustDomain& trust_domain,
                                             std::string_view token) {
  // The token is one segment: it must not bring a path of its own.
  if (token.find('/') != std::string_view::npos) {
    return invalid_argument(
        "path segment characters are limited to letters, numbers, dots, "
        "dashes, and underscores");
  }
  return spiffe::SpiffeId::make(trust_domain, "/spire/agent/join_token/" + std::string(token));
}

std::unique_ptr<NodeAttestor> join_token_attestor(spiffe::TrustDomain trust_domain,
                                                  Datastore& datastore, Clock& clock) {
  return std::make_unique<JoinTokenAttestor>(std::move(trust_domain), datastore, clock);
}

}  // namespace steeple::server
