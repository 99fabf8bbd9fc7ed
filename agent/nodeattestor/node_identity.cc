// SPDX-License-Identifier: Apache-2.0

#include "agent/nodeattestor/node_identity.h"

#include "agent/nodeattestor/node_identity_core.h"
#include "lib/base/check.h"
#include "spire/api/types/status.pb.h"

namespace steeple::agent {

namespace {

using Details = ::spire::api::types::PermissionDeniedDetails;

// UNKNOWN when the server did not say why.
Details::Reason reason_of(const Error& error) {
  if (error.code != Code::kPermissionDenied) {
    return Details::UNKNOWN;
  }
  for (const ErrorDetail& detail : error.details) {
    Details details;
    if (detail.type_url.ends_with("/spire.api.types.PermissionDeniedDetails") &&
        details.ParseFromString(detail.value) && details.reason() != Details::UNKNOWN) {
      return details.reason();
    }
  }
  return Details::UNKNOWN;
}

}  // namespace

Denial denial_of(const Error& error) {
  switch (reason_of(error)) {
    case Details::AGENT_EXPIRED:
    case Details::AGENT_NOT_ACTIVE:
    case Details::AGENT_NOT_ATTESTED:
    case Details::AGENT_MUST_REATTEST:
      return Denial::kReattest;
    case Details::AGENT_BANNED:
      return Denial::kShutdown;
    default:
      return Denial::kNone;
  }
}

bool denies_this_svid(const Error& error) { return reason_of(error) == Details::AGENT_NOT_ACTIVE; }

NodeIdentity::NodeIdentity(Options options, Deps deps)
    : core_(std::make_shared<Core>(std::move(options), std::move(deps))) {}

NodeIdentity::~NodeIdentity() = default;

void NodeIdentity::start(std::move_only_function<void(Result<void>)> ready) {
  core_->start(std::move(ready));
}

AgentSvidPtr NodeIdentity::svid() const { return core_->svid(); }

rpc::Channel& NodeIdentity::channel() { return core_->channel(); }

void NodeIdentity::set_bundle(const std::vector<Bytes>& authorities) {
  core_->set_bundle(authorities);
}

x509::AuthoritiesPtr NodeIdentity::authorities() const { return core_->authorities(); }

void NodeIdentity::taint(const std::vector<Bytes>& subject_key_ids) {
  core_->taint(subject_key_ids);
}

Error NodeIdentity::of_call(const AgentSvidPtr& asked, Error error) const {
  if (denial_of(error) != Denial::kReattest || asked == core_->svid()) {
    return error;
  }
  return unavailable("the agent's SVID was replaced during the call: " + error.message);
}

bool NodeIdentity::handle_denial(const Error& error) { return core_->handle_denial(error); }

Watch<AgentSvid>::Subscription NodeIdentity::changed(Watch<AgentSvid>::Callback callback) const {
  return core_->changed(std::move(callback));
}

}  // namespace steeple::agent
