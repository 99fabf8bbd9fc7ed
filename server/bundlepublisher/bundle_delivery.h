// SPDX-License-Identifier: Apache-2.0

// Keeps copies of the trust bundle elsewhere (ConfigMaps, webhooks) equal to ours: each target is
// told of every change, a failure is logged and tried again with a growing wait, and every
// kBundleCheckInterval it is looked whether something is owed. Nothing here stops the server. On
// the loop, but for `changed`.

#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/io/loop.h"
#include "lib/jose/bundle.h"
#include "lib/telemetry/log.h"

namespace steeple::server {

inline constexpr auto kBundleCheckInterval = std::chrono::seconds(30);  // the reference's

using BundlePtr = std::shared_ptr<const jose::Bundle>;
using BundleSource = std::function<BundlePtr()>;  // null while there is none

class BundleTarget {
 public:
  virtual ~BundleTarget() = default;          // cancels what is under way
  virtual std::string_view type() const = 0;  // the plugin's: "BundlePublisher", "Notifier"
  virtual std::string_view name() const = 0;
  // Puts the bundle there; `done` runs once, perhaps before this returns. Not called again before.
  virtual void put(const BundlePtr& bundle, std::move_only_function<void(Result<void>)> done) = 0;
};

class BundleDelivery {
 public:
  struct Deps {
    io::Loop& loop;
    Random& random;
    BundleSource bundle;
    Logger log;
  };

  // Looks for the first time on the loop's next turn.
  BundleDelivery(std::vector<std::unique_ptr<BundleTarget>> targets, Deps deps);
  ~BundleDelivery();
  BundleDelivery(const BundleDelivery&) = delete;
  BundleDelivery& operator=(const BundleDelivery&) = delete;

  // The source gives another bundle now. Any thread.
  void changed();
  // The same for who may outlive this.
  std::function<void()> teller();

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::server
