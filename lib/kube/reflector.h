// SPDX-License-Identifier: Apache-2.0

// Follows one collection: a list, then a watch from where the list ended, resumed by
// resourceVersion whenever the stream ends, and listed anew only when the server says 410. Knows no
// types and keeps no objects: they go to the sink one at a time. The inner part of Informer<T>.
// On the loop; the sink must not destroy the reflector from inside a call.

#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lib/base/random.h"
#include "lib/kube/backoff.h"
#include "lib/kube/client.h"

namespace steeple::kube {

class ReflectorSink {
 public:
  virtual ~ReflectorSink() = default;
  // What comes until list_ended is all there is.
  virtual void list_began() = 0;
  virtual void listed(const nlohmann::json& object) = 0;
  virtual void list_ended() = 0;
  virtual void stored(const nlohmann::json& object) = 0;
  virtual void removed(const nlohmann::json& object) = 0;
  // Something failed and will be tried again after the wait.
  virtual void troubled(const Error& error, Duration wait) = 0;
};

struct ReflectorOptions {
  std::string label_selector = {};
  std::string field_selector = {};
  std::size_t page = kListPage;
  bool metadata_only = false;
  Duration watch_min = std::chrono::minutes(5);  // a stream's life: this to twice this
  BackoffOptions backoff = {};
};

class Reflector {
 public:
  struct Deps {
    Client& client;
    Random& random;
  };
  Reflector(Deps deps, Target collection, ReflectorOptions options, ReflectorSink& sink);
  ~Reflector();
  Reflector(const Reflector&) = delete;
  Reflector& operator=(const Reflector&) = delete;

  void start();
  const std::string& resource_version() const;
  std::uint64_t lists() const;    // begun
  std::uint64_t watches() const;  // begun

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace steeple::kube
