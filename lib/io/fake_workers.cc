// SPDX-License-Identifier: Apache-2.0

#include "lib/io/fake_workers.h"

namespace steeple::io {

SimWorkers::SimWorkers(SimScheduler& scheduler, Options options)
    : scheduler_(scheduler), state_(std::make_shared<State>()) {
  state_->options = options;
}

SimWorkers::~SimWorkers() {
  std::map<std::uint64_t, Task> gone = std::move(state_->queue);
  state_->queue.clear();
}

Result<void> SimWorkers::submit(Task task) {
  const Options& options = state_->options;
  if (state_->queue.size() >= options.queue_max) {
    return resource_exhausted("worker queue is full");
  }
  std::uint64_t id = state_->next_id++;
  state_->queue.emplace(id, std::move(task));
  auto spread = static_cast<std::uint64_t>((options.delay_max - options.delay_min).count());
  Duration delay = options.delay_min +
                   Duration(static_cast<std::int64_t>(scheduler_.random().below(spread + 1)));
  scheduler_.after(delay, [weak = std::weak_ptr<State>(state_), id] {
    auto state = weak.lock();
    if (!state) {
      return;
    }
    auto found = state->queue.find(id);
    if (found != state->queue.end()) {
      Task run = std::move(found->second);
      state->queue.erase(found);
      state.reset();
      run();
    }
  });
  return {};
}

void SimWorkers::set_delay(Duration least, Duration most) {
  CHECK(least <= most);
  state_->options.delay_min = least;
  state_->options.delay_max = most;
}

}  // namespace steeple::io
