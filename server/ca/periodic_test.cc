// SPDX-License-Identifier: Apache-2.0

// Goal: work runs again and again, never twice at a time, and not after the end. Method: simulated
// loop and workers.

#include "server/ca/periodic.h"

#include <gtest/gtest.h>

#include <optional>

#include "lib/io/fake_loop.h"
#include "lib/io/fake_workers.h"

namespace steeple::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class PeriodicTest : public testing::Test {
 protected:
  FakeClock clock_;
  io::SimScheduler scheduler_{clock_, 1};
  io::SimLoop loop_{scheduler_};
  io::SimWorkers workers_{scheduler_};
  int runs_ = 0;
  std::optional<Periodic> periodic_;
};

TEST_F(PeriodicTest, RunsOncePerInterval) {
  periodic_.emplace(loop_, workers_, seconds(10), [this] { ++runs_; });
  scheduler_.run_for(seconds(9));
  EXPECT_EQ(runs_, 0);
  scheduler_.run_for(seconds(100));
  EXPECT_EQ(runs_, 10);
}

TEST_F(PeriodicTest, PausesBetweenTheEndOfARunAndTheNext) {
  workers_.set_delay(seconds(7), seconds(7));
  periodic_.emplace(loop_, workers_, seconds(10), [this] { ++runs_; });
  scheduler_.run_for(seconds(60));
  EXPECT_EQ(runs_, 3);  // at 17, 34 and 51 s
}

TEST_F(PeriodicTest, SoonRunsAtOnceAndOnceMoreWhenItWasAskedDuringARun) {
  workers_.set_delay(seconds(1), seconds(1));
  periodic_.emplace(loop_, workers_, seconds(10), [this] { ++runs_; });
  loop_.post([this] {
    periodic_->soon();
    periodic_->soon();
    periodic_->soon();
  });
  scheduler_.run_for(seconds(3));
  EXPECT_EQ(runs_, 2);
  scheduler_.run_for(seconds(10));
  EXPECT_EQ(runs_, 3);
}

TEST_F(PeriodicTest, NothingRunsAfterTheEnd) {
  workers_.set_delay(seconds(1), seconds(1));
  periodic_.emplace(loop_, workers_, seconds(10), [this] { ++runs_; });
  scheduler_.run_for(seconds(10) + milliseconds(500));  // a run is under way
  periodic_.reset();
  scheduler_.run_for(seconds(100));
  EXPECT_EQ(runs_, 1);
}

TEST_F(PeriodicTest, StopTellsWhenTheRunUnderWayHasEnded) {
  workers_.set_delay(seconds(1), seconds(1));
  periodic_.emplace(loop_, workers_, seconds(10), [this] { ++runs_; });
  scheduler_.run_for(seconds(10) + milliseconds(500));
  int idle_after_runs = -1;
  loop_.post([&] { periodic_->stop([&] { idle_after_runs = runs_; }); });
  scheduler_.run_for(milliseconds(100));
  EXPECT_EQ(idle_after_runs, -1);
  scheduler_.run_for(seconds(1));
  EXPECT_EQ(idle_after_runs, 1);
  scheduler_.run_for(seconds(100));
  EXPECT_EQ(runs_, 1);
}

TEST_F(PeriodicTest, StopOfAnIdleOneTellsAtOnce) {
  periodic_.emplace(loop_, workers_, seconds(10), [this] { ++runs_; });
  bool idle = false;
  loop_.post([&] {
    periodic_->stop([&] { idle = true; });
    periodic_->soon();
  });
  scheduler_.run_for(seconds(100));
  EXPECT_TRUE(idle);
  EXPECT_EQ(runs_, 0);
}

TEST_F(PeriodicTest, AFullQueueIsTriedAgain) {
  io::SimWorkers::Options full;
  full.queue_max = 0;
  io::SimWorkers none(scheduler_, full);
  periodic_.emplace(loop_, none, seconds(10), [this] { ++runs_; });
  scheduler_.run_for(seconds(100));
  EXPECT_EQ(runs_, 0);
}

}  // namespace
}  // namespace steeple::server
