// SPDX-License-Identifier: Apache-2.0

// Forced rotation (surface 5.4), the part of AuthorityKeeper behind the LocalAuthority API:
// prepare, activate, then taint and revoke, which only an old authority may suffer. Codes and texts
// are the reference's.

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "server/ca/keeper_work.h"

namespace steeple::server {

namespace {

constexpr std::string_view kJwtDisabled = "JWT functionality is disabled";

AuthorityState state_of(const Slot& slot) {
  return {.authority_id = slot.authority_id,
          .upstream_authority_id = slot.upstream_authority_id,
          .expires_at = slot.not_after};
}

std::string_view status_name(SlotStatus status) {
  switch (status) {
    case SlotStatus::kPrepared:
      return "PREPARED";
    case SlotStatus::kActive:
      return "ACTIVE";
    case SlotStatus::kOld:
      return "OLD";
    case SlotStatus::kUnknown:
      break;
  }
  return "UNKNOWN";
}

std::string unsupported(SlotStatus status) {
  return fmt::format("unsupported local authority status: {}", status_name(status));
}

Result<void> initialized(const Rotation& rotation) {
  if (rotation.current().status != SlotStatus::kActive) {
    return unavailable("server is initializing");
  }
  return {};
}

Result<AuthorityState> activate(Rotation& rotation, const std::string& authority_id) {
  const Slot& next = rotation.next();
  if (authority_id.empty()) {
    return invalid_argument("no authority ID provided");
  }
  if (authority_id != next.authority_id) {
    return invalid_argument("unexpected authority ID");
  }
  if (next.status != SlotStatus::kPrepared) {
    return internal("only Prepared authorities can be activated: " + unsupported(next.status));
  }
  TRY(rotation.activate_prepared());
  return state_of(rotation.current());
}

Result<void> may_taint(const Rotation& rotation, const std::string& authority_id) {
  const Slot& next = rotation.next();
  if (authority_id.empty()) {
    return invalid_argument("no authority ID provided");
  }
  if (authority_id == rotation.current().authority_id) {
    return invalid_argument("unable to taint current local authority");
  }
  if (authority_id != next.authority_id) {
    return invalid_argument("unexpected authority ID");
  }
  if (next.status != SlotStatus::kOld) {
    return invalid_argument("only Old local authorities can be tainted: " +
                            unsupported(next.status));
  }
  return {};
}

Result<void> may_revoke_x509(const Rotation& rotation, const std::string& authority_id) {
  const Slot& next = rotation.next();
  if (authority_id.empty()) {
    return invalid_argument("no authority ID provided");
  }
  if (authority_id == rotation.current().authority_id) {
    return invalid_argument("unable to use current authority");
  }
  if (authority_id != next.authority_id || next.status != SlotStatus::kOld) {
    return invalid_argument("only Old local authority can be revoked");
  }
  return {};
}

Result<void> may_use_upstream(const Rotation& rotation, const std::string& subject_key_id) {
  if (subject_key_id.empty()) {
    return invalid_argument("no subject key ID provided");
  }
  if (subject_key_id == rotation.current().upstream_authority_id) {
    return invalid_argument("unable to use upstream authority singing current authority");
  }
  const Slot& next = rotation.next();
  if (subject_key_id != next.upstream_authority_id) {
    return invalid_argument("upstream authority didn't sign the old local authority");
  }
  if (next.status == SlotStatus::kPrepared) {
    return invalid_argument("only upstream authorities signing an old authority can be used");
  }
  return {};
}

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// An error of the datastore is ours towards the caller, whatever its code.
Error as_internal(Error error, std::string_view doing) {
  error = std::move(error).during(doing);
  error.code = Code::kInternal;
  return error;
}

}  // namespace

Result<AuthorityStates> AuthorityKeeper::x509_states() const {
  auto states = x509_states_.get();
  if (!states || !states->active) {
    return unavailable("server is initializing");
  }
  return *states;
}

Result<AuthorityState> AuthorityKeeper::prepare_x509() {
  auto lock = work_.lock();
  Work& work = **lock;
  TRY(initialized(work.x509));
  auto prepared = work.x509.prepare();
  publish_states(work);
  if (!prepared.ok()) {
    return as_internal(std::move(prepared).error(), "failed to prepare X.509 authority");
  }
  return state_of(work.x509.next());
}

Result<AuthorityState> AuthorityKeeper::activate_x509(const std::string& authority_id) {
  auto lock = work_.lock();
  auto activated = activate((*lock)->x509, authority_id);
  publish_states(**lock);
  return activated;
}

Result<AuthorityState> AuthorityKeeper::taint_x509(const std::string& authority_id) {
  auto lock = work_.lock();
  Work& work = **lock;
  if (has_upstream()) {
    return failed_precondition(
        "local authority can't be tainted if there is an upstream authority");
  }
  TRY(may_taint(work.x509, authority_id));
  auto tainted =
      deps_.datastore.taint_x509_authority(deps_.ca.options().trust_domain, authority_id);
  if (!tainted.ok()) {
    return as_internal(std::move(tainted).error(), "failed to taint X.509 authority");
  }
  TRY(tell_tainted(authority_id));
  LOG_INFO(deps_.log, "X.509 authority tainted successfully", {"local_authority_id", authority_id});
  return state_of(work.x509.next());
}

Result<AuthorityState> AuthorityKeeper::revoke_x509(const std::string& authority_id) {
  auto lock = work_.lock();
  if (has_upstream()) {
    return failed_precondition(
        "local authority can't be revoked if there is an upstream authority");
  }
  TRY(may_revoke_x509((*lock)->x509, authority_id).during("invalid authority ID"));
  auto revoked =
      deps_.datastore.revoke_x509_authority(deps_.ca.options().trust_domain, authority_id);
  if (!revoked.ok()) {
    return as_internal(std::move(revoked).error(), "failed to revoke X.509 authority");
  }
  LOG_INFO(deps_.log, "X.509 authority revoked successfully", {"local_authority_id", authority_id});
  return AuthorityState{.authority_id = authority_id};
}

Result<void> AuthorityKeeper::taint_upstream(const std::string& subject_key_id) {
  auto lock = work_.lock();
  if (!has_upstream()) {
    return failed_precondition("upstream authority is not configured");
  }
  const std::string id = lower_case(subject_key_id);
  TRY(may_use_upstream((*lock)->x509, id).during("provided subject key id is not valid"));
  auto tainted = deps_.datastore.taint_x509_authority(deps_.ca.options().trust_domain, id);
  if (!tainted.ok()) {
    return as_internal(std::move(tainted).error(), "failed to taint upstream authority");
  }
  TRY(tell_tainted(id));
  LOG_INFO(deps_.log, "X.509 upstream authority tainted successfully", {"subject_key_id", id});
  return {};
}

Result<void> AuthorityKeeper::revoke_upstream(const std::string& subject_key_id) {
  auto lock = work_.lock();
  if (!has_upstream()) {
    return failed_precondition("upstream authority is not configured");
  }
  const std::string id = lower_case(subject_key_id);
  TRY(may_use_upstream((*lock)->x509, id).during("invalid subject key ID"));
  auto revoked = deps_.datastore.revoke_x509_authority(deps_.ca.options().trust_domain, id);
  if (!revoked.ok()) {
    return as_internal(std::move(revoked).error(), "failed to revoke X.509 upstream authority");
  }
  LOG_INFO(deps_.log, "X.509 upstream authority successfully revoked", {"subject_key_id", id});
  return {};
}

// Whoever chains to this root renews now.
Result<void> AuthorityKeeper::tell_tainted(const std::string& subject_key_id) {
  auto bundle = TRY(deps_.datastore.fetch_bundle(deps_.ca.options().trust_domain));
  for (const auto& root : bundle ? bundle->x509_authorities : std::vector<jose::X509Authority>{}) {
    if (!root.tainted) {
      continue;
    }
    auto certificate = x509::Certificate::parse(root.der);
    if (certificate.ok() && subject_key_id_text(**certificate) == subject_key_id) {
      deps_.ca.publish_tainted({*certificate});
      return {};
    }
  }
  return internal(fmt::format(
      "failed to notify tainted authority: no tainted root CA found with authority ID: \"{}\"",
      subject_key_id));
}

Result<AuthorityStates> AuthorityKeeper::jwt_states() const {
  if (options_.disable_jwt_svids) {
    return unimplemented(std::string(kJwtDisabled));
  }
  auto states = jwt_states_.get();
  if (!states || !states->active) {
    return unavailable("server is initializing");
  }
  return *states;
}

Result<AuthorityState> AuthorityKeeper::prepare_jwt() {
  if (options_.disable_jwt_svids) {
    return unimplemented(std::string(kJwtDisabled));
  }
  auto lock = work_.lock();
  Work& work = **lock;
  TRY(initialized(work.jwt));
  auto prepared = work.jwt.prepare();
  publish_states(work);
  if (!prepared.ok()) {
    return as_internal(std::move(prepared).error(), "failed to prepare JWT authority");
  }
  return state_of(work.jwt.next());
}

Result<AuthorityState> AuthorityKeeper::activate_jwt(const std::string& authority_id) {
  if (options_.disable_jwt_svids) {
    return unimplemented(std::string(kJwtDisabled));
  }
  auto lock = work_.lock();
  auto activated = activate((*lock)->jwt, authority_id);
  publish_states(**lock);
  return activated;
}

Result<AuthorityState> AuthorityKeeper::taint_jwt(const std::string& authority_id) {
  if (options_.disable_jwt_svids) {
    return unimplemented(std::string(kJwtDisabled));
  }
  auto lock = work_.lock();
  TRY(may_taint((*lock)->jwt, authority_id));
  auto tainted = deps_.datastore.taint_jwt_key(deps_.ca.options().trust_domain, authority_id);
  if (!tainted.ok()) {
    return as_internal(std::move(tainted).error(), "failed to taint JWT authority");
  }
  LOG_INFO(deps_.log, "JWT authority tainted successfully", {"local_authority_id", authority_id});
  return AuthorityState{.authority_id = authority_id};
}

Result<AuthorityState> AuthorityKeeper::revoke_jwt(const std::string& authority_id) {
  if (options_.disable_jwt_svids) {
    return unimplemented(std::string(kJwtDisabled));
  }
  auto lock = work_.lock();
  const Rotation& rotation = (*lock)->jwt;
  constexpr std::string_view kInvalid = "invalid authority ID";
  if (authority_id.empty()) {
    return invalid_argument("no authority ID provided").during(kInvalid);
  }
  if (authority_id == rotation.next().authority_id) {
    if (rotation.next().status == SlotStatus::kPrepared) {
      return invalid_argument("unable to use a prepared key").during(kInvalid);
    }
  } else if (authority_id == rotation.current().authority_id) {
    return invalid_argument("unable to use current authority").during(kInvalid);
  } else {
    auto bundle = TRY(deps_.datastore.fetch_bundle(deps_.ca.options().trust_domain));
    if (!bundle || std::ranges::none_of(bundle->jwt_authorities, [&](const auto& key) {
          return key.key_id == authority_id;
        })) {
      return invalid_argument("no JWT authority found with provided authority ID").during(kInvalid);
    }
  }
  auto revoked = deps_.datastore.revoke_jwt_key(deps_.ca.options().trust_domain, authority_id);
  if (!revoked.ok()) {
    return as_internal(std::move(revoked).error(), "failed to revoke JWT authority");
  }
  LOG_INFO(deps_.log, "JWT authority revoked successfully", {"local_authority_id", authority_id});
  return AuthorityState{.authority_id = authority_id};
}

}  // namespace steeple::server
