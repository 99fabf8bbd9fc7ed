// SPDX-License-Identifier: Apache-2.0

// Goal: selectors mean here what they mean in the API server. Method: each operator on labels that
// have, lack and differ in the key; errors by their text.

#include "lib/kube/selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace steeple::kube {
namespace {

using nlohmann::json;
using testing::HasSubstr;

LabelSelector parsed(const char* text) { return LabelSelector::parse(json::parse(text)).take(); }
std::string refused(const char* text) {
  auto result = LabelSelector::parse(json::parse(text));
  return result.ok() ? "accepted" : result.error().message;
}

const Labels kWeb{{"app", "web"}, {"tier", "front"}};

TEST(Selector, WithoutRequirementsMatchesEverything) {
  EXPECT_TRUE(parsed("{}").matches(kWeb));
  EXPECT_TRUE(parsed(R"({"matchLabels": null})").matches(Labels{}));
}

TEST(Selector, AllRequirementsMustHold) {
  EXPECT_TRUE(parsed(R"({"matchLabels": {"app": "web", "tier": "front"}})").matches(kWeb));
  EXPECT_FALSE(parsed(R"({"matchLabels": {"app": "web", "tier": "back"}})").matches(kWeb));
}

TEST(Selector, InNeedsTheKeyAndOneOfTheValues) {
  auto selector =
      parsed(R"({"matchExpressions": [{"key": "app", "operator": "In", "values": ["z", "web"]}]})");
  EXPECT_TRUE(selector.matches(kWeb));
  EXPECT_FALSE(selector.matches({{"app", "db"}}));
  EXPECT_FALSE(selector.matches(Labels{}));
}

TEST(Selector, NotInHoldsForAnAbsentKey) {
  auto selector =
      parsed(R"({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]})");
  EXPECT_FALSE(selector.matches(kWeb));
  EXPECT_TRUE(selector.matches({{"app", "db"}}));
  EXPECT_TRUE(selector.matches(Labels{}));
}

TEST(Selector, ExistsAndDoesNotExistAskForTheKeyOnly) {
  auto exists = parsed(R"({"matchExpressions": [{"key": "app", "operator": "Exists"}]})");
  auto absent = parsed(R"({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})");
  EXPECT_TRUE(exists.matches(kWeb));
  EXPECT_FALSE(exists.matches(Labels{}));
  EXPECT_FALSE(absent.matches(kWeb));
  EXPECT_TRUE(absent.matches(Labels{}));
}

TEST(Selector, IsWrittenAsTheQueryHasIt) {
  EXPECT_EQ(parsed(R"({"matchLabels": {"a.io/x": "1"}, "matchExpressions": [
                {"key": "b", "operator": "In", "values": ["2", "1"]},
                {"key": "c", "operator": "NotIn", "values": ["3"]},
                {"key": "d", "operator": "Exists"},
                {"key": "e", "operator": "DoesNotExist", "values": []}]})")
                .text(),
            "a.io/x=1,b in (1,2),c notin (3),d,!e");
}

TEST(Selector, ErrorsNameTheField) {
  EXPECT_THAT(refused(R"({"matchExpressions": [{"key": "a", "operator": "Equals"}]})"),
              HasSubstr("matchExpressions[0]: operator: \"Equals\""));
  EXPECT_THAT(refused(R"({"matchExpressions": [{"key": "a", "operator": "In"}]})"),
              HasSubstr("matchExpressions[0]: values: must be given"));
  EXPECT_THAT(
      refused(R"({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]})"),
      HasSubstr("must not be given"));
  EXPECT_THAT(refused(R"({"matchLabels": {"a b": "c"}})"), HasSubstr("matchLabels: key"));
  EXPECT_THAT(refused(R"({"matchLabels": {"a": "c,d"}})"), HasSubstr("not a valid label value"));
  EXPECT_THAT(refused(R"({"matchNames": {}})"), HasSubstr("unknown field \"matchNames\""));
  EXPECT_THAT(refused(R"({"matchExpressions": [{"operator": "Exists"}]})"),
              HasSubstr("key: must be given"));
}

TEST(Selector, LabelKeysAreCheckedAsTheServerDoes) {
  EXPECT_TRUE(check_label_key("app.kubernetes.io/name").ok());
  EXPECT_TRUE(check_label_key("App_1").ok());
  for (const char* bad : {"", "/a", "a/", "-a", "a-", "UP.io/a", "a..b/c", "a/b/c"}) {
    EXPECT_FALSE(check_label_key(bad).ok()) << bad;
  }
  EXPECT_FALSE(check_label_key(std::string(64, 'a')).ok());
  EXPECT_TRUE(check_label_value("").ok());
}

}  // namespace
}  // namespace steeple::kube
