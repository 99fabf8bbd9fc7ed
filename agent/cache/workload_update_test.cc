// SPDX-License-Identifier: Apache-2.0

// What a workload is told: the responses of one update.

#include "agent/cache/workload_update.h"

#include <gtest/gtest.h>

#include "lib/base/fake_clock.h"
#include "lib/x509/fake_authority.h"

namespace steeple::agent {
namespace {

TrustBundlePtr bundle_of(const std::string& domain, const Bytes& authority) {
  jose::Bundle bundle{.trust_domain = spiffe::TrustDomain::parse(domain).take()};
  bundle.x509_authorities = {{.der = authority}};
  return TrustBundle::make(std::move(bundle)).take();
}

// A stream repeats nothing, which it sees by the bytes; maps have no order of their own.
TEST(WorkloadUpdateTest, TheSameContentIsTheSameBytes) {
  x509::FakeAuthority authority("example.org", FakeClock().now());
  Bytes der = authority.certificate()->der();
  std::vector<TrustBundlePtr> federated;
  federated.reserve(20);
  for (int i = 0; i < 20; ++i) {
    federated.push_back(bundle_of("other" + std::to_string(i) + ".org", der));
  }
  WorkloadUpdate first({}, {}, bundle_of("example.org", der), federated);
  for (int round = 0; round < 20; ++round) {
    WorkloadUpdate again({}, {}, bundle_of("example.org", der), federated);
    EXPECT_EQ(again.jwt_bundles_response(), first.jwt_bundles_response());
    EXPECT_EQ(again.x509_bundles_response(), first.x509_bundles_response());
    EXPECT_EQ(again.x509_svid_response(), first.x509_svid_response());
  }
}

}  // namespace
}  // namespace steeple::agent
