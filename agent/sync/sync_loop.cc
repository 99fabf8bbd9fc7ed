// SPDX-License-Identifier: Apache-2.0

#include "agent/sync/sync_loop.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "agent/config/backoff.h"
#include "agent/sync/bundle_sync.h"
#include "agent/sync/entry_sync.h"
#include "agent/sync/push_stream.h"
#include "agent/sync/svid_requests.h"
#include "lib/x509/certificate.h"

namespace steeple::agent {
namespace {

constexpr auto kDefaultSyncInterval = std::chrono::seconds(5);
constexpr int kBackoffIntervals = 48;

// What a sync fetches.
struct Scope {
  bool entries = false;
  bool bundles = false;
  bool any() const { return entries || bundles; }
};

}  // namespace

class SyncLoop::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Options options, Deps deps)
      : options_(std::move(options)),
        deps_(std::move(deps)),
        server_(deps_.identity),
        backoff_(options_.sync_interval,
                 std::min<Duration>(kSyncBackoffMax, options_.sync_interval * kBackoffIntervals)),
        svids_(options_.workload_key_type, options_.rotation,
               {deps_.loop, deps_.workers, deps_.random, server_, deps_.cache, deps_.log,
                deps_.metrics, [this](const Error& error) { denied(error); }}),
        push_({deps_.loop, deps_.random, server_, deps_.log},
              {.changed = [this](bool entries, bool bundles) { request({entries, bundles}); },
               .live =
                   [this](bool) {
                     request({});  // what failed before the server came back
                     schedule();
                   },
               .failed = [this](const Error& error) { denied(error); }}),
        timer_(deps_.loop) {}

  void start(std::function<void()> ready) {
    ready_ = std::move(ready);
    identity_watch_ = deps_.identity.changed(
        [weak = weak_from_this(), &loop = deps_.loop](const std::shared_ptr<const AgentSvid>&) {
          loop.post([weak] {
            if (auto self = weak.lock()) {
              self->identity_changed();
            }
          });
        });
    post_status();
    if (options_.use_push) {
      push_.open();
    }
    request({true, true});
  }

  void wished() { svids_.look(); }
  std::optional<WallTime> last_sync() const { return last_sync_; }

 private:
  void post_status() {
    status_call_ = server_.post_status(options_.version, [this](Result<void> posted) {
      if (!posted.ok()) {
        LOG_WARN(deps_.log, "Failed to post agent status", {"agent_version", options_.version},
                 {"error", posted.error()});
        denied(posted.error());
      }
    });
  }

  // The new identity has a new connection.
  void identity_changed() {
    blocked_ = false;
    if (options_.use_push) {
      push_.open();
    }
    backoff_.reset();
    svids_.server_is_back();
    request({true, true});
  }

  // True when the identity is being dealt with; then nothing is asked until there is a new one.
  bool denied(const Error& error) {
    if (deps_.identity.handle_denial(error)) {
      blocked_ = true;
      timer_.cancel();
      return true;
    }
    return false;
  }

  // --- one sync ---------------------------------------------------------------------------------

  void request(Scope scope) {
    wanted_.entries |= scope.entries;
    wanted_.bundles |= scope.bundles;
    if (!running_ && !blocked_ && wanted_.any()) {
      begin();
    }
  }

  void begin() {
    running_ = true;
    timer_.cancel();
    scope_ = std::exchange(wanted_, {});
    covers_ = push_.announced();
    counter_.emplace(deps_.metrics, deps_.loop.clock(), "manager.sync.fetch_entries_updates");
    difference_ = {};
    if (!scope_.entries) {
      fetch_bundles();
      return;
    }
    entry_sync_ =
        std::make_unique<EntrySync>(server_, known_, options_.use_sync_rpc, deps_.log,
                                    [this](Result<EntryDifference> difference) {
                                      if (!difference.ok()) {
                                        LOG_ERROR(deps_.log, "Failed to fetch authorized entries",
                                                  {"error", difference.error()});
                                        failed(difference.error());
                                        return;
                                      }
                                      difference_ = std::move(*difference);
                                      fetch_bundles();
                                    });
  }

  std::set<spiffe::TrustDomain> federated() const {
    std::set<spiffe::TrustDomain> out;
    std::set<std::string_view> removed(difference_.removed_ids.begin(),
                                       difference_.removed_ids.end());
    for (const EntryPtr& entry : difference_.added_or_changed) {
      out.insert(entry->federates_with.begin(), entry->federates_with.end());
      removed.insert(entry->id);
    }
    for (const auto& [id, entry] : known_) {
      if (!entry->federates_with.empty() && !removed.contains(id)) {
        out.insert(entry->federates_with.begin(), entry->federates_with.end());
      }
    }
    out.erase(options_.trust_domain);
    return out;
  }

  void fetch_bundles() {
    std::set<spiffe::TrustDomain> wanted = federated();
    std::erase_if(bundles_, [&](const auto& item) {
      return item.first != options_.trust_domain && !wanted.contains(item.first);
    });
    bool own = scope_.bundles || !bundles_.contains(options_.trust_domain);
    if (!scope_.bundles) {
      std::erase_if(wanted, [&](const auto& domain) { return bundles_.contains(domain); });
    }
    if (!own && wanted.empty()) {
      apply({});
      return;
    }
    bundle_sync_ = std::make_unique<BundleSync>(server_, own, std::move(wanted), bundles_,
                                                deps_.log, [this](Result<TrustBundles> bundles) {
                                                  if (!bundles.ok()) {
                                                    failed(bundles.error());
                                                  } else {
                                                    apply(std::move(*bundles));
                                                  }
                                                });
    bundle_sync_->start();
  }

  void apply(TrustBundles fetched) {
    if (scope_.bundles) {
      // All were asked for: what did not come back is gone. The own one is always among them.
      bundles_ = std::move(fetched);
    } else {
      bundles_.merge(fetched);
    }
    TrustBundlePtr own = bundles_.at(options_.trust_domain);
    std::vector<Bytes> authorities;
    for (const jose::X509Authority& authority : own->bundle.x509_authorities) {
      authorities.push_back(authority.der);
    }
    deps_.identity.set_bundle(authorities);
    deps_.cache.set_bundles(bundles_);
    handle_taints(own->bundle);
    apply_entries();
    running_ = false;
    last_sync_ = deps_.loop.clock().now();
    push_.synced(covers_);
    backoff_.reset();
    counter_->done(Code::kOk);
    svids_.server_is_back();
    if (auto ready = std::exchange(ready_, nullptr)) {
      ready();
    }
    request({});
    schedule();
  }

  void apply_entries() {
    report_sync();
    std::vector<EntryPtr> changed;
    std::vector<std::string> removed = difference_.removed_ids;
    for (const EntryPtr& entry : difference_.added_or_changed) {
      if (entry->store_svid) {
        // For SVID stores, which the Workload API does not serve.
        removed.push_back(entry->id);
      } else {
        changed.push_back(entry);
      }
      known_.insert_or_assign(entry->id, entry);
    }
    for (const std::string& id : difference_.removed_ids) {
      known_.erase(id);
    }
    if (!changed.empty() || !removed.empty()) {
      deps_.cache.change_entries(changed, removed);
    }
  }

  void report_sync() {
    if (!deps_.metrics.enabled()) {
      return;
    }
    auto gauge = [this](const char* key, std::size_t value) {
      deps_.metrics.gauge(key, static_cast<double>(value));
    };
    gauge("sync_bundles_total", bundles_.size());
    gauge("sync_entries_total",
          known_.size() + difference_.missing - difference_.removed_ids.size());
    gauge("sync_entries_missing", difference_.missing);
    gauge("sync_entries_stale", difference_.stale);
    gauge("sync_entries_dropped", difference_.removed_ids.size());
  }

  // An authority that became tainted: whatever it signed is replaced.
  void handle_taints(const jose::Bundle& own) {
    std::set<Bytes> authorities;
    std::vector<std::string> names;
    for (const jose::X509Authority& authority : own.x509_authorities) {
      if (!authority.tainted) {
        continue;
      }
      auto certificate = x509::Certificate::parse(authority.der);
      if (certificate.ok()) {
        Bytes key_id((*certificate)->subject_key_id());
        if (tainted_authorities_.insert(key_id).second) {
          names.push_back(hex_encode(key_id));
          authorities.insert(std::move(key_id));
        }
      }
    }
    if (!authorities.empty()) {
      LOG_DEBUG(deps_.log, "New tainted X.509 authorities found",
                {"subject_key_ids", fmt::format("{}", fmt::join(names, ","))});
      CallCounter call(deps_.metrics, deps_.loop.clock(),
                       "cache_manager.workload.process_tainted_x509_svids");
      deps_.cache.taint(authorities);
      call.done();
      deps_.identity.taint({authorities.begin(), authorities.end()});
    }
    std::set<std::string> keys;
    for (const jose::JwtAuthority& authority : own.jwt_authorities) {
      if (authority.tainted && tainted_keys_.insert(authority.key_id).second) {
        keys.insert(authority.key_id);
      }
    }
    if (!keys.empty()) {
      LOG_DEBUG(deps_.log, "New tainted JWT authorities found",
                {"jwt_authority_key_ids", fmt::format("{}", fmt::join(keys, ","))});
      CallCounter call(deps_.metrics, deps_.loop.clock(),
                       "cache_manager.workload.process_tainted_jwt_svids");
      deps_.tokens.taint(keys);
      call.done();
    }
  }

  void failed(const Error& error) {
    running_ = false;
    counter_->done(error.code);
    // What was asked for is still to be done.
    wanted_.entries |= scope_.entries;
    wanted_.bundles |= scope_.bundles;
    if (denied(error)) {
      return;
    }
    LOG_ERROR(deps_.log, ready_ ? "Failed to initialize manager" : "Synchronize failed",
              {"error", error});
    Duration wait = backoff_.next(deps_.random);
    if (ready_) {
      wait = std::min<Duration>(wait, kDefaultSyncInterval);
    }
    timer_.start(wait, [this] { request({true, true}); });
  }

  // --- when next --------------------------------------------------------------------------------

  void schedule() {
    if (running_ || blocked_ || ready_) {
      return;
    }
    Duration wait;
    if (push_.live()) {
      wait = deps_.random.jitter(options_.safety_interval, 0.2);
    } else {
      wait = deps_.random.jitter(options_.sync_interval, 0.1);
      if (deps_.cache.svid_count() == 0) {
        wait = std::min<Duration>(wait, kDefaultSyncInterval);
      }
    }
    timer_.start(wait, [this] { request({true, true}); });
  }

  Options options_;
  Deps deps_;
  ServerApi server_;
  Backoff backoff_;
  EntryMap known_;
  TrustBundles bundles_;
  std::set<Bytes> tainted_authorities_;
  std::set<std::string> tainted_keys_;

  std::function<void()> ready_;
  bool running_ = false;
  bool blocked_ = false;  // denied: waiting for a new identity
  Scope wanted_, scope_;
  PushRevision covers_;
  EntryDifference difference_;
  std::optional<CallCounter> counter_;
  std::optional<WallTime> last_sync_;
  std::unique_ptr<EntrySync> entry_sync_;
  std::unique_ptr<BundleSync> bundle_sync_;
  ServerApi::Handle status_call_;
  SvidRequests svids_;
  PushStream push_;
  io::Timer timer_;
  Watch<AgentSvid>::Subscription identity_watch_;
};

SyncLoop::SyncLoop(Options options, Deps deps)
    : core_(std::make_shared<Core>(std::move(options), std::move(deps))) {}

SyncLoop::~SyncLoop() = default;

void SyncLoop::start(std::function<void()> ready) { core_->start(std::move(ready)); }

void SyncLoop::wished() { core_->wished(); }

std::optional<WallTime> SyncLoop::last_sync() const { return core_->last_sync(); }

}  // namespace steeple::agent
