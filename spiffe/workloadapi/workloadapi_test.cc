// SPDX-License-Identifier: Apache-2.0

// Goal: a program with this client always has its newest valid identity. Method: a Workload API on
// a real socket that the test feeds; addresses against the clauses of the endpoint standard.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "spiffe/workloadapi/address.h"
#include "spiffe/workloadapi/fake_workload_api.h"
#include "spiffe/workloadapi/source.h"

namespace spiffe {
namespace {

using namespace std::chrono_literals;
using steeple::Code;
using steeple::x509::FakeAuthority;

constexpr auto kSoon = 20s;  // a limit, never waited for

TEST(Address, UnixAndTcpFormsOfTheStandardAreRead) {
  EXPECT_EQ(parse_address("unix:///run/agent.sock").value().unix_path, "/run/agent.sock");
  EXPECT_EQ(parse_address("unix:/run/agent.sock").value().unix_path, "/run/agent.sock");
  EXPECT_EQ(parse_address("tcp://127.0.0.1:8000").value().port, 8000);
  EXPECT_EQ(parse_address("tcp://[::1]:8000").value().host, "::1");
}

TEST(Address, WhatTheStandardForbidsIsRefused) {
  for (const char* bad :
       {"", "/run/agent.sock", "http://x", "unix://host/run", "unix:relative", "unix://",
        "unix:///a?b", "tcp://localhost:1", "tcp://127.0.0.1", "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:1/path", "tcp://127.0.0.1:70000", "tcp:127.0.0.1:1"}) {
    EXPECT_FALSE(parse_address(bad).ok()) << bad;
  }
}

class WorkloadApi : public testing::Test {
 protected:
  X509SVIDResponse response(std::string_view path) {
    return FakeWorkloadApi::response_of(authority_, {authority_.issue(path, now())},
                                        {"spiffe://example.org" + std::string(path)});
  }
  static steeple::WallTime now() { return steeple::system_clock().now(); }

  ClientOptions options() const {
    return {.address = api_.address(), .backoff_first = 5ms, .backoff_max = 20ms};
  }
  SourceOptions source_options() const {
    return {.client_options = options(), .start_timeout = kSoon};
  }

  // Waits until the source's default identity is this one.
  static void wait_for(const X509Source& source, const std::string& id) {
    std::promise<void> seen;
    bool told = false;
    auto look = [&](const std::shared_ptr<const X509Context>& context) {
      if (!told && context->default_svid().id().text() == id) {
        told = true;
        seen.set_value();
      }
    };
    auto subscription = source.updates().subscribe(look);
    if (source.context()->default_svid().id().text() == id) {
      return;
    }
    ASSERT_EQ(seen.get_future().wait_for(kSoon), std::future_status::ready);
  }

  FakeAuthority authority_{"example.org", now()};
  FakeWorkloadApi api_;
};

TEST_F(WorkloadApi, AFetchGivesTheIdentityAndItsBundle) {
  api_.publish(response("/web"));
  auto client = Client::make(options()).take();
  auto context = client->fetch_x509_context(kSoon).take();
  EXPECT_EQ(context.default_svid().id().text(), "spiffe://example.org/web");
  EXPECT_EQ(context.bundles.find(authority_.domain())->x509_authorities()->size(), 1U);
  EXPECT_EQ(api_.calls_without_header(), 0);
}

TEST_F(WorkloadApi, ARefusalIsTheCallersError) {
  api_.refuse(steeple::permission_denied("no identity issued"));
  auto context = Client::make(options()).take()->fetch_x509_context(kSoon);
  ASSERT_FALSE(context.ok());
  EXPECT_EQ(context.error().code, Code::kPermissionDenied);
  EXPECT_EQ(context.error().message, "no identity issued");
}

TEST_F(WorkloadApi, ASourceFollowsRotation) {
  api_.publish(response("/first"));
  auto source = X509Source::make(source_options()).take();
  EXPECT_EQ(source->svid().value().id().text(), "spiffe://example.org/first");
  api_.publish(response("/second"));
  wait_for(*source, "spiffe://example.org/second");
}

TEST_F(WorkloadApi, AnOutageTakesNothingAwayAndTheSourceComesBackByItself) {
  api_.publish(response("/before"));
  auto source = X509Source::make(source_options()).take();
  api_.stop();
  EXPECT_EQ(source->svid().value().id().text(), "spiffe://example.org/before");
  api_.publish(response("/after"));
  api_.start();
  wait_for(*source, "spiffe://example.org/after");
}

TEST_F(WorkloadApi, AnAnswerThatIsWrongIsToldAndTheGoodOneStays) {
  api_.publish(response("/good"));
  auto source = X509Source::make(source_options()).take();
  X509SVIDResponse wrong = response("/bad");
  wrong.mutable_svids(0)->set_spiffe_id("spiffe://example.org/other");
  api_.publish(wrong);
  api_.publish(response("/next"));
  wait_for(*source, "spiffe://example.org/next");
}

TEST_F(WorkloadApi, ASourceWithoutAnIdentitySaysWhyWhenItsTimeIsUp) {
  api_.refuse(steeple::permission_denied("no identity issued"));
  SourceOptions soon = source_options();
  soon.start_timeout = 300ms;
  auto source = X509Source::make(soon);
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().code, Code::kDeadlineExceeded);
  EXPECT_THAT(source.error().message, testing::HasSubstr("no identity issued"));
}

TEST_F(WorkloadApi, OfEqualHintsOnlyTheFirstCountsAndAPickerChooses) {
  X509SVIDResponse several = FakeWorkloadApi::response_of(
      authority_,
      {authority_.issue("/a", now()), authority_.issue("/b", now()), authority_.issue("/c", now())},
      {"spiffe://example.org/a", "spiffe://example.org/b", "spiffe://example.org/c"});
  several.mutable_svids(1)->set_hint("internal");
  several.mutable_svids(2)->set_hint("internal");
  api_.publish(several);
  SourceOptions picking = source_options();
  picking.picker = pick_hint("internal");
  auto source = X509Source::make(picking).take();
  EXPECT_EQ(source->context()->svids.size(), 2U);
  EXPECT_EQ(source->svid().value().id().text(), "spiffe://example.org/b");
}

TEST_F(WorkloadApi, ASvidWithAnotherKeyIsRefused) {
  X509SVIDResponse swapped = response("/web");
  auto other = authority_.issue("/web", now());
  swapped.mutable_svids(0)->set_x509_svid_key(std::string(other.key->to_pkcs8().reveal()));
  api_.publish(swapped);
  auto context = Client::make(options()).take()->fetch_x509_context(kSoon);
  ASSERT_FALSE(context.ok());
  EXPECT_THAT(context.error().message, testing::HasSubstr("does not match private key"));
}

}  // namespace
}  // namespace spiffe
