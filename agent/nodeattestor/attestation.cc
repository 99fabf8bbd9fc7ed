// SPDX-License-Identifier: Apache-2.0

#include "agent/nodeattestor/attestation.h"

#include <fmt/core.h>

#include "lib/base/limits.h"
#include "lib/io/on_worker.h"
#include "lib/rpc/status.h"
#include "spire/api/server/agent/v1/agent.pb.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"

namespace steeple::agent {

namespace agent_v1 = ::spire::api::server::agent::v1;
namespace bundle_v1 = ::spire::api::server::bundle::v1;

Error call_error(const Error& error, std::string_view doing) {
  return {error.code, fmt::format("{}: {}", doing, rpc::go_text(error)), error.details};
}

class Attestation::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Deps deps, const io::Endpoint& server, std::shared_ptr<const tls::ClientPolicy> policy,
       std::string user_agent, Bytes csr, Done done)
      : deps_(std::move(deps)),
        csr_(std::move(csr)),
        done_(std::move(done)),
        channel_({deps_.loop, deps_.network, &deps_.handshake, deps_.random}, server,
                 std::move(policy), {.user_agent = std::move(user_agent)}) {}

  void begin() {
    struct First {
      std::shared_ptr<Proof> proof;
      Bytes payload;
    };
    io::on_worker(
        deps_.workers, deps_.loop, weak_from_this(),
        [attestor = deps_.attestor]() -> Result<First> {
          std::shared_ptr<Proof> proof = TRY(attestor->begin());
          Bytes payload = TRY(proof->payload());
          return First{std::move(proof), std::move(payload)};
        },
        [this](Result<First> first) {
          if (!first.ok()) {
            finish(std::move(first.error()));
            return;
          }
          proof_ = std::move(first->proof);
          open(std::move(first->payload));
        });
  }

 private:
  void open(Bytes payload) {
    call_ = channel_.stream(
        "/spire.api.server.agent.v1.Agent/AttestAgent", {.timeout = kAttestationTimeout},
        {.on_message = [this](ByteView message) { received(message); },
         .on_done = [this](Result<void> status) { closed(std::move(status)); }});
    agent_v1::AttestAgentRequest request;
    auto* params = request.mutable_params();
    params->mutable_data()->set_type(deps_.attestor->name());
    params->mutable_data()->set_payload(payload);
    params->mutable_params()->set_csr(csr_);
    wipe(payload);
    call_->send(request.SerializeAsString());
  }

  void received(ByteView message) {
    agent_v1::AttestAgentResponse response;
    if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      finish(internal("failed to parse attestation response: not an AttestAgentResponse"));
      return;
    }
    switch (response.step_case()) {
      case agent_v1::AttestAgentResponse::kChallenge:
        challenged(response.challenge());
        return;
      case agent_v1::AttestAgentResponse::kResult:
        attested(response.result());
        return;
      default:
        finish(internal("failed to parse attestation response: attest response is missing SVID"));
    }
  }

  void challenged(const Bytes& challenge) {
    if (++challenges_ > kChallengesMax) {
      finish(resource_exhausted("the server sent too many challenges"));
      return;
    }
    io::on_worker(
        deps_.workers, deps_.loop, weak_from_this(),
        [proof = proof_, challenge]() { return proof->answer(challenge); },
        [this](Result<Bytes> answer) {
          if (finished_ || !call_) {
            return;
          }
          if (!answer.ok()) {
            finish(std::move(answer.error()));
            return;
          }
          agent_v1::AttestAgentRequest request;
          request.set_challenge_response(*answer);
          call_->send(request.SerializeAsString());
        });
  }

  void attested(const agent_v1::AttestAgentResponse::Result& result) {
    if (!result.has_svid()) {
      finish(internal("failed to parse attestation response: attest response is missing SVID"));
      return;
    }
    if (result.svid().cert_chain().empty()) {
      finish(internal("failed to parse attestation response: empty SVID cert chain"));
      return;
    }
    result_.svid.assign(result.svid().cert_chain().begin(), result.svid().cert_chain().end());
    result_.reattestable = result.reattestable();
    has_result_ = true;
    call_->close_send();
    fetch_bundle();
  }

  void fetch_bundle() {
    bundle_v1::GetBundleRequest request;
    bundle_call_ = channel_.unary(
        "/spire.api.server.bundle.v1.Bundle/GetBundle", request.SerializeAsString(),
        {.timeout = kAttestationTimeout}, [this](Result<Bytes> reply) {
          ::spire::api::types::Bundle bundle;
          if (!reply.ok()) {
            finish(call_error(reply.error(), "failed to get updated bundle"));
          } else if (!bundle.ParseFromString(*reply) || bundle.x509_authorities().empty()) {
            finish(internal("invalid trust domain bundle"));
          } else {
            for (const auto& authority : bundle.x509_authorities()) {
              result_.bundle.push_back(authority.asn1());
            }
            finish(std::move(result_));
          }
        });
  }

  void closed(Result<void> status) {
    if (has_result_) {
      return;  // the SVID is here; how the stream ends no longer matters
    }
    finish(status.ok() ? internal("failed to receive attestation response: EOF")
                       : call_error(status.error(), "failed to receive attestation response"));
  }

  // Told from a task of its own: our owner drops us then, and the channel with us, which must not
  // happen inside the channel's callbacks.
  void finish(Result<Attested> result) {
    if (std::exchange(finished_, true)) {
      return;
    }
    deps_.loop.post([weak = weak_from_this(), result = std::move(result)]() mutable {
      if (auto self = weak.lock()) {
        self->done_(std::move(result));
      }
    });
  }

  Deps deps_;
  Bytes csr_;
  Done done_;
  rpc::Channel channel_;
  std::shared_ptr<Proof> proof_;
  Attested result_;
  bool has_result_ = false;
  bool finished_ = false;
  int challenges_ = 0;
  std::unique_ptr<rpc::ClientCall> call_, bundle_call_;
};

Attestation::Attestation(Deps deps, const io::Endpoint& server,
                         std::shared_ptr<const tls::ClientPolicy> policy, std::string user_agent,
                         Bytes csr, Done done)
    : core_(std::make_shared<Core>(std::move(deps), server, std::move(policy),
                                   std::move(user_agent), std::move(csr), std::move(done))) {
  core_->begin();
}

Attestation::~Attestation() = default;

}  // namespace steeple::agent
