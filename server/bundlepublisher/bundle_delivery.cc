// SPDX-License-Identifier: Apache-2.0

#include "server/bundlepublisher/bundle_delivery.h"

#include <utility>

#include "lib/kube/backoff.h"

namespace steeple::server {

class BundleDelivery::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(std::vector<std::unique_ptr<BundleTarget>> targets, Deps deps)
      : deps_(std::move(deps)), tick_(deps_.loop) {
    for (auto& target : targets) {
      slots_.push_back(std::make_unique<Slot>(std::move(target), deps_));
    }
  }

  void tick() {
    check_all();
    tick_.start(kBundleCheckInterval, [this] { tick(); });
  }

  void check_all() {
    for (const auto& slot : slots_) {
      // A target that failed has its own time to try again.
      if (!slot->retry.pending()) {
        check(*slot);
      }
    }
  }

  void changed() {
    deps_.loop.post([weak = weak_from_this()] {
      if (auto self = weak.lock()) {
        self->check_all();
      }
    });
  }

  void end() {
    tick_.cancel();
    slots_.clear();
  }

 private:
  struct Slot {
    Slot(std::unique_ptr<BundleTarget> what, const Deps& deps)
        : target(std::move(what)), backoff(deps.random), retry(deps.loop) {}
    std::unique_ptr<BundleTarget> target;
    BundlePtr delivered;
    bool busy = false;
    kube::Backoff backoff;
    io::Timer retry;
  };

  void check(Slot& slot) {
    BundlePtr bundle = deps_.bundle();
    if (slot.busy || !bundle || (slot.delivered && *slot.delivered == *bundle)) {
      return;
    }
    slot.busy = true;
    slot.target->put(bundle, [weak = weak_from_this(), &slot, bundle](Result<void> how) {
      if (auto self = weak.lock()) {
        self->ended(slot, bundle, how);
      }
    });
  }

  void ended(Slot& slot, const BundlePtr& bundle, const Result<void>& how) {
    slot.busy = false;
    if (how.ok()) {
      slot.delivered = bundle;
      slot.backoff.reset();
      check(slot);  // it may have changed meanwhile
      return;
    }
    const Duration wait = slot.backoff.next();
    LOG_ERROR(deps_.log, "Failed to publish bundle", {slot.target->type(), slot.target->name()},
              {"error", how.error()}, {"retry_interval", format_go_duration(wait)});
    slot.retry.start(wait, [this, &slot] { check(slot); });
  }

  Deps deps_;
  std::vector<std::unique_ptr<Slot>> slots_;
  io::Timer tick_;
};

BundleDelivery::BundleDelivery(std::vector<std::unique_ptr<BundleTarget>> targets, Deps deps) {
  io::Loop& loop = deps.loop;
  core_ = std::make_shared<Core>(std::move(targets), std::move(deps));
  loop.post([weak = std::weak_ptr(core_)] {
    if (auto core = weak.lock()) {
      core->tick();
    }
  });
}

BundleDelivery::~BundleDelivery() { core_->end(); }

void BundleDelivery::changed() { core_->changed(); }

std::function<void()> BundleDelivery::teller() {
  return [weak = std::weak_ptr(core_)] {
    if (auto core = weak.lock()) {
      core->changed();
    }
  };
}

}  // namespace steeple::server
