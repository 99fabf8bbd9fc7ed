// SPDX-License-Identifier: Apache-2.0

// Watch<T>: the latest value of something that changes (SVIDs, bundles, TLS snapshots), published
// whole. Writers call `publish`; readers `get` the newest snapshot or `subscribe` to be told.
//
// Threads: all calls are thread safe. A subscriber runs on the publishing thread and must only
// hand the news on (`Loop::post`); it is never called with the Watch's lock held, and never again
// once its Subscription is destroyed on that same thread.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "lib/base/guarded.h"

namespace steeple {

template <class T>
class Watch {
 public:
  using Value = std::shared_ptr<const T>;
  using Callback = std::function<void(const Value&)>;

 private:
  struct State {
    Value value;
    std::uint64_t version = 0;
    std::uint64_t next_id = 1;
    std::map<std::uint64_t, std::shared_ptr<const Callback>> subscribers;
  };

 public:
  class [[nodiscard]] Subscription {
   public:
    Subscription() = default;
    Subscription(Subscription&& other) noexcept { swap(other); }
    Subscription& operator=(Subscription&& other) noexcept {
      Subscription gone;
      gone.swap(*this);
      swap(other);
      return *this;
    }
    ~Subscription() {
      if (state_) {
        state_->lock()->subscribers.erase(id_);
      }
    }

   private:
    friend class Watch;
    Subscription(std::shared_ptr<Guarded<State>> state, std::uint64_t id)
        : state_(std::move(state)), id_(id) {}
    void swap(Subscription& other) noexcept {
      std::swap(state_, other.state_);
      std::swap(id_, other.id_);
    }
    std::shared_ptr<Guarded<State>> state_;
    std::uint64_t id_ = 0;
  };

  Watch() = default;
  explicit Watch(T first) { publish(std::move(first)); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void publish(T value) { publish(std::make_shared<const T>(std::move(value))); }
  void publish(Value value) {
    std::vector<std::shared_ptr<const Callback>> callbacks;
    Value published;
    {
      auto state = state_->lock();
      state->value = std::move(value);
      published = state->value;
      ++state->version;
      callbacks.reserve(state->subscribers.size());
      for (const auto& [id, callback] : state->subscribers) {
        callbacks.push_back(callback);
      }
    }
    for (const auto& callback : callbacks) {
      (*callback)(published);
    }
  }

  // The newest value, or null before the first publish.
  Value get() const { return state_->lock()->value; }
  // Counts publishes; 0 = none yet.
  std::uint64_t version() const { return state_->lock()->version; }

  // Tells of every later publish, not of the present value.
  Subscription subscribe(Callback callback) const {
    auto state = state_->lock();
    std::uint64_t id = state->next_id++;
    state->subscribers.emplace(id, std::make_shared<const Callback>(std::move(callback)));
    return Subscription(state_, id);
  }

 private:
  std::shared_ptr<Guarded<State>> state_ = std::make_shared<Guarded<State>>();
};

}  // namespace steeple
