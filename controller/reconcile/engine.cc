// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/engine.h"

#include <utility>

namespace steeple::controller {

Engine::Engine(EntrySync::Deps deps, std::unique_ptr<DesiredState> desired,
               EntrySync::Options options, Hooks hooks)
    : loop_(deps.loop),
      counters_(deps.counters),
      hooks_(std::move(hooks)),
      desired_(std::move(desired)),
      sync_(deps, std::move(options),
            {.loaded = [this] { maybe_ready(); },
             .touched = [this](const SourceName& name) { touch({name}); },
             .refused =
                 [this](const std::string& text) {
                   if (hooks_.refused) {
                     hooks_.refused(text);
                   }
                 }}),
      bundles_(
          {deps.loop, deps.spire, deps.random, deps.log, deps.counters},
          [this] { return desired_->wants_bundles(); },
          [this](std::optional<std::set<std::string>> domains) {
            desired_->put_bundles(std::move(domains));
            changed();
          }),
      work_timer_(deps.loop),
      status_timer_(deps.loop) {}

void Engine::start() {
  sync_.start();
  bundles_.start();
}

void Engine::complete() {
  complete_ = true;
  changed();
}

void Engine::changed() {
  if (!work_timer_.pending()) {
    work_timer_.start(Duration::zero(), [this] { work(); });
  }
}

void Engine::work() {
  std::size_t before = desired_->marked();
  // Before all facts are there, most of what would be rendered would be rendered twice.
  bool more = complete_ && desired_->work(kPodsPerSlice);
  if (complete_) {
    counters_.pods_rendered += before - desired_->marked();
  }
  touch(desired_->take_touched());
  if (!std::exchange(federates_, desired_->wants_bundles()) && federates_) {
    bundles_.poke();
  }
  if (more) {
    changed();
  }
  if (ready_) {
    sync_.poke();
  } else {
    maybe_ready();
  }
}

void Engine::maybe_ready() {
  if (ready_ || !complete_ || desired_->marked() > 0 || !bundles_.answered() || !sync_.loaded()) {
    return;
  }
  ready_ = true;
  sync_.allow_writes();
  touch({});
  if (hooks_.ready) {
    hooks_.ready();
  }
}

bool Engine::idle() const {
  return ready_ && desired_->marked() == 0 && !work_timer_.pending() && sync_.idle();
}

void Engine::touch(std::set<SourceName> names) {
  touched_.merge(names);
  if (ready_ && !touched_.empty() && !status_timer_.pending()) {
    status_timer_.start(kStatusDelay, [this] {
      if (hooks_.touched) {
        hooks_.touched(std::exchange(touched_, {}));
      }
    });
  }
}

}  // namespace steeple::controller
