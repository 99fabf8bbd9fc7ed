// SPDX-License-Identifier: Apache-2.0

// Goal: the real loop and workers and their simulated twins keep the same contract. Method: one
// suite of claims run on both; then claims that only one of them makes.

#include <gmock/gmock.h>
#include <sys/socket.h>

#include <barrier>
#include <csignal>

#include "lib/io/asio_loop.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_workers.h"
#include "lib/io/file_descriptor.h"
#include "lib/io/worker_pool.h"

namespace steeple::io {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

class Rig {
 public:
  virtual ~Rig() = default;
  virtual Loop& loop() = 0;
  virtual Workers& workers() = 0;
  // Runs until the condition holds; false when it does not within a generous time.
  virtual bool until(const std::function<bool()>& holds) = 0;
};

class RealRig final : public Rig {
 public:
  Loop& loop() override { return loop_; }
  Workers& workers() override { return workers_; }
  bool until(const std::function<bool()>& holds) override {
    bool late = false;
    Timer guard(loop_);
    guard.start(std::chrono::seconds(20), [&] { late = true; });
    while (!holds() && !late) {
      Timer turn(loop_);
      turn.start(std::chrono::microseconds(100), [this] { loop_.stop(); });
      loop_.run();
    }
    return holds();
  }

 private:
  AsioLoop loop_;
  WorkerPool workers_;
};

class SimRig final : public Rig {
 public:
  Loop& loop() override { return loop_; }
  Workers& workers() override { return workers_; }
  bool until(const std::function<bool()>& holds) override {
    return scheduler_.run_while_not(holds, std::chrono::seconds(20));
  }

 private:
  FakeClock clock_;
  SimScheduler scheduler_{clock_, 7};
  SimLoop loop_{scheduler_};
  SimWorkers workers_{scheduler_};
};

template <class T>
class LoopContract : public ::testing::Test {
 protected:
  T rig;
};
using Rigs = ::testing::Types<RealRig, SimRig>;
TYPED_TEST_SUITE(LoopContract, Rigs, );

TYPED_TEST(LoopContract, posts_run_later_and_in_order) {
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) {
    this->rig.loop().post([&order, i] { order.push_back(i); });
  }
  EXPECT_TRUE(order.empty());
  EXPECT_TRUE(this->rig.until([&] { return order.size() == 3; }));
  EXPECT_THAT(order, ElementsAre(0, 1, 2));
}

