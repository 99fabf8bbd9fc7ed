// SPDX-License-Identifier: Apache-2.0

#include "lib/io/fake_loop.h"

#include "lib/base/check.h"

namespace steeple::io {

SimScheduler::SimScheduler(FakeClock& clock, std::uint64_t seed) : clock_(clock), random_(seed) {}

SimScheduler::~SimScheduler() {
  CHECK(loops_.empty());
  // What the events own may schedule as it goes.
  std::map<Key, Event> gone = std::move(events_);
}

void SimScheduler::push(SteadyTime when, Event event) {
  events_.emplace(Key{when, random_.number(), next_id_++}, std::move(event));
}

void SimScheduler::at(SteadyTime when, Task task) { push(when, {0, 0, std::move(task)}); }

bool SimScheduler::run_one(SteadyTime until) {
  auto first = events_.begin();
  if (first == events_.end() || std::get<SteadyTime>(first->first) > until) {
    return false;
  }
  auto [when, choice, number] = first->first;
  Event event = std::move(first->second);
  events_.erase(first);
  if (when > clock_.steady()) {
    clock_.advance(when - clock_.steady());
  }
  ++events_run_;
  fingerprint_ = (fingerprint_ ^ number) * 0x100000001b3ULL + event.loop;
  if (event.loop == 0) {
    current_ = this;  // no loop
    event.task();
    current_ = nullptr;
    return true;
  }
  auto found = loops_.find(event.loop);
  if (found == loops_.end()) {
    return true;
  }
  SimLoop& loop = *found->second;
  Task task;
  if (event.timer != 0) {
    auto timer = loop.timers_.find(event.timer);
    if (timer == loop.timers_.end()) {
      return true;  // cancelled
    }
    task = std::move(timer->second);
    loop.timers_.erase(timer);
  } else {
    task = std::move(loop.posted_.front());
    loop.posted_.pop_front();
    if (!loop.posted_.empty()) {
      push(clock_.steady(), {event.loop, 0, {}});
    }
  }
  current_ = &loop;
  task();
  task = nullptr;
  current_ = nullptr;
  return true;
}

void SimScheduler::run_ready() {
  CHECK(current_ == nullptr);
  while (run_one(clock_.steady())) {
  }
}

void SimScheduler::run_until(SteadyTime when) {
  CHECK(current_ == nullptr);
  while (run_one(when)) {
  }
  if (when > clock_.steady()) {
    clock_.advance(when - clock_.steady());
  }
}

bool SimScheduler::run_while_not(const std::function<bool()>& holds, Duration at_most) {
  SteadyTime end = clock_.steady() + at_most;
  while (!holds()) {
    if (!run_one(end)) {
      return holds();
    }
  }
  return true;
}

SimLoop::SimLoop(SimScheduler& scheduler, Clock& clock)
    : scheduler_(scheduler), clock_(clock), id_(scheduler.next_id_++) {
  scheduler_.loops_.emplace(id_, this);
}

SimLoop::~SimLoop() {
  scheduler_.loops_.erase(id_);
  std::deque<Task> posted = std::move(posted_);
  posted_.clear();
  std::unordered_map<std::uint64_t, Task> timers = std::move(timers_);
  timers_.clear();
  posted.clear();
  timers.clear();
}

void SimLoop::post(Task task) {
  posted_.push_back(std::move(task));
  if (posted_.size() == 1) {
    scheduler_.push(scheduler_.clock_.steady(), {id_, 0, {}});
  }
}

bool SimLoop::on_loop() const {
  return scheduler_.current_ == nullptr || scheduler_.current_ == this;
}

std::uint64_t SimLoop::start_timer(Duration after, Task task) {
  CHECK(on_loop());
  std::uint64_t timer = scheduler_.next_id_++;
  timers_.emplace(timer, std::move(task));
  SteadyTime now = scheduler_.clock_.steady();
  after = std::max(after, Duration::zero());
  if (after < SteadyTime::max() - now) {
    scheduler_.push(now + after, {id_, timer, {}});
  }
  return timer;
}

void SimLoop::cancel_timer(std::uint64_t id) {
  CHECK(on_loop());
  auto found = timers_.find(id);
  if (found != timers_.end()) {
    Task gone = std::move(found->second);
    timers_.erase(found);
  }
}

}  // namespace steeple::io
