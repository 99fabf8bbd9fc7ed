// SPDX-License-Identifier: Apache-2.0

// The clauses of SPIFFE-ID that spiffe/spiffe_id_test.cc does not prove already;
// docs/conformance.md lists both.

#include "spiffe/spiffe_id.h"

#include <gtest/gtest.h>

namespace spiffe {
namespace {

// 2.1: "MUST NOT process trust domain names differently whether or not they are valid IP addresses
// and/or valid DNS names."
TEST(SpiffeIdClause, S2_1_NamesAreNotJudgedAsDnsNamesOrAddresses) {
  for (const char* name : {"example.org", "127.0.0.1", "999.1.1.1", "1", "-a-", "a..b", ".", "_x_",
                           "9eebccd2-12bf-40a6-b262-65fe0487d453"}) {
    auto id = SpiffeId::parse("spiffe://" + std::string(name) + "/w");
    ASSERT_TRUE(id.ok()) << name << ": " << id.error().message;
    EXPECT_EQ(id->trust_domain_name(), name);
  }
}

// 2.4: "The path is case-sensitive."
TEST(SpiffeIdClause, S2_4_PathsThatDifferInCaseAreDifferentIds) {
  EXPECT_NE(SpiffeId::parse("spiffe://example.org/a").take(),
            SpiffeId::parse("spiffe://example.org/A").take());
}

}  // namespace
}  // namespace spiffe
