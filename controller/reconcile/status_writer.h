// SPDX-License-Identifier: Apache-2.0

// Writes status to the API server: only what differs from what was read or written last, at most
// once in kStatusInterval per resource, one call at a time. A Condition that turns bad becomes a
// Warning event, one that turns good a Normal one. On the loop.

#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "controller/crd/object_meta.h"
#include "controller/reconcile/counters.h"
#include "controller/reconcile/status.h"
#include "lib/base/random.h"
#include "lib/kube/backoff.h"
#include "lib/kube/client.h"
#include "lib/kube/events.h"
#include "lib/telemetry/log.h"

namespace steeple::controller {

inline constexpr auto kStatusInterval = std::chrono::seconds(1);

class StatusWriter {
 public:
  struct Deps {
    kube::Client& client;
    Random& random;
    kube::EventRecorder* events;  // null: none
    Logger log;
    Counters& counters;
  };

  explicit StatusWriter(Deps deps);
  ~StatusWriter();
  StatusWriter(const StatusWriter&) = delete;
  StatusWriter& operator=(const StatusWriter&) = delete;

  // As it stands in the API server. Only the first word about an object counts.
  void seen(const kube::Resource& resource, const std::string& name, const nlohmann::json& status);
  void set(const kube::Resource& resource, const ObjectMeta& meta, const ResourceStatus& status);
  void forget(const kube::Resource& resource, const std::string& name);
  bool idle() const;

 private:
  struct Timed {
    Condition condition;
    std::string since;
  };
  struct Item {
    kube::Resource resource = {};
    ObjectMeta meta = {};
    std::string wanted = {};   // JSON of the whole status
    std::string written = {};  // as we know it stands
    std::vector<Timed> conditions = {};
    SteadyTime not_before = {};
    bool due = false;
  };
  using Key = std::pair<std::string, std::string>;

  void tell(const Item& item, const Condition* before, const Condition& now);
  void pump();
  void wrote(const Key& key, const std::string& text, Result<kube::ObjectPtr> answer);

  Deps deps_;
  std::map<Key, Item> items_;
  kube::CallPtr call_;
  bool writing_ = false;
  kube::Backoff backoff_;
  io::Timer timer_;
};

}  // namespace steeple::controller
