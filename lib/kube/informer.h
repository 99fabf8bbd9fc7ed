// SPDX-License-Identifier: Apache-2.0

// Informer<T>: a collection of the API server as small structs of the user's, kept up to date, and
// told change by change. Each object is decoded once, as it passes by; an object whose
// resourceVersion is known is not decoded again, so a new list after a break tells only what
// changed. On the loop: handlers run there and must not destroy the informer.
//
//   kube::Informer<PodInfo> pods({client, random}, {kube::kPods}, {}, decode_pod, {
//       .added = [](const std::string& key, const PodInfo& pod) {...}, ...});
//   pods.start();

#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lib/io/loop.h"
#include "lib/kube/reflector.h"

namespace steeple::kube {

// A number that differs when the object's resourceVersion does; 0 when it has none.
std::uint64_t version_mark(const nlohmann::json& object);

template <class T>
struct InformerHandlers {
  std::function<void(const std::string& key, const T& now)> added = {};
  // Also with old == now at a resync.
  std::function<void(const std::string& key, const T& old, const T& now)> changed = {};
  std::function<void(const std::string& key, const T& old)> deleted = {};
  std::function<void()> synced = {};  // the first list is complete; once
  std::function<void(const Error& error, Duration retry_in)> troubled = {};
};

struct InformerOptions {
  ReflectorOptions reflector = {};
  Duration resync = Duration::zero();  // zero: never
};

template <class T>
class Informer final : private ReflectorSink {
 public:
  // Nothing: the object is of no interest and counts as absent.
  using Decode = std::function<std::optional<T>(const nlohmann::json&)>;

  Informer(Reflector::Deps deps, Target collection, InformerOptions options, Decode decode,
           InformerHandlers<T> handlers)
      : decode_(std::move(decode)),
        handlers_(std::move(handlers)),
        resync_(options.resync),
        resync_timer_(deps.client.loop()),
        reflector_(deps, std::move(collection), std::move(options.reflector), *this) {}
  Informer(const Informer&) = delete;
  Informer& operator=(const Informer&) = delete;

  void start() { reflector_.start(); }
  // The first list is complete.
  bool synced() const { return synced_; }
  // "namespace/name" or "name". Valid until the next turn of the loop.
  const T* find(const std::string& key) const {
    auto found = store_.find(key);
    return found == store_.end() ? nullptr : &found->second.value;
  }
  template <class F>
  void for_each(F&& visit) const {
    for (const auto& [key, entry] : store_) {
      visit(key, entry.value);
    }
  }
  std::size_t size() const { return store_.size(); }
  const Reflector& reflector() const { return reflector_; }

 private:
  struct Entry {
    T value;
    std::uint64_t version;
    std::uint32_t seen;  // the number of the list that last had it
  };

  void list_began() override { ++list_; }
  void listed(const nlohmann::json& object) override { stored(object); }
  void list_ended() override {
    std::vector<std::string> gone;
    for (const auto& [key, entry] : store_) {
      if (entry.seen != list_) {
        gone.push_back(key);
      }
    }
    for (const std::string& key : gone) {
      erase(key);
    }
    if (!std::exchange(synced_, true)) {
      if (handlers_.synced) {
        handlers_.synced();
      }
      start_resync();
    }
  }
  void stored(const nlohmann::json& object) override {
    std::string key = object_key(object);
    std::uint64_t version = version_mark(object);
    auto found = store_.find(key);
    if (found != store_.end() && version != 0 && found->second.version == version) {
      found->second.seen = list_;
      return;
    }
    std::optional<T> value = decode_(object);
    if (!value) {
      erase(key);
    } else if (found == store_.end()) {
      found = store_.emplace(std::move(key), Entry{std::move(*value), version, list_}).first;
      if (handlers_.added) {
        handlers_.added(found->first, found->second.value);
      }
    } else {
      std::swap(found->second.value, *value);
      found->second.version = version;
      found->second.seen = list_;
      if (handlers_.changed) {
        handlers_.changed(found->first, *value, found->second.value);
      }
    }
  }
  void removed(const nlohmann::json& object) override { erase(object_key(object)); }
  void troubled(const Error& error, Duration wait) override {
    if (handlers_.troubled) {
      handlers_.troubled(error, wait);
    }
  }
  void erase(const std::string& key) {
    auto node = store_.extract(key);
    if (!node.empty() && handlers_.deleted) {
      handlers_.deleted(node.key(), node.mapped().value);
    }
  }
  void start_resync() {
    if (resync_ > Duration::zero()) {
      resync_timer_.start(resync_, [this] {
        start_resync();
        if (handlers_.changed) {
          for (const auto& [key, entry] : store_) {
            handlers_.changed(key, entry.value, entry.value);
          }
        }
      });
    }
  }

  const Decode decode_;
  const InformerHandlers<T> handlers_;
  const Duration resync_;
  std::unordered_map<std::string, Entry> store_;
  std::uint32_t list_ = 0;
  bool synced_ = false;
  io::Timer resync_timer_;
  Reflector reflector_;
};

}  // namespace steeple::kube
