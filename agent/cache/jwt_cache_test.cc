// SPDX-License-Identifier: Apache-2.0

// The token cache: keys, eviction, taints.

#include "agent/cache/jwt_cache.h"

#include <gtest/gtest.h>

#include "lib/telemetry/fake_log.h"

namespace steeple::agent {
namespace {

const spiffe::SpiffeId kId = spiffe::SpiffeId::parse("spiffe://example.org/web").take();

JwtSvidPtr token(const std::string& text, const std::string& key_id = "k") {
  auto out = std::make_shared<JwtSvid>();
  out->token = text;
  out->key_id = key_id;
  return out;
}

TEST(JwtCacheTest, TheOrderOfAudiencesDoesNotMatterTheirBordersDo) {
  EXPECT_EQ(JwtCache::key(kId, {"a", "b"}), JwtCache::key(kId, {"b", "a"}));
  EXPECT_NE(JwtCache::key(kId, {"ab"}), JwtCache::key(kId, {"a", "b"}));
  EXPECT_NE(JwtCache::key(kId, {"a\n1:b"}), JwtCache::key(kId, {"a", "b"}));
}

TEST(JwtCacheTest, TheLeastRecentlyUsedTokenGoesFirst) {
  JwtCache cache(2, {}, no_metrics());
  cache.put("a", token("1"));
  cache.put("b", token("2"));
  EXPECT_EQ(cache.find("a")->token, "1");
  cache.put("c", token("3"));
  EXPECT_EQ(cache.size(), 2U);
  EXPECT_FALSE(cache.find("b"));
  EXPECT_TRUE(cache.find("a"));
  cache.put("a", token("4"));
  EXPECT_EQ(cache.find("a")->token, "4");
  EXPECT_EQ(cache.size(), 2U) << "a replaced token pushes nobody out";
}

TEST(JwtCacheTest, ForgetsWhatATaintedKeySigned) {
  CapturedLog log;
  JwtCache cache(9, log, no_metrics());
  cache.put("a", token("1", "bad"));
  cache.put("b", token("2", "good"));
  cache.put("c", token("3", "bad"));
  cache.taint({"bad"});
  EXPECT_EQ(cache.size(), 1U);
  EXPECT_TRUE(cache.find("b"));
  auto lines = log.lines(
      "JWT-SVIDs were removed from the JWT cache because they were issued by a tainted authority");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].fields.at("tainted_jwt_svids"), "2");
}

}  // namespace
}  // namespace steeple::agent
