// SPDX-License-Identifier: Apache-2.0

// NodeIdentity: the first SVID, from disk or by attestation.

#include <fmt/core.h>

#include "agent/nodeattestor/node_identity_core.h"
#include "lib/base/check.h"
#include "lib/io/on_worker.h"
#include "lib/tls/spiffe_policy.h"
#include "lib/x509/csr.h"

namespace steeple::agent {
namespace {

constexpr std::string_view kSlotA = "agent-svid-A";
constexpr std::string_view kSlotB = "agent-svid-B";
constexpr auto kExpirySkew = std::chrono::seconds(1);

std::vector<Bytes> der_of(const std::vector<x509::CertificatePtr>& chain) {
  std::vector<Bytes> out;
  out.reserve(chain.size());
  for (const auto& certificate : chain) {
    out.push_back(certificate->der());
  }
  return out;
}

}  // namespace

NodeIdentity::Core::Core(Options options, Deps deps)
    : options_(std::move(options)), deps_(std::move(deps)), timer_(deps_.loop) {}

void NodeIdentity::Core::start(std::move_only_function<void(Result<void>)> ready) {
  ready_ = std::move(ready);
  first_attempt_ = deps_.loop.clock().steady();
  first_attempt_wall_ = deps_.loop.clock().now();
  try_to_start();
}

// The reference's gauges: the start of the time without the server's trust, and the tries in it.
// Afterwards the zero time of the stored state, as Go counts it, and no tries.
void NodeIdentity::Core::report_bootstrap(bool done) {
  constexpr double kGoZeroTime = -62'135'596'800;  // 0001-01-01 in Unix seconds
  Metrics& metrics = deps_.metrics;
  auto seconds = static_cast<double>(to_unix_seconds(first_attempt_wall_));
  std::string_view mode = done ? "rebootstrap" : "bootstrap";
  metrics.gauge("bootstrapped", done ? 1 : 0);
  metrics.gauge("bootstrap_seconds", done ? kGoZeroTime : seconds, {{"mode", mode}});
  metrics.gauge("bootstrap_attempts", done ? 0 : attempts_, {{"mode", mode}});
}

void NodeIdentity::Core::try_to_start() {
  BootstrapAttempt attempt{options_.trust_domain, options_.server.host, options_.server.port,
                           ++attempts_, first_attempt_wall_};
  report_bootstrap(!deps_.store->data().bundle.empty());
  io::on_worker(
      deps_.workers, deps_.loop, weak_from_this(),
      [keys = deps_.keys, store = deps_.store, trust = options_.bootstrap,
       attempt = std::move(attempt)]() -> Result<Stored> {
        Stored out;
        AgentData data = store->data();
        if (data.bundle.empty()) {
          out.bundle = TRY(read_bootstrap_bundle(trust, attempt));
        } else {
          out.bundle = data.bundle;
        }
        for (const Bytes& der : data.svid) {
          out.svid.push_back(TRY(x509::Certificate::parse(der)));
        }
        out.reattestable = data.reattestable;
        for (const auto& key : TRY(keys->get_keys().during("unable to load private key"))) {
          out.any_key = true;
          if (!out.svid.empty() && key.signer->public_key() == out.svid.front()->public_key()) {
            out.key = TRY(keys->private_key(key.id));
            out.key_id = key.id;
          }
        }
        return out;
      },
      [this](Result<Stored> stored) { started(std::move(stored)); });
}

void NodeIdentity::Core::started(Result<Stored> stored) {
  if (!stored.ok()) {
    first_failed(std::move(stored.error()));
    return;
  }
  Logger log = deps_.log;
  if (stored->bundle) {
    log = log.with({"trust_domain_id", options_.trust_domain.id_string()});
    LOG_INFO(log, "Bundle loaded");
    trust(*stored->bundle);
  } else {
    LOG_INFO(log, "Bundle is not found");
  }
  if (!usable(*stored)) {
    LOG_INFO(log, "SVID is not found. Starting node attestation");
    attest_first(*stored);
    return;
  }
  if (!stored->bundle) {
    first_failed(internal("SVID loaded but no bundle in cache"));
    return;
  }
  auto svid = make_svid(der_of(stored->svid), stored->key, stored->key_id, stored->reattestable,
                        options_.trust_domain);
  if (!svid.ok()) {
    LOG_WARN(log, "Could not use the stored agent SVID", {"error", svid.error()});
    attest_first(*stored);
    return;
  }
  LOG_INFO(log, "SVID loaded", {"spiffe_id", (*svid)->id.text()});
  use(std::move(*svid));
  store_bundle();
  ready({});
}

bool NodeIdentity::Core::usable(const Stored& stored) {
  bool has_svid = !stored.svid.empty();
  if (has_svid && stored.key) {
    WallTime expiry = stored.svid.front()->not_after();
    if (deps_.loop.clock().now() + kExpirySkew < expiry) {
      return true;
    }
    LOG_WARN(deps_.log, "SVID key recovered, but SVID is expired. Generating new keypair",
             {"expiry", format_rfc3339(expiry)});
  } else if (has_svid && !stored.any_key) {
    LOG_WARN(deps_.log, "SVID recovered, but no keys found. Generating new keypair");
  } else if (has_svid) {
    LOG_WARN(deps_.log, "SVID recovered, but no SVID key found. Generating new keypair");
  } else if (stored.any_key) {
    LOG_WARN(deps_.log, "Keys recovered, but no SVID found. Generating new keypair");
  } else {
    LOG_DEBUG(deps_.log, "No pre-existing agent SVID found. Will perform node attestation");
  }
  return false;
}

std::string NodeIdentity::Core::other_slot(const std::string& present) {
  return std::string(present == kSlotA ? kSlotB : kSlotA);
}

Result<NodeIdentity::Core::NewKey> NodeIdentity::Core::make_key(keymanager::KeyManager& keys,
                                                                const std::string& id) {
  TRY(keys.generate_key(id, crypto::KeyType::kEcP256).during("unable to generate private key"));
  NewKey out{.id = id, .key = {}, .csr = {}};
  out.key = TRY(keys.private_key(id));
  out.csr = TRY(x509::build_csr(*out.key, {}).during("failed to generate CSR for attestation"));
  return out;
}

void NodeIdentity::Core::attest_first(const Stored& stored) {
  bool insecure = !stored.bundle;
  io::on_worker(
      deps_.workers, deps_.loop, weak_from_this(),
      [keys = deps_.keys, id = other_slot(stored.key_id)]() { return make_key(*keys, id); },
      [this, insecure](Result<NewKey> key) {
        if (!key.ok()) {
          first_failed(std::move(key.error()));
          return;
        }
        auto private_key = key->key;
        std::string key_id = key->id;
        if (insecure) {
          authorities_ = nullptr;
        }
        attest(std::move(*key), [this, private_key, key_id](Result<Attested> attested) {
          if (!attested.ok()) {
            first_failed(std::move(attested.error()));
            return;
          }
          auto svid = make_svid(attested->svid, private_key, key_id, attested->reattestable,
                                options_.trust_domain);
          if (!svid.ok()) {
            first_failed(std::move(svid.error()));
            return;
          }
          LOG_INFO(deps_.log, "Node attestation was successful",
                   {"reattestable", attested->reattestable}, {"spiffe_id", (*svid)->id.text()});
          if (!attested->reattestable && options_.memory_keys) {
            LOG_WARN(
                deps_.log,
                "Node attestation is not reattestable and the 'memory' key manager is in use; "
                "if the agent process is restarted, it will be unable to obtain a new SVID and "
                "will need to be manually evicted to be able to re-attest.");
          }
          trust(attested->bundle);
          adopt(std::move(*svid), [this](Result<void> stored_now) {
            if (!stored_now.ok()) {
              LOG_WARN(deps_.log, "Could not store SVID", {"error", stored_now.error()});
            }
            ready({});
          });
        });
      });
}

void NodeIdentity::Core::first_failed(Error error) {
  Clock& clock = deps_.loop.clock();
  // Nobody was there to say no, or the file of the bundle that the server publishes: the
  // reference's patience is for refusals.
  const bool early = error.code == Code::kUnavailable || error.code == Code::kNotFound;
  Backoff& backoff = early ? reach_backoff_ : attest_backoff_;
  Duration wait = backoff.next(deps_.random);
  if (error.code == Code::kPermissionDenied ||
      clock.steady() + wait - first_attempt_ > Duration(kAttestRetryTotal)) {
    ready(std::move(error));
    return;
  }
  LOG_WARN(deps_.log, "Failed to retrieve attestation result", {"error", error},
           {"retry_interval", format_go_duration(wait)});
  timer_.start(wait, [this] { try_to_start(); });
}

void NodeIdentity::Core::ready(Result<void> result) {
  if (auto ready = std::exchange(ready_, nullptr)) {
    if (result.ok()) {
      report_bootstrap(true);
    }
    ready(std::move(result));
  }
}

void NodeIdentity::Core::attest(NewKey key, std::move_only_function<void(Result<Attested>)> done) {
  CallCounter counter(deps_.metrics, deps_.loop.clock(), "node.attestor.new_svid");
  counter.label("attestor", deps_.attestor->name());
  bool insecure = authorities_ == nullptr;
  attestation_ = std::make_unique<Attestation>(
      Attestation::Deps{deps_.loop, deps_.workers, deps_.network, deps_.handshake, deps_.random,
                        deps_.attestor, deps_.log},
      options_.server, policy(false, insecure), options_.user_agent, std::move(key.csr),
      [this, done = std::move(done), counter = std::move(counter)](Result<Attested> out) mutable {
        counter.done(out);
        auto finished = std::move(attestation_);
        auto tell = std::move(done);
        tell(std::move(out));
      });
}

Result<AgentSvidPtr> NodeIdentity::Core::make_svid(
    const std::vector<Bytes>& chain, const std::shared_ptr<const crypto::PrivateKey>& key,
    std::string key_id, bool reattestable, const spiffe::TrustDomain& domain) {
  auto certificates = TRY(x509::parse_chain(chain).during("invalid SVID cert chain"));
  if (certificates.empty()) {
    return invalid_argument("empty SVID cert chain");
  }
  auto id = TRY(x509::id_from_certificate(*certificates.front()));
  if (!id.member_of(domain)) {
    return invalid_argument(fmt::format("agent SVID \"{}\" is of another trust domain", id.text()));
  }
  if (!(certificates.front()->public_key() == key->public_key())) {
    return invalid_argument("agent SVID is for another key");
  }
  auto identity = std::make_shared<const tls::Identity>(tls::Identity{chain, key});
  return std::make_shared<const AgentSvid>(AgentSvid{std::move(id), std::move(certificates),
                                                     std::move(identity), std::move(key_id),
                                                     reattestable});
}

std::shared_ptr<const tls::ClientPolicy> NodeIdentity::Core::policy(bool with_identity,
                                                                    bool insecure) {
  auto out = std::make_shared<tls::ClientPolicy>();
  if (with_identity) {
    out->identity = [weak = weak_from_this()]() -> std::shared_ptr<const tls::Identity> {
      auto self = weak.lock();
      return self && self->svid_ ? self->svid_->identity : nullptr;
    };
  }
  if (insecure) {
    out->verify_server = [log = deps_.log, verify = tls::insecure_bootstrap(options_.trust_domain)](
                             const std::vector<Bytes>& chain) {
      LOG_WARN(log, "Insecure bootstrap enabled; skipping server certificate verification");
      return verify(chain);
    };
  } else {
    out->verify_server = tls::verify_spire_server(
        options_.trust_domain,
        [weak = weak_from_this()](const spiffe::TrustDomain& domain) -> x509::AuthoritiesPtr {
          auto self = weak.lock();
          return self && domain == self->options_.trust_domain ? self->authorities_ : nullptr;
        },
        deps_.loop.clock());
  }
  return out;
}

void NodeIdentity::Core::adopt(AgentSvidPtr svid,
                               std::move_only_function<void(Result<void>)> done) {
  io::on_worker(
      deps_.workers, deps_.loop, weak_from_this(),
      [store = deps_.store, svid, bundle = bundle_]() {
        return store->update([&](AgentData& data) {
          data.svid = svid->identity->chain;
          data.reattestable = svid->reattestable;
          data.bundle = bundle;
        });
      },
      [this, svid, done = std::move(done)](Result<void> stored) mutable {
        use(svid);
        done(std::move(stored));
      });
}

void NodeIdentity::Core::use(AgentSvidPtr svid) {
  previous_ = std::exchange(falling_back_, false) ? nullptr : svid_;
  svid_ = std::move(svid);
  renew_at_ = rotation_time(options_.rotation, svid_->chain.front()->not_before(),
                            svid_->chain.front()->not_after(), deps_.random);
  tainted_ = false;
  must_reattest_ = false;
  renew_backoff_.reset();
  if (channel_) {
    channel_->reconnect();
  }
  watch_.publish(svid_);
  schedule_renewal();
}

rpc::Channel& NodeIdentity::Core::channel() {
  if (!channel_) {
    CHECK(svid_ != nullptr);
    rpc::ChannelOptions how;
    how.user_agent = options_.user_agent;
    how.keepalive_interval = options_.keepalive_interval;
    channel_ = std::make_unique<rpc::Channel>(
        rpc::Channel::Deps{deps_.loop, deps_.network, &deps_.handshake, deps_.random},
        options_.server, policy(true, false), std::move(how));
  }
  return *channel_;
}

void NodeIdentity::Core::trust(const std::vector<Bytes>& authorities) {
  auto parsed = std::make_shared<x509::Authorities>();
  for (const Bytes& der : authorities) {
    auto certificate = x509::Certificate::parse(der);
    if (certificate.ok()) {
      parsed->push_back(std::move(*certificate));
    } else {
      LOG_WARN(deps_.log, "Ignoring an X.509 authority that does not parse",
               {"error", certificate.error()});
    }
  }
  bundle_ = authorities;
  authorities_ = std::move(parsed);
}

void NodeIdentity::Core::set_bundle(const std::vector<Bytes>& authorities) {
  if (authorities == bundle_) {
    return;
  }
  if (authorities.empty()) {
    // An empty bundle trusts nobody (Trust Domain and Bundle 4.1), not even the server that could
    // send a better one. SPIRE never sends it; we keep what we have.
    LOG_WARN(deps_.log, "Ignoring an empty trust bundle of the own trust domain");
    return;
  }
  trust(authorities);
  store_bundle();
}

// One write at a time, always of the newest.
void NodeIdentity::Core::store_bundle() {
  if (storing_bundle_) {
    bundle_changed_ = true;
    return;
  }
  storing_bundle_ = true;
  io::on_worker(
      deps_.workers, deps_.loop, weak_from_this(),
      [store = deps_.store, bundle = bundle_]() {
        return store->update([&](AgentData& data) { data.bundle = bundle; });
      },
      [this](Result<void> stored) {
        storing_bundle_ = false;
        if (!stored.ok()) {
          LOG_ERROR(deps_.log, "Could not store bundle", {"error", stored.error()});
        }
        if (std::exchange(bundle_changed_, false)) {
          store_bundle();
        }
      });
}

}  // namespace steeple::agent
