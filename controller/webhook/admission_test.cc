// SPDX-License-Identifier: Apache-2.0

// AdmissionReviews as the API server sends them.

#include "controller/webhook/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace steeple::controller {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json review(const json& spec, const std::string& operation = "CREATE") {
  return {{"apiVersion", "admission.k8s.io/v1"},
          {"kind", "AdmissionReview"},
          {"request",
           {{"uid", "705ab4f5"},
            {"operation", operation},
            {"object",
             {{"apiVersion", "spire.spiffe.io/v1alpha1"},
              {"kind", "ClusterSPIFFEID"},
              {"metadata", {{"name", "x"}}},
              {"spec", spec}}}}}};
}

json answer(const json& question) {
  return json::parse(answer_review(question.dump(), validate_cluster_spiffe_id).take());
}

TEST(Admission, AllowsWhatParses) {
  json out = answer(review({{"spiffeIDTemplate", "spiffe://x/{{ .PodMeta.Name }}"}}));
  EXPECT_EQ(out["kind"], "AdmissionReview");
  EXPECT_EQ(out["apiVersion"], "admission.k8s.io/v1");
  EXPECT_EQ(out["response"], json({{"uid", "705ab4f5"}, {"allowed", true}}));
}

TEST(Admission, RefusesWithTheReason) {
  json out = answer(review({{"spiffeIDTemplate", "{{ .X"}}, "UPDATE"));
  EXPECT_EQ(out["response"]["allowed"], false);
  EXPECT_EQ(out["response"]["status"]["code"], 403);
  EXPECT_THAT(std::string(out["response"]["status"]["message"]),
              HasSubstr("invalid SPIFFEID template: template: spiffeIDTemplate:1:"));
}

TEST(Admission, DeletionsAreNotLookedAt) {
  EXPECT_EQ(answer(review({}, "DELETE"))["response"]["allowed"], true);
}

TEST(Admission, UnknownMembersWarn) {
  json out = answer(review({{"spiffeIDTemplate", "spiffe://x/y"}, {"tll", 3}}));
  EXPECT_EQ(out["response"]["allowed"], true);
  EXPECT_THAT(out["response"]["warnings"], ElementsAre("unknown field \"spec.tll\""));
}

TEST(Admission, NonsenseIsAnError) {
  for (const char* text : {"", "{", "[]", "{}", R"({"kind":"AdmissionReview"})",
                           R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"})",
                           R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1",)"
                           R"("request":{"uid":"x","operation":"CREATE"}})"}) {
    EXPECT_FALSE(answer_review(text, validate_cluster_spiffe_id).ok()) << text;
  }
}

}  // namespace
}  // namespace steeple::controller
