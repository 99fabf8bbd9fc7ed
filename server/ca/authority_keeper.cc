// SPDX-License-Identifier: Apache-2.0

#include "server/ca/authority_keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "server/ca/keeper_work.h"

namespace steeple::server {

namespace {

AuthorityStates states_of(const Rotation& rotation) {
  auto state = [](const Slot& slot) {
    return AuthorityState{.authority_id = slot.authority_id,
                          .upstream_authority_id = slot.upstream_authority_id,
                          .expires_at = slot.not_after};
  };
  AuthorityStates out;
  if (!rotation.current().empty()) {
    out.active = state(rotation.current());
  }
  const Slot& next = rotation.next();
  if (next.status == SlotStatus::kPrepared) {
    out.prepared = state(next);
  } else if (next.status == SlotStatus::kOld) {
    out.old = state(next);
  }
  return out;
}

Result<void> check_trust_domain(Datastore& datastore, const spiffe::TrustDomain& own,
                                const Logger& log) {
  auto foreign = TRY(datastore.foreign_trust_domain(own));
  if (foreign) {
    return failed_precondition(fmt::format(
        "a registration entry with trust domain '{}' has been detected, which does not match the "
        "configured trust domain of '{}'. If you want to change the trust domain, please delete "
        "all existing registration entries",
        foreign->name(), own.name()));
  }
  auto nodes = TRY(datastore.list_nodes({}, Pagination{.token = {}, .page_size = 1}));
  for (const AttestedNode& node : nodes.items) {
    if (!node.spiffe_id.member_of(own)) {
      LOG_WARN(log, fmt::format("An attested node with trust domain '{}' has been detected, which "
                                "does not match the configured trust domain of '{}'. Agents may "
                                "need to be reconfigured to use new trust domain",
                                node.spiffe_id.trust_domain_name(), own.name()));
    }
  }
  return {};
}

// Does this CA hang on one of these roots?
bool chains_to(const X509SigningAuthority& authority, const x509::Authorities& roots,
               WallTime now) {
  std::vector<x509::CertificatePtr> intermediates;
  auto chain = x509::parse_chain(authority.upstream_chain);
  if (chain.ok()) {
    intermediates = std::move(chain).take();
  }
  return x509::verify_chain(authority.issuer->certificate(), intermediates, roots, now).ok();
}

}  // namespace

AuthorityKeeper::Work::Work(AuthorityKeeper& keeper, Journal loaded)
    : journal(std::move(loaded)),
      roots(keeper.deps_.datastore, keeper.deps_.ca.options().trust_domain, keeper.deps_.log),
      x509_kind(keeper.options_.ca_key_type, {.clock = keeper.deps_.clock,
                                              .random = keeper.deps_.random,
                                              .datastore = keeper.deps_.datastore,
                                              .keys = keeper.deps_.keys,
                                              .upstream = keeper.deps_.upstream,
                                              .roots = roots,
                                              .ca = keeper.deps_.ca,
                                              .log = keeper.deps_.log,
                                              .metrics = keeper.deps_.metrics}),
      jwt_kind(keeper.options_.jwt_key_type,
               {.clock = keeper.deps_.clock,
                .random = keeper.deps_.random,
                .keys = keeper.deps_.keys,
                .publish = [&keeper, this](const jose::JwtAuthority& key) -> Result<void> {
                  TRY(keeper.publish_jwt_key(*this, key));
                  return {};
                },
                .ca = keeper.deps_.ca}),
      x509({keeper.deps_.clock, x509_kind, journal, keeper.deps_.log, keeper.deps_.metrics}),
      jwt({keeper.deps_.clock, jwt_kind, journal, keeper.deps_.log, keeper.deps_.metrics}),
      prune_bundle_at(keeper.deps_.clock.steady() + kPruneBundleInterval),
      prune_journals_at(keeper.deps_.clock.steady() + kPruneJournalsInterval) {}

AuthorityKeeper::AuthorityKeeper(Options options, Deps deps)
    : options_(options), deps_(std::move(deps)) {}

AuthorityKeeper::~AuthorityKeeper() = default;

Result<std::unique_ptr<AuthorityKeeper>> AuthorityKeeper::open(Options options, Deps deps) {
  struct Access : AuthorityKeeper {
    Access(Options o, Deps d) : AuthorityKeeper(o, std::move(d)) {}
  };
  std::unique_ptr<AuthorityKeeper> keeper = std::make_unique<Access>(options, std::move(deps));
  const Deps& own = keeper->deps_;
  TRY(check_trust_domain(own.datastore, own.ca.options().trust_domain, own.log));
  auto journal = TRY(Journal::load({.datastore = own.datastore, .keys = own.keys, .log = own.log})
                         .during("failed to load journal from datastore"));
  auto work = keeper->work_.lock();
  *work = std::make_unique<Work>(*keeper, std::move(journal));
  TRY(keeper->restore(**work));
  return keeper;
}

Result<void> AuthorityKeeper::restore(Work& work) {
  auto bundle = TRY(deps_.datastore.fetch_bundle(deps_.ca.options().trust_domain));
  const jose::Bundle* stored = bundle ? &*bundle : nullptr;
  TRY(work.x509.restore(stored));
  if (!options_.disable_jwt_svids) {
    TRY(work.jwt.restore(stored));
  }
  publish_states(work);
  return {};
}

Result<void> AuthorityKeeper::tick() {
  auto lock = work_.lock();
  Work& work = **lock;
  auto saved = work.journal.save();
  if (!saved.ok()) {
    LOG_ERROR(deps_.log, "Unable to store the CA journal", {"error", saved.error()});
  }
  follow_upstream(work);
  auto rotated = rotate(work);
  auto moved = move_off_tainted(work);
  if (!moved.ok()) {
    LOG_WARN(deps_.log, "Failed to process tainted keys on upstream authority",
             {"error", moved.error()});
  }
  prune(work);
  publish_states(work);
  return rotated;
}

Result<void> AuthorityKeeper::rotate(Work& work) {
  auto x509 = work.x509.tick();
  if (!x509.ok()) {
    ++failed_rotations_;
    LOG_ERROR(deps_.log, "Unable to rotate X509 CA", {"error", x509.error()});
    if (work.x509.current().empty()) {
      // Without an active X.509 authority the journal has no row for a JWT key.
      return x509;
    }
  }
  Result<void> jwt;
  if (!options_.disable_jwt_svids) {
    jwt = work.jwt.tick();
    if (!jwt.ok()) {
      ++failed_rotations_;
      LOG_ERROR(deps_.log, "Unable to rotate JWT key", {"error", jwt.error()});
    }
  }
  if (x509.ok() && jwt.ok()) {
    failed_rotations_ = 0;
  }
  return x509.ok() ? jwt : x509;
}

void AuthorityKeeper::follow_upstream(Work& work) {
  const Watch<UpstreamBundle>* updates = has_upstream() ? deps_.upstream->updates() : nullptr;
  if (updates == nullptr || updates->version() == work.upstream_seen) {
    return;
  }
  // The version first: a publish in between is then seen at the next tick.
  const std::uint64_t version = updates->version();
  auto bundle = updates->get();
  auto stored = work.roots.sync(bundle->roots);
  if (stored.ok() && !bundle->jwt_authorities.empty()) {
    jose::Bundle update{.trust_domain = deps_.ca.options().trust_domain};
    update.jwt_authorities = bundle->jwt_authorities;
    auto appended = deps_.datastore.append_bundle(update);
    if (!appended.ok()) {
      stored = std::move(appended).error();
    }
  }
  if (!stored.ok()) {
    LOG_ERROR(deps_.log, "Failed to store X.509 roots received by the upstream authority plugin.",
              {"error", stored.error()});
    return;
  }
  work.upstream_seen = version;
}

// The order matters: our CA moves first, then the bundle says "tainted", then SVIDs are renewed.
Result<void> AuthorityKeeper::move_off_tainted(Work& work) {
  const x509::Authorities tainted = work.roots.tainted();
  if (tainted.empty()) {
    return {};
  }
  LOG_DEBUG(deps_.log, "Processing tainted keys on upstream authority");
  const WallTime now = deps_.clock.now();
  const Slot& current = work.x509.current();
  if (!current.empty() && chains_to(*current.x509, tainted, now)) {
    LOG_INFO(deps_.log,
             "Current root CA is signed by a tainted upstream authority, preparing rotation");
    const Slot& next = work.x509.next();
    if (next.empty() || chains_to(*next.x509, tainted, now)) {
      TRY(work.x509.prepare().during("failed to prepare x509 authority"));
    }
    TRY(work.x509.activate_prepared());
  }
  for (const auto& root : tainted) {
    TRY(deps_.datastore
            .taint_x509_authority(deps_.ca.options().trust_domain, subject_key_id_text(*root))
            .during("could not taint X509 CA in datastore"));
  }
  work.roots.tainted_handled();
  deps_.ca.publish_tainted(tainted);
  return {};
}

void AuthorityKeeper::prune(Work& work) {
  const SteadyTime steady = deps_.clock.steady();
  if (steady >= work.prune_bundle_at) {
    work.prune_bundle_at = steady + kPruneBundleInterval;
    CallCounter call(deps_.metrics, deps_.clock, "ca.manager.bundle.prune");
    auto changed = deps_.datastore.prune_bundle(deps_.ca.options().trust_domain,
                                                to_unix_seconds(deps_.clock.now() - kBundleSafety));
    call.done(changed);
    if (!changed.ok()) {
      LOG_ERROR(deps_.log, "Could not prune CA certificates", {"error", changed.error()});
    } else if (*changed) {
      deps_.metrics.count("ca.manager.bundle.pruned");
      LOG_DEBUG(deps_.log, "Expired certificates were successfully pruned from bundle");
    }
  }
  if (steady >= work.prune_journals_at) {
    work.prune_journals_at = steady + kPruneJournalsInterval;
    auto pruned =
        deps_.datastore.prune_ca_journals(to_unix_seconds(deps_.clock.now() - kJournalSafety));
    if (!pruned.ok()) {
      LOG_ERROR(deps_.log, "Could not prune CA journals", {"error", pruned.error()});
    }
  }
}

void AuthorityKeeper::publish_states(Work& work) {
  x509_states_.publish(states_of(work.x509));
  jwt_states_.publish(states_of(work.jwt));
}

Result<void> AuthorityKeeper::health() const {
  if (failed_rotations_ > kFailedRotationsMax) {
    return unavailable("rotations exceed the threshold number of failures");
  }
  return {};
}

Result<std::vector<jose::JwtAuthority>> AuthorityKeeper::publish_jwt_key(
    const jose::JwtAuthority& key) {
  auto work = work_.lock();
  return publish_jwt_key(**work, key);
}

Result<std::vector<jose::JwtAuthority>> AuthorityKeeper::publish_jwt_key(
    Work& work, const jose::JwtAuthority& key) {
  jose::Bundle update{.trust_domain = deps_.ca.options().trust_domain};
  update.jwt_authorities = {key};
  if (has_upstream()) {
    auto upstream = deps_.upstream->publish_jwt_key(key);
    if (upstream.ok()) {
      update.jwt_authorities = std::move(upstream).take();
    } else if (upstream.error().code != Code::kUnimplemented) {
      return std::move(upstream).error();
    } else if (!std::exchange(work.warned_no_upstream_jwt, true)) {
      LOG_WARN(deps_.log,
               "UpstreamAuthority plugin does not support JWT-SVIDs. Workloads managed by this "
               "server may have trouble communicating with workloads outside this cluster when "
               "using JWT-SVIDs.",
               {"plugin_name", deps_.upstream->name()});
    }
  }
  return TRY(deps_.datastore.append_bundle(update)).jwt_authorities;
}

}  // namespace steeple::server
