// SPDX-License-Identifier: Apache-2.0

// Desired state, actual state and what lies between them, in one object that knows nothing of
// Kubernetes: whoever feeds it puts facts into `desired()` and says `changed`. Rendering goes on in
// slices, so that the loop stays responsive while 30,000 pods are looked at. On the loop.

#pragma once

#include <functional>
#include <set>

#include "controller/reconcile/bundle_poll.h"
#include "controller/reconcile/desired_state.h"
#include "controller/reconcile/entry_sync.h"

namespace steeple::controller {

inline constexpr std::size_t kPodsPerSlice = 200;
inline constexpr auto kStatusDelay = std::chrono::milliseconds(250);

class Engine {
 public:
  struct Hooks {
    // Sources whose status may have changed, gathered for kStatusDelay.
    std::function<void(const std::set<SourceName>&)> touched = {};
    // All facts and all entries are known; writing begins now.
    std::function<void()> ready = {};
    std::function<void(const std::string& text)> refused = {};
  };

  Engine(EntrySync::Deps deps, std::unique_ptr<DesiredState> desired, EntrySync::Options options,
         Hooks hooks);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  void start();
  DesiredState& desired() { return *desired_; }
  const DesiredState& desired() const { return *desired_; }
  const EntrySync& sync() const { return sync_; }
  EntrySync& sync() { return sync_; }
  // Something was put into the desired state.
  void changed();
  // The feeders have told all that there is. Once.
  void complete();
  bool ready() const { return ready_; }
  // Everything is rendered and written.
  bool idle() const;

 private:
  void work();
  void maybe_ready();
  void touch(std::set<SourceName> names);

  io::Loop& loop_;
  Counters& counters_;
  const Hooks hooks_;
  std::unique_ptr<DesiredState> desired_;
  EntrySync sync_;
  BundlePoll bundles_;
  bool complete_ = false;
  bool ready_ = false;
  bool federates_ = false;
  std::set<SourceName> touched_;
  io::Timer work_timer_;
  io::Timer status_timer_;
};

}  // namespace steeple::controller
