// SPDX-License-Identifier: Apache-2.0

// Goal: every target ends up with the present bundle, without needless work. Method: a scripted
// target, simulated time.

#include "server/bundlepublisher/bundle_delivery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/fake_random.h"
#include "lib/io/fake_loop.h"

namespace steeple::server {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;

class ScriptedTarget final : public BundleTarget {
 public:
  std::string_view type() const override { return "BundlePublisher"; }
  std::string_view name() const override { return "scripted"; }
  void put(const BundlePtr& bundle, std::move_only_function<void(Result<void>)> done) override {
    EXPECT_FALSE(pending) << "one at a time";
    got.push_back(bundle->sequence_number);
    pending = std::move(done);
    if (answer_at_once) {
      answer({});
    }
  }
  void answer(Result<void> how) {
    auto done = std::move(pending);
    pending = nullptr;
    done(std::move(how));
  }

  std::vector<std::uint64_t> got;
  std::move_only_function<void(Result<void>)> pending;
  bool answer_at_once = true;
};

class BundleDeliveryTest : public testing::Test {
 protected:
  void publish(std::uint64_t sequence) {
    bundle_ = std::make_shared<const jose::Bundle>(
        jose::Bundle{.trust_domain = spiffe::TrustDomain::parse("example.org").take(),
                     .sequence_number = sequence});
    if (delivery_) {
      delivery_->changed();
      scheduler_.run_ready();
    }
  }
  void begin() {
    auto owned = std::make_unique<ScriptedTarget>();
    target_ = owned.get();
    std::vector<std::unique_ptr<BundleTarget>> list;
    list.push_back(std::move(owned));
    delivery_.emplace(
        std::move(list),
        BundleDelivery::Deps{
            .loop = loop_, .random = random_, .bundle = [this] { return bundle_; }, .log = {}});
    scheduler_.run_ready();
  }

  FakeClock clock_;
  io::SimScheduler scheduler_{clock_, 1};
  io::SimLoop loop_{scheduler_};
  SeededRandom random_{1};
  BundlePtr bundle_;
  ScriptedTarget* target_ = nullptr;
  std::optional<BundleDelivery> delivery_;
};

TEST_F(BundleDeliveryTest, PutsThePresentBundleAndEachChangeOnce) {
  publish(1);
  begin();
  publish(1);
  publish(2);
  scheduler_.run_for(seconds(120));
  EXPECT_THAT(target_->got, ElementsAre(1, 2));
}

TEST_F(BundleDeliveryTest, AChangeThatNobodyToldIsFoundByTheCheck) {
  begin();
  bundle_ = nullptr;
  scheduler_.run_for(seconds(10));
  bundle_ = std::make_shared<const jose::Bundle>(jose::Bundle{
      .trust_domain = spiffe::TrustDomain::parse("example.org").take(), .sequence_number = 7});
  scheduler_.run_for(kBundleCheckInterval);
  EXPECT_THAT(target_->got, ElementsAre(7));
}

TEST_F(BundleDeliveryTest, WhatChangesMeanwhileFollows) {
  begin();
  target_->answer_at_once = false;
  publish(1);
  publish(2);
  publish(3);
  EXPECT_THAT(target_->got, ElementsAre(1));
  target_->answer({});
  EXPECT_THAT(target_->got, ElementsAre(1, 3));
  target_->answer({});
}

TEST_F(BundleDeliveryTest, AFailureIsTriedAgainSoonAndEverMoreSeldom) {
  begin();
  target_->answer_at_once = false;
  publish(1);
  for (std::size_t tries = 1; tries < 20; ++tries) {
    ASSERT_EQ(target_->got.size(), tries);
    target_->answer(unavailable("down"));
    EXPECT_EQ(target_->got.size(), tries) << "not at once";
    publish(1);
    EXPECT_EQ(target_->got.size(), tries) << "a change does not hurry a target that fails";
    ASSERT_TRUE(scheduler_.run_while_not([&] { return target_->got.size() > tries; },
                                         tries < 3 ? seconds(2) : seconds(46)));
  }
  target_->answer({});
  scheduler_.run_for(seconds(300));
  EXPECT_EQ(target_->got.size(), 20U);
}

TEST_F(BundleDeliveryTest, AnAnswerAfterTheEndIsHarmless) {
  begin();
  target_->answer_at_once = false;
  publish(1);
  auto late = std::move(target_->pending);
  delivery_.reset();
  late({});
}

}  // namespace
}  // namespace steeple::server