TYPED_TEST(LoopContract, a_post_inside_a_task_runs_after_it) {
  std::vector<int> order;
  this->rig.loop().post([&] {
    this->rig.loop().post([&] { order.push_back(2); });
    order.push_back(1);
  });
  EXPECT_TRUE(this->rig.until([&] { return order.size() == 2; }));
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TYPED_TEST(LoopContract, timers_fire_once_in_order_of_time) {
  std::vector<int> order;
  Loop& loop = this->rig.loop();
  loop.start_timer(milliseconds(9), [&] { order.push_back(3); });
  loop.start_timer(milliseconds(1), [&] { order.push_back(1); });
  loop.start_timer(milliseconds(5), [&] { order.push_back(2); });
  EXPECT_TRUE(this->rig.until([&] { return order.size() == 3; }));
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TYPED_TEST(LoopContract, a_timer_never_fires_early) {
  Loop& loop = this->rig.loop();
  SteadyTime start = loop.clock().steady();
  Duration took{};
  loop.start_timer(milliseconds(7), [&] { took = loop.clock().steady() - start; });
  EXPECT_TRUE(this->rig.until([&] { return took != Duration::zero(); }));
  EXPECT_GE(took, milliseconds(7));
}

TYPED_TEST(LoopContract, a_cancelled_timer_does_not_fire_and_frees_what_it_owns) {
  Loop& loop = this->rig.loop();
  auto owned = std::make_shared<int>(1);
  bool fired = false;
  std::uint64_t id = loop.start_timer(milliseconds(1), [&fired, owned] { fired = true; });
  EXPECT_EQ(owned.use_count(), 2);
  loop.cancel_timer(id);
  EXPECT_EQ(owned.use_count(), 1);
  loop.cancel_timer(id);
  bool later = false;
  loop.start_timer(milliseconds(5), [&] { later = true; });
  EXPECT_TRUE(this->rig.until([&] { return later; }));
  EXPECT_FALSE(fired);
}

TYPED_TEST(LoopContract, timers_started_and_cancelled_by_the_thousand_leave_the_rest_in_order) {
  Loop& loop = this->rig.loop();
  std::vector<int> order;
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 10000; ++i) {
    ids.push_back(loop.start_timer(milliseconds(5), [&] { order.push_back(-1); }));
  }
  loop.start_timer(milliseconds(2), [&] { order.push_back(1); });
  loop.start_timer(milliseconds(8), [&] { order.push_back(2); });
  for (std::uint64_t id : ids) {
    loop.cancel_timer(id);
  }
  EXPECT_TRUE(this->rig.until([&] { return order.size() == 2; }));
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TYPED_TEST(LoopContract, a_timer_may_restart_itself_and_dies_with_its_owner) {
  int count = 0;
  auto timer = std::make_unique<Timer>(this->rig.loop());
  std::function<void()> tick = [&] {
    if (++count < 3) {
      timer->start(milliseconds(1), tick);
    }
  };
  timer->start(milliseconds(1), tick);
  EXPECT_TRUE(this->rig.until([&] { return count == 3; }));
  EXPECT_FALSE(timer->pending());
  timer->start(milliseconds(1), [&] { count = 100; });
  timer.reset();
  bool later = false;
  this->rig.loop().start_timer(milliseconds(4), [&] { later = true; });
  EXPECT_TRUE(this->rig.until([&] { return later; }));
  EXPECT_EQ(count, 3);
}

TYPED_TEST(LoopContract, workers_run_off_the_loop_and_answer_by_post) {
  Loop& loop = this->rig.loop();
  bool ran_on_loop = true;
  bool answered = false;
  // Submitted by the loop, because a loop that does not run belongs to everybody.
  loop.post([&] {
    auto submitted = this->rig.workers().submit([&] {
      ran_on_loop = loop.on_loop();
      loop.post([&] { answered = loop.on_loop(); });
    });
    EXPECT_TRUE(submitted.ok());
  });
  EXPECT_TRUE(this->rig.until([&] { return answered; }));
  EXPECT_TRUE(answered);
}

TEST(WorkerPool, works_on_as_many_tasks_at_once_as_it_has_threads) {
  constexpr std::size_t kThreads = 4;
  for (int round = 0; round < 200; ++round) {
    std::barrier<> all(kThreads + 1);  // a task that nobody is woken for would wait for ever
    WorkerPool pool({.threads = kThreads});
    for (std::size_t i = 0; i < kThreads; ++i) {
      ASSERT_TRUE(pool.submit([&all] { all.arrive_and_wait(); }).ok());
    }
    all.arrive_and_wait();
  }
}

TEST(WorkerPool, refuses_what_exceeds_its_queue_and_destroys_it_unrun) {
  std::atomic<bool> release = false;
  std::atomic<bool> running = false;
  std::atomic<int> ran = 0;
  auto owned = std::make_shared<int>(1);
  {
    WorkerPool pool({.threads = 1, .queue_max = 2});
    pool.submit([&] {
          running = true;
          while (!release) {
            std::this_thread::yield();
          }
        })
        .take();
    while (!running) {
      std::this_thread::yield();
    }
    pool.submit([&] { ++ran; }).take();
    pool.submit([&] { ++ran; }).take();
    Result<void> refused = pool.submit([&, owned] { ++ran; });
    EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
    EXPECT_EQ(owned.use_count(), 1);
    release = true;
  }
  EXPECT_EQ(ran, 2) << "the destructor runs what is queued";
}

TEST(SimWorkers, refuses_what_exceeds_its_queue) {
  FakeClock clock;
  SimScheduler scheduler(clock, 1);
  SimWorkers workers(scheduler, {.queue_max = 1});
  EXPECT_TRUE(workers.submit([] {}).ok());
  EXPECT_EQ(workers.submit([] {}).error().code, Code::kResourceExhausted);
  scheduler.run_for(milliseconds(10));
  EXPECT_TRUE(workers.submit([] {}).ok());
}

TEST(AsioLoop, posts_from_many_threads_all_arrive_in_the_order_of_each) {
  AsioLoop loop;
  std::map<int, std::vector<int>> seen;
  int total = 0;
  {
    WorkerPool pool({.threads = 4});
    for (int thread = 0; thread < 4; ++thread) {
      pool.submit([&, thread] {
            for (int i = 0; i < 5000; ++i) {
              loop.post([&, thread, i] {
                seen[thread].push_back(i);
                if (++total == 20000) {
                  loop.stop();
                }
              });
            }
          })
          .take();
    }
    loop.run();
  }
  for (const auto& [thread, order] : seen) {
    EXPECT_EQ(order.size(), 5000U);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  }
}

TEST(AsioLoop, stop_before_run_makes_that_run_return) {
  AsioLoop loop;
  loop.stop();
  loop.run();
  bool ran = false;
  loop.post([&] {
    ran = true;
    loop.stop();
  });
  loop.run();
  EXPECT_TRUE(ran);
}

TEST(AsioLoop, signals_come_to_the_handler_on_the_loop) {
  AsioLoop loop;
  std::vector<int> got;
  loop.on_signals({SIGUSR1, SIGUSR2}, [&](int number) {
    got.push_back(number);
    if (got.size() == 2) {
      loop.stop();
    }
  });
  loop.post([] { ::raise(SIGUSR1); });
  loop.post([] { ::raise(SIGUSR2); });
  loop.run();
  EXPECT_THAT(got, ::testing::UnorderedElementsAre(SIGUSR1, SIGUSR2));
}

TEST(AsioLoop, readiness_is_level_triggered_and_a_watch_may_die_in_its_handler) {
  AsioLoop loop;
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  FileDescriptor a(fds[0]);
  FileDescriptor b(fds[1]);
  ASSERT_EQ(::write(b.get(), "xyz", 3), 3);
  auto watch = loop.watch(a.get());
  int told = 0;
  watch->on_ready([&](bool readable, bool) {
    EXPECT_TRUE(readable);
    char one = 0;
    EXPECT_EQ(::read(a.get(), &one, 1), 1);
    if (++told == 3) {
      watch.reset();
      loop.stop();
    }
  });
  watch->interest(true, false);
  loop.run();
  EXPECT_EQ(told, 3);
}

// --- only the simulation can claim these ---

std::vector<int> interleaving(std::uint64_t seed) {
  FakeClock clock;
  SimScheduler scheduler(clock, seed);
  SimLoop a(scheduler);
  SimLoop b(scheduler);
  std::vector<int> order;
  for (int i = 0; i < 10; ++i) {
    a.post([&order, i] { order.push_back(i); });
    b.post([&order, i] { order.push_back(100 + i); });
    a.start_timer(milliseconds(1), [&order, i] { order.push_back(200 + i); });
  }
  scheduler.run_for(milliseconds(1));
  EXPECT_EQ(order.size(), 30U);
  return order;
}

TEST(SimScheduler, the_seed_chooses_the_order_and_replays_it) {
  EXPECT_EQ(interleaving(1), interleaving(1));
  EXPECT_NE(interleaving(1), interleaving(2));
}

TEST(SimScheduler, time_moves_only_from_event_to_event) {
  FakeClock clock;
  SimScheduler scheduler(clock, 1);
  SimLoop loop(scheduler);
  SteadyTime start = clock.steady();
  std::vector<Duration> at;
  for (int day : {30, 1, 7}) {
    loop.start_timer(std::chrono::days(day), [&] { at.push_back(clock.steady() - start); });
  }
  scheduler.run_ready();
  EXPECT_TRUE(at.empty());
  scheduler.run_for(std::chrono::days(365));
  EXPECT_THAT(at, ElementsAre(std::chrono::days(1), std::chrono::days(7), std::chrono::days(30)));
  EXPECT_EQ(clock.steady() - start, std::chrono::days(365));
}

TEST(SimScheduler, the_end_of_a_loop_drops_its_events) {
  FakeClock clock;
  SimScheduler scheduler(clock, 1);
  auto loop = std::make_unique<SimLoop>(scheduler);
  bool ran = false;
  loop->post([&] { ran = true; });
  loop->start_timer(milliseconds(1), [&] { ran = true; });
  loop.reset();
  scheduler.run_for(milliseconds(10));
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace steeple::io
