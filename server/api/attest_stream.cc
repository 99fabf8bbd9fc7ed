// SPDX-License-Identifier: Apache-2.0

// Agent.AttestAgent (surface 5.7): the first message carries evidence and a CSR, then challenges go
// back and forth, and the result is the agent's first SVID. The stream lives on the loop; each step
// of the attestor, the signing and the datastore run on a worker. Open to anybody, so limited per
// address, in its number of rounds, and in time.

#include <fmt/format.h>

#include <utility>

#include "lib/x509/csr.h"
#include "server/api/convert.h"
#include "server/api/failure.h"
#include "server/api/services.h"
#include "server/nodeattestor/join_token.h"
#include "spire/api/server/agent/v1/agent.pb.h"

namespace steeple::server {
namespace {

using spire::api::server::agent::v1::AttestAgentRequest;
using spire::api::server::agent::v1::AttestAgentResponse;
using StreamPtr = std::shared_ptr<rpc::ServerStream>;

constexpr std::string_view kBanned = "failed to attest: agent is banned";

Result<void> check_params(const AttestAgentRequest& request) {
  if (!request.has_params()) {
    return invalid_argument("missing params");
  }
  const auto& params = request.params();
  if (!params.has_data()) {
    return invalid_argument("missing attestation data");
  }
  if (!params.has_params()) {
    return invalid_argument("missing X509-SVID parameters");
  }
  if (params.params().csr().empty()) {
    return invalid_argument("missing CSR");
  }
  if (params.data().type().empty()) {
    return invalid_argument("missing attestation data type");
  }
  if (params.data().payload().empty()) {
    return invalid_argument("missing attestation data payload");
  }
  return {};
}

// One attestation. Messages arrive one at a time: while a worker holds the conversation the stream
// is paused.
class AttestStream : public std::enable_shared_from_this<AttestStream> {
 public:
  AttestStream(Endpoint& endpoint, const ServiceDeps& deps, const StreamPtr& stream)
      : endpoint_(endpoint), deps_(deps), weak_(stream) {}

  // The address's turn has come: from now on the conversation has kAttestationTimeout.
  void admitted(rpc::ServerStream& stream) {
    // Only weak references: an agent that goes away leaves no more than the timer behind.
    timer_ = endpoint_.loop().start_timer(kAttestationTimeout, [weak = weak_from_this()] {
      if (auto self = weak.lock()) {
        self->timer_ = 0;
        self->timed_out();
      }
    });
    stream.pause(false);
  }

  void message(ByteView raw) {
    StreamPtr stream = weak_.lock();
    if (!stream || done_) {
      return;
    }
    AttestAgentRequest request;
    if (!request.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
      finish(*stream, internal("grpc: error unmarshalling request"));
      return;
    }
    if (attestation_) {
      run(stream, [self = shared_from_this(), answer = request.challenge_response()] {
        return self->attestation_->challenge_response(answer);
      });
    } else {
      begin(stream, std::move(request));
    }
  }

  void half_closed() {
    if (StreamPtr stream = weak_.lock(); stream && !busy_ && !done_) {
      finish(*stream, attestation_
                          ? internal("failed to receive challenge from agent: EOF")
                          : invalid_argument("failed to receive request from stream: EOF"));
    }
    half_closed_ = true;
  }

 private:
  void begin(const StreamPtr& stream, AttestAgentRequest request) {
    Caller& caller = caller_of(stream->context());
    if (Result<void> good = check_params(request); !good.ok()) {
      finish(*stream, fail(caller, Code::kInvalidArgument, "malformed param", good.error()));
      return;
    }
    params_ = std::move(*request.mutable_params());
    const std::string& type = params_.data().type();
    caller.audit.add({"node_attestor_type", type});
    const NodeAttestor* attestor = deps_.attestors.find(type);
    if (attestor == nullptr) {
      Error missing =
          failed_precondition(fmt::format("could not find node attestor type \"{}\"", type));
      finish(*stream,
             fail(caller, Code::kFailedPrecondition, "error getting node attestor", missing));
      return;
    }
    attestation_ = attestor->begin({.address = caller.peer().address});
    run(stream, [self = shared_from_this()] {
      return self->attestation_->start(self->params_.data().payload());
    });
  }

  void timed_out() {
    StreamPtr stream = weak_.lock();
    if (!stream || done_) {
      return;
    }
    if (busy_) {
      late_ = true;  // the worker holds the conversation; it ends when the step is done
      return;
    }
    finish(*stream, too_late());
  }

  static Error too_late() {
    return deadline_exceeded("node attestation was not completed in time");
  }

  // A step on a worker; what it gives decides how the stream goes on.
  void run(const StreamPtr& stream, std::function<Result<AttestationOutcome>()> step) {
    if (++rounds_ > kChallengesMax) {
      finish(*stream, resource_exhausted("too many attestation challenges"));
      return;
    }
    busy_ = true;
    stream->pause(true);
    // The stream must die on the loop, so the worker's reference always comes back here.
    auto held = std::make_unique<StreamPtr>(stream);
    Result<void> submitted = endpoint_.workers().submit(
        [self = shared_from_this(), held = std::move(held), step = std::move(step)]() mutable {
          Result<AttestAgentResponse> response = self->outcome(caller_of((*held)->context()), step);
          self->endpoint_.loop().post(
              [self, held = std::move(held), response = std::move(response)]() mutable {
                self->stepped(**held, std::move(response));
              });
        });
    if (!submitted.ok()) {
      finish(*stream, std::move(submitted.error()));
    }
  }

