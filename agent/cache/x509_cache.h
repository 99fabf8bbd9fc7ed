// SPDX-License-Identifier: Apache-2.0

// Step 4 of the flow: which entries a workload has, their X509-SVIDs, and who must be told when
// either changes. Entries and SVIDs come in from agent/sync; the Workload API subscribes.
//
// SVIDs are kept for all entries while there is room (soft limit), and always for entries that a
// subscriber has; what is missing, half through its life, outdated or tainted is wished for and
// `take_wishes` hands the wishes to sync. Failures never take anything away: an SVID leaves when
// its entry does, when it is replaced, when it has expired, or to make room while nobody uses it.
//
// Everything happens on the loop. Handlers run inside the call that changed something, or inside
// `subscribe` when the answer is there, and may unsubscribe, also themselves.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/cache/entry.h"
#include "agent/cache/trust_bundle.h"
#include "agent/cache/workload_update.h"
#include "agent/config/rotation.h"
#include "agent/workloadattestor/selector.h"
#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"

namespace steeple::agent {

// Selector sets without a subscriber whose matches stay ready for the next fetch.
inline constexpr std::size_t kIdleWorkloadsMax = 1024;
// Between attempts for an entry that the server refused: doubles up to the limit.
inline constexpr auto kSvidRetryFirst = std::chrono::seconds(5);
inline constexpr auto kSvidRetryMax = std::chrono::minutes(4);

// An SVID that should be signed.
struct SvidWish {
  EntryPtr entry;
  std::optional<WallTime> expires_at;  // of the one it replaces
  bool awaited = false;                // a subscriber has nothing until it comes
};

struct SignedSvid {
  EntryPtr entry;  // as it was in the wish
  X509SvidPtr svid;
};

enum class Interest : std::uint8_t {
  kX509Svids,  // told once every SVID is there; pins them in the cache
  kBundles,    // told at once; entries and bundles only
};

class X509Cache {
 public:
  struct Options {
    spiffe::TrustDomain trust_domain;
    std::size_t svids_max = 1000;  // soft
    // Selectors to look out for; see `late_wanted`.
    bool (*late)(const Selector&) = nullptr;
    RotationPolicy rotation = {};
  };
  struct Deps {
    Clock& clock;
    Random& random;
    Logger log;
    Metrics& metrics;
    // There are new wishes. Called inside the call that made them; must only schedule.
    std::function<void()> wished;
    // Whether entries with such selectors are there: after the first change of entries, and when it
    // becomes another. Called at the end of that change.
    std::function<void(bool)> late_wanted = {};
  };
  using Handler = std::function<void(const WorkloadUpdatePtr&)>;

 private:
  class Core;
  struct Subscriber;

 public:
  class [[nodiscard]] Subscription {
   public:
    Subscription() = default;
    Subscription(Subscription&&) noexcept = default;
    Subscription& operator=(Subscription&& other) noexcept;
    ~Subscription();
    // The newest, also while its SVIDs are still awaited.
    WorkloadUpdatePtr latest() const;

   private:
    friend class X509Cache;
    Subscription(std::weak_ptr<Core> core, std::shared_ptr<Subscriber> subscriber)
        : core_(std::move(core)), subscriber_(std::move(subscriber)) {}
    std::weak_ptr<Core> core_;
    std::shared_ptr<Subscriber> subscriber_;
  };

  X509Cache(Options options, Deps deps);
  ~X509Cache();
  X509Cache(const X509Cache&) = delete;
  X509Cache& operator=(const X509Cache&) = delete;

  // --- from sync -------------------------------------------------------------------------------
  // All bundles. The own one is never taken away, even when it is not among them.
  void set_bundles(TrustBundles bundles);
  // store_svid entries do not belong here. An entry whose SPIFFE ID changed loses its SVID.
  void change_entries(const std::vector<EntryPtr>& added_or_changed,
                      const std::vector<std::string>& removed_ids);

  // At most `count`, the most urgent first; they count as under way until one of the next two.
  std::vector<SvidWish> take_wishes(std::size_t count);
  void set_svids(const std::vector<SignedSvid>& svids);
  // Refused for these entries: tried again later; whoever has other identities waits no longer.
  void refuse_wishes(const std::vector<std::string>& entry_ids);
  // The request failed as a whole: wished for again at once, but nobody waits for them any more who
  // has other identities.
  void return_wishes(const std::vector<std::string>& entry_ids);
  bool has_wishes() const;
  bool has_awaited_wishes() const;
  // When the next wish appears by itself.
  std::optional<WallTime> next_wish_at() const;

  // SVIDs signed below these authorities (subject key ids) are replaced; they stay until then.
  void taint(const std::set<Bytes>& subject_key_ids);

  // --- from the APIs ---------------------------------------------------------------------------
  Subscription subscribe(const std::vector<Selector>& selectors, Interest interest,
                         Handler handler);
  // For one-off questions (JWT-SVIDs, validation): no SVID is waited for or pinned.
  WorkloadUpdatePtr look(const std::vector<Selector>& selectors);

  const TrustBundles& bundles() const;
  std::size_t svid_count() const;
  std::size_t entry_count() const;
  std::size_t subscriber_count() const;

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
