// SPDX-License-Identifier: Apache-2.0

// The simulated twin of the event loop. A SimScheduler owns time and order: it moves a FakeClock
// from event to event and, among events that are due at the same time, chooses by its seed. Many
// SimLoops (one per simulated process or thread) share it; everything runs on the calling thread.
// The same seed and the same program give the same run, event by event.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/io/loop.h"

namespace steeple::io {

class SimLoop;

class SimScheduler {
 public:
  SimScheduler(FakeClock& clock, std::uint64_t seed);
  ~SimScheduler();  // after its loops
  SimScheduler(const SimScheduler&) = delete;
  SimScheduler& operator=(const SimScheduler&) = delete;

  // Everything that is due now, and what that causes now.
  void run_ready();
  // Moves the clock through all events up to `when`, and to it.
  void run_until(SteadyTime when);
  void run_for(Duration time) { run_until(clock_.steady() + time); }
  // True as soon as `holds`; false when `at_most` passed or nothing is left that could happen.
  bool run_while_not(const std::function<bool()>& holds, Duration at_most);

  FakeClock& clock() { return clock_; }
  // Draws are part of the run: take from it only inside events, or before the first.
  Random& random() { return random_; }
  std::uint64_t events_run() const { return events_run_; }
  // Differs when two runs took different steps.
  std::uint64_t fingerprint() const { return fingerprint_; }

  // An event outside every loop: workers, wires.
  void at(SteadyTime when, Task task);
  void after(Duration delay, Task task) { at(clock_.steady() + delay, std::move(task)); }

 private:
  friend class SimLoop;
  // Due, the seed's choice, a number that makes it unique.
  using Key = std::tuple<SteadyTime, std::uint64_t, std::uint64_t>;
  struct Event {
    std::uint64_t loop;   // 0: none
    std::uint64_t timer;  // 0: the oldest post of the loop
    Task task;            // of an event outside every loop
  };

  void push(SteadyTime when, Event event);
  bool run_one(SteadyTime until);

  FakeClock& clock_;
  SeededRandom random_;
  std::map<Key, Event> events_;
  std::unordered_map<std::uint64_t, SimLoop*> loops_;
  std::uint64_t next_id_ = 1;
  std::uint64_t events_run_ = 0;
  std::uint64_t fingerprint_ = 0;
  const void* current_ = nullptr;  // whose event runs; null: none, the test's own code
};

// Destroying it drops what it still had to do, as the end of a process does.
class SimLoop final : public Loop {
 public:
  explicit SimLoop(SimScheduler& scheduler) : SimLoop(scheduler, scheduler.clock()) {}
  // With a wall clock of its own, which must share the scheduler's steady time.
  SimLoop(SimScheduler& scheduler, Clock& clock);
  ~SimLoop() override;
  SimLoop(const SimLoop&) = delete;
  SimLoop& operator=(const SimLoop&) = delete;

  void post(Task task) override;
  bool on_loop() const override;
  Clock& clock() override { return clock_; }
  std::uint64_t start_timer(Duration after, Task task) override;
  void cancel_timer(std::uint64_t id) override;
  SimScheduler& scheduler() { return scheduler_; }

 private:
  friend class SimScheduler;

  SimScheduler& scheduler_;
  Clock& clock_;
  std::uint64_t id_;
  std::deque<Task> posted_;
  std::unordered_map<std::uint64_t, Task> timers_;
};

}  // namespace steeple::io