  void stepped(rpc::ServerStream& stream, Result<AttestAgentResponse> response) {
    busy_ = false;
    if (!response.ok()) {
      finish(stream, std::move(response.error()));
      return;
    }
    bool last = response->has_result();
    if (late_ && !last) {
      finish(stream, too_late());
      return;
    }
    stream.send(response->SerializeAsString());
    if (last) {
      finish(stream, {});
    } else if (half_closed_) {
      finish(stream, internal("failed to receive challenge from agent: EOF"));
    } else {
      stream.pause(false);
    }
  }

  void finish(rpc::ServerStream& stream, Result<void> status) {
    done_ = true;
    if (timer_ != 0) {
      endpoint_.loop().cancel_timer(std::exchange(timer_, 0));
    }
    if (!busy_) {
      attestation_.reset();
    }
    Caller& caller = caller_of(stream.context());
    caller.audit.finish(caller.log(), status);
    stream.finish(std::move(status));
  }

  // --- on a worker ---

  Result<AttestAgentResponse> outcome(Caller& caller,
                                      const std::function<Result<AttestationOutcome>()>& step) {
    Result<AttestationOutcome> result = step();
    if (!result.ok()) {
      LOG_ERROR(caller.log(), "Failed to attest", {"node_attestor_type", params_.data().type()},
                {"error", result.error()});
      return std::move(result.error());
    }
    AttestAgentResponse response;
    if (auto* challenge = std::get_if<Challenge>(&*result)) {
      response.set_challenge(std::move(challenge->bytes));
      return response;
    }
    TRY(attested(caller, std::get<AgentAttributes>(*result), response));
    return response;
  }

  Result<void> attested(Caller& caller, const AgentAttributes& agent,
                        AttestAgentResponse& response) {
    const spiffe::SpiffeId& id = agent.agent_id;
    caller.audit.add({"agent_id", id.text()});
    if (id.path() == "/spire/server") {
      return fail(caller, Code::kInternal, "agent ID cannot collide with the server ID");
    }
    auto node = deps_.datastore.fetch_node(id);
    if (!node.ok()) {
      return fail(caller, Code::kInternal, "failed to fetch agent", node.error());
    }
    if (*node && (*node)->banned()) {
      return fail(caller, Code::kPermissionDenied, kBanned);
    }
    auto csr = x509::CertificateRequest::parse_and_verify(params_.params().csr());
    if (!csr.ok()) {
      return fail(caller, Code::kInvalidArgument, "failed to parse CSR", csr.error());
    }
    auto svid = deps_.ca.sign_agent_x509_svid(csr->public_key(), id);
    if (!svid.ok()) {
      return fail(caller, Code::kInternal, "failed to sign X509 SVID", svid.error());
    }
    TRY(store(caller, agent, *svid, node->has_value()));
    auto* proto = response.mutable_result();
    proto->set_reattestable(agent.can_reattest);
    svid_to_proto(id, svid->chain, svid->leaf->not_after(), *proto->mutable_svid());
    LOG_INFO(caller.log(), "Agent attestation request completed",
             {"node_attestor_type", params_.data().type()}, {"agent_id", id.text()},
             {"address", caller.peer().address});
    return {};
  }

  Result<void> store(Caller& caller, const AgentAttributes& agent, const SignedX509& svid,
                     bool known) {
    NodeAttestation attestation{.node = {.spiffe_id = agent.agent_id,
                                         .attestation_type = params_.data().type(),
                                         .serial = svid.leaf->serial_decimal(),
                                         .not_after = to_unix_seconds(svid.leaf->not_after()),
                                         .can_reattest = agent.can_reattest,
                                         .selectors = agent.selectors},
                                .join_token = agent.join_token};
    if (deps_.agent_spiffe_id_as_selector) {
      attestation.node.selectors.push_back({.type = "spiffe_id", .value = agent.agent_id.text()});
    }
    auto attested = deps_.datastore.attest_node(attestation);
    if (!attested.ok()) {
      return fail(caller, Code::kInternal,
                  known ? "failed to update attested agent" : "failed to create attested agent",
                  attested.error());
    }
    switch (*attested) {
      case Attested::kYes:
        return {};
      case Attested::kBanned:
        return fail(caller, Code::kPermissionDenied, kBanned);
      case Attested::kTokenGone:
        return fail(caller, Code::kInvalidArgument, kJoinTokenGone);
    }
    return internal("attestation without a result");
  }

  Endpoint& endpoint_;
  const ServiceDeps& deps_;
  std::weak_ptr<rpc::ServerStream> weak_;
  AttestAgentRequest::Params params_;
  std::unique_ptr<Attestation> attestation_;
  int rounds_ = 0;
  std::uint64_t timer_ = 0;
  bool late_ = false;
  bool busy_ = false;
  bool half_closed_ = false;
  bool done_ = false;
};

}  // namespace

void register_attest_agent(Endpoint& endpoint, const ServiceDeps& deps) {
  endpoint.server().stream(
      "/spire.api.server.agent.v1.Agent/AttestAgent", [&endpoint, &deps](const StreamPtr& stream) {
        auto session = std::make_shared<AttestStream>(endpoint, deps, stream);
        std::weak_ptr<rpc::ServerStream> weak = stream;
        // Nothing is read before the address's turn has come.
        stream->pause(true);
        stream->on_message([session](ByteView raw) { session->message(raw); });
        stream->on_half_close([session] { session->half_closed(); });
        endpoint.when_admitted(stream, deps.limits.attestation, 1,
                               "rejecting request due to attest agent rate limiting",
                               [weak, session] {
                                 if (auto admitted = weak.lock()) {
                                   session->admitted(*admitted);
                                 }
                               });
      });
}

}  // namespace steeple::server
