// SPDX-License-Identifier: Apache-2.0

// NodeIdentity: renewal, re-attestation and the server's denials.

#include <algorithm>

#include "agent/nodeattestor/node_identity_core.h"
#include "lib/io/on_worker.h"
#include "spire/api/server/agent/v1/agent.pb.h"

namespace steeple::agent {
namespace {

// The server answered, and its answer will not change.
bool is_refusal(const Error& error) {
  switch (error.code) {
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kPermissionDenied:
    case Code::kFailedPrecondition:
    case Code::kUnauthenticated:
      return true;
    default:
      return false;
  }
}

}  // namespace

void NodeIdentity::Core::schedule_renewal() {
  Duration until = renew_at_ - deps_.loop.clock().now();
  timer_.start(std::clamp<Duration>(until, Duration::zero(), kRenewCheckMax),
               [this] { check_renewal(); });
}

void NodeIdentity::Core::check_renewal() {
  if (stopped_ || renewing_) {
    return;
  }
  if (tainted_ || must_reattest_ || deps_.loop.clock().now() >= renew_at_) {
    renew();
  } else {
    schedule_renewal();
  }
}

void NodeIdentity::Core::taint(const std::vector<Bytes>& subject_key_ids) {
  if (tainted_ || !svid_) {
    return;
  }
  bool concerned = std::any_of(
      svid_->chain.begin(), svid_->chain.end(), [&](const x509::CertificatePtr& certificate) {
        return std::find(subject_key_ids.begin(), subject_key_ids.end(),
                         certificate->authority_key_id()) != subject_key_ids.end();
      });
  if (concerned) {
    LOG_INFO(deps_.log, "Agent SVID is tainted by a root authority, forcing rotation");
    tainted_ = true;
    check_renewal();
  }
}

void NodeIdentity::Core::renew() {
  renewing_ = true;
  timer_.cancel();
  std::string key_id = other_slot(svid_->key_id);
  bool attesting = svid_->reattestable || must_reattest_;
  renewal_.emplace(deps_.metrics, deps_.loop.clock(),
                   attesting ? "node.attest" : "agent_svid.rotate");
  if (attesting) {
    reattest(key_id);
  } else {
    renew_by_rpc(key_id);
  }
}

void NodeIdentity::Core::reattest(const std::string& key_id) {
  LOG_DEBUG(deps_.log, "Reattesting node");
  io::on_worker(
      deps_.workers, deps_.loop, weak_from_this(),
      [keys = deps_.keys, key_id]() { return make_key(*keys, key_id); },
      [this](Result<NewKey> key) {
        if (!key.ok()) {
          renewed(std::move(key.error()));
          return;
        }
        auto private_key = key->key;
        std::string id = key->id;
        attest(std::move(*key), [this, private_key, id](Result<Attested> attested) {
          if (!attested.ok()) {
            renewed(std::move(attested.error()));
            return;
          }
          set_bundle(attested->bundle);
          auto svid = make_svid(attested->svid, private_key, id, attested->reattestable,
                                options_.trust_domain);
          if (svid.ok()) {
            LOG_INFO(deps_.log, "Successfully reattested node", {"spiffe_id", (*svid)->id.text()});
          }
          renewed(std::move(svid));
        });
      });
}

void NodeIdentity::Core::renew_by_rpc(const std::string& key_id) {
  LOG_DEBUG(deps_.log, "Rotating agent SVID");
  io::on_worker(
      deps_.workers, deps_.loop, weak_from_this(),
      [keys = deps_.keys, key_id]() { return make_key(*keys, key_id); },
      [this](Result<NewKey> key) {
        if (!key.ok()) {
          renewed(std::move(key.error()));
          return;
        }
        ::spire::api::server::agent::v1::RenewAgentRequest request;
        request.mutable_params()->set_csr(key->csr);
        renew_call_ =
            channel().unary("/spire.api.server.agent.v1.Agent/RenewAgent",
                            request.SerializeAsString(), {.timeout = kRenewTimeout},
                            [this, private_key = key->key, id = key->id](Result<Bytes> reply) {
                              if (!reply.ok()) {
                                renewed(call_error(reply.error(), "failed to renew agent"));
                                return;
                              }
                              ::spire::api::server::agent::v1::RenewAgentResponse response;
                              if (!response.ParseFromString(*reply)) {
                                renewed(internal("failed to renew agent: malformed response"));
                                return;
                              }
                              const auto& chain = response.svid().cert_chain();
                              auto svid = make_svid({chain.begin(), chain.end()}, private_key, id,
                                                    svid_->reattestable, options_.trust_domain);
                              if (svid.ok()) {
                                LOG_INFO(deps_.log, "Successfully rotated agent SVID",
                                         {"spiffe_id", (*svid)->id.text()});
                              }
                              renewed(std::move(svid));
                            });
      });
}

void NodeIdentity::Core::renewed(Result<AgentSvidPtr> svid) {
  if (renewal_) {
    renewal_->done(svid);
    renewal_.reset();
  }
  if (stopped_) {
    return;
  }
  if (!svid.ok()) {
    renewing_ = false;
    renewal_failed(svid.error());
    return;
  }
  adopt(std::move(*svid), [this](Result<void> stored) {
    renewing_ = false;
    if (!stored.ok()) {
      LOG_WARN(deps_.log, "Could not store SVID", {"error", stored.error()});
    }
  });
}

void NodeIdentity::Core::renewal_failed(const Error& error) {
  bool attesting = svid_->reattestable || must_reattest_;
  LOG_ERROR(deps_.log, attesting ? "Could not reattest agent" : "Could not rotate agent SVID",
            {"error", error});
  if (must_reattest_ && is_refusal(error)) {
    LOG_ERROR(deps_.log, "Agent failed re-attestation; removing SVID and shutting down",
              {"error", error});
    give_up(error);
    return;
  }
  if (handle_denial(error)) {
    return;
  }
  // The present SVID stays: its life is not over, and even then the server may come back, or the
  // clock.
  timer_.start(renew_backoff_.next(deps_.random), [this] { check_renewal(); });
}

bool NodeIdentity::Core::handle_denial(const Error& error) {
  switch (denial_of(error)) {
    case Denial::kNone:
      return false;
    case Denial::kShutdown:
      if (!stopped_) {
        LOG_WARN(deps_.log, "Agent is banned: removing SVID and shutting down", {"error", error});
        give_up(error);
      }
      return true;
    case Denial::kReattest:
      break;
  }
  if (stopped_ || must_reattest_) {
    return true;
  }
  if (denies_this_svid(error) && fall_back(error)) {
    return true;
  }
  LOG_WARN(deps_.log, "Agent needs to re-attest; will attempt to re-attest", {"error", error});
  if (!svid_->reattestable) {
    LOG_ERROR(deps_.log, "Agent failed re-attestation; removing SVID and shutting down",
              {"error", "attestation method is not re-attestable"});
    give_up(error);
    return true;
  }
  must_reattest_ = true;
  check_renewal();
  return true;
}

// A renewal that we had given up on may be carried out after the one that we got (requests that
// waited out a partition), and then the server waits for an SVID that nobody has. It still counts
// with the one before, so we go back to it and renew again.
bool NodeIdentity::Core::fall_back(const Error& error) {
  if (falling_back_) {
    return true;
  }
  if (!previous_ || svid_->reattestable ||
      deps_.loop.clock().now() >= previous_->chain.front()->not_after()) {
    return false;
  }
  LOG_WARN(deps_.log, "The renewed agent SVID is not accepted; going back to the one before",
           {"error", error});
  falling_back_ = true;
  adopt(previous_, [this](Result<void> stored) {
    if (!stored.ok()) {
      LOG_WARN(deps_.log, "Could not store SVID", {"error", stored.error()});
    }
  });
  return true;
}

void NodeIdentity::Core::give_up(Error error) {
  stopped_ = true;
  timer_.cancel();
  io::on_worker(
      deps_.workers, deps_.loop, weak_from_this(),
      [store = deps_.store]() {
        return store->update([](AgentData& data) {
          data.svid.clear();
          data.reattestable = false;
        });
      },
      [this, error = std::move(error)](Result<void> removed) mutable {
        if (!removed.ok()) {
          LOG_ERROR(deps_.log, "Failed to remove SVID", {"error", removed.error()});
        }
        deps_.stopped(std::move(error));
      });
}

}  // namespace steeple::agent
