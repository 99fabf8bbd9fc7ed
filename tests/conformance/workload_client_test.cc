// SPDX-License-Identifier: Apache-2.0

// SPIFFE Workload Endpoint and Workload API, the clauses for clients: the library against a
// Workload API on a real socket that the test feeds.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <future>

#include "spiffe/workloadapi/address.h"
#include "spiffe/workloadapi/fake_workload_api.h"
#include "spiffe/workloadapi/source.h"

namespace spiffe::conformance {
namespace {

using namespace std::chrono_literals;
using steeple::x509::FakeAuthority;

constexpr auto kSoon = 20s;  // a limit, never waited for

class WorkloadClientClause : public testing::Test {
 protected:
  static steeple::WallTime now() { return steeple::system_clock().now(); }
  ClientOptions options() const {
    return {.address = api_.address(), .backoff_first = 2ms, .backoff_max = 5ms};
  }
  X509SVIDResponse response(std::string_view path) {
    return FakeWorkloadApi::response_of(authority_, {authority_.issue(path, now())},
                                        {"spiffe://example.org" + std::string(path)});
  }

  FakeAuthority authority_{"example.org", now()};
  FakeWorkloadApi api_;
};

// Workload Endpoint 3: "every client request ... MUST include the static gRPC metadata key".
TEST_F(WorkloadClientClause, Endpoint3_EveryRequestHasTheHeader) {
  api_.publish(response("/web"));
  auto client = Client::make(options()).take();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client->fetch_x509_context(kSoon).ok());
  }
  EXPECT_EQ(api_.calls_without_header(), 0);
}

// Workload Endpoint 4: "If not explicitly configured, conforming clients MUST fall back to the
// environment variable."
TEST_F(WorkloadClientClause, Endpoint4_WithoutAnAddressTheVariableIsUsed) {
  api_.publish(response("/web"));
  ::setenv(kEndpointSocketVariable, api_.address().c_str(), 1);
  auto client = Client::make({}).take();
  ::unsetenv(kEndpointSocketVariable);
  EXPECT_EQ(client->fetch_x509_context(kSoon).take().default_svid().id().path(), "/web");
  EXPECT_FALSE(Client::make({}).ok()) << "neither configured nor in the environment";
}

// Workload Endpoint 6: InvalidArgument "SHOULD NOT retry"; PermissionDenied and Unavailable "MAY
// retry with a backoff". The second watch's retries are the clock for the first one's silence.
TEST_F(WorkloadClientClause, Endpoint6_OnlyErrorsThatMayPassAreTriedAgain) {
  auto client = Client::make(options()).take();
  auto watch = [&](steeple::Error error, int enough, std::atomic<int>& errors) {
    api_.refuse(std::move(error));
    auto reached = std::make_shared<std::promise<void>>();
    auto future = reached->get_future();
    auto handle =
        client->watch_x509_context({.on_update = [](std::shared_ptr<const X509Context>) {},
                                    .on_error =
                                        [&errors, enough, reached](const steeple::Error&) {
                                          if (++errors == enough) {
                                            reached->set_value();
                                          }
                                        }});
    EXPECT_EQ(future.wait_for(kSoon), std::future_status::ready);
    return handle;
  };
  std::atomic<int> invalid = 0, denied = 0, unavailable = 0;
  auto first = watch(steeple::invalid_argument("security header missing from request"), 1, invalid);
  auto second = watch(steeple::permission_denied("no identity issued"), 8, denied);
  auto third = watch(steeple::unavailable("starting"), 8, unavailable);
  EXPECT_EQ(invalid, 1);
}

// Workload API 4.4: "previously received, non-default or non-empty values MUST NOT be retained"; a
// bundle that is not in the newest message is unloaded, and so is an identity.
TEST_F(WorkloadClientClause, Api4_4_WhatTheNewestMessageDoesNotSayIsForgotten) {
  FakeAuthority other("other.org", now());
  X509SVIDResponse full = FakeWorkloadApi::response_of(
      authority_, {authority_.issue("/a", now()), authority_.issue("/b", now())},
      {"spiffe://example.org/a", "spiffe://example.org/b"});
  (*full.mutable_federated_bundles())["spiffe://other.org"] = other.certificate()->der();
  full.mutable_svids(0)->set_hint("internal");
  api_.publish(full);
  auto source = X509Source::make({.client_options = options(), .start_timeout = kSoon}).take();
  ASSERT_NE(source->bundle(other.domain()), nullptr);
  ASSERT_EQ(source->context()->svids.size(), 2U);

  std::promise<void> seen;
  auto subscription =
      source->updates().subscribe([&](const std::shared_ptr<const X509Context>& context) {
        if (context->svids.size() == 1) {
          seen.set_value();
        }
      });
  api_.publish(response("/a"));
  ASSERT_EQ(seen.get_future().wait_for(kSoon), std::future_status::ready);
  EXPECT_EQ(source->bundle(other.domain()), nullptr);
  EXPECT_EQ(source->svid().value().hint(), "");
}

}  // namespace
}  // namespace spiffe::conformance
