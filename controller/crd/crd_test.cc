// SPDX-License-Identifier: Apache-2.0

// Custom resources from JSON: both spellings of the guides and the reference, and what is refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "controller/crd/cluster_federated_trust_domain.h"
#include "controller/crd/cluster_spiffe_id.h"
#include "controller/crd/cluster_static_entry.h"

namespace steeple::controller {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json with_spec(json spec) {
  return {{"metadata", {{"name", "x"}, {"uid", "u"}, {"generation", 3}}}, {"spec", spec}};
}

Result<ClusterSpiffeIdSpec> spiffe_id(const json& more = json::object()) {
  json spec{{"spiffeIDTemplate", "spiffe://example.org/x"}};
  spec.update(more);
  return parse_cluster_spiffe_id(with_spec(spec)).spec;
}

TEST(ClusterSpiffeId, TakesTheGuidesNumbersAndTheReferencesDurations) {
  EXPECT_EQ(spiffe_id({{"ttl", 3600}})->x509_ttl, 3600);
  EXPECT_EQ(spiffe_id({{"ttl", "1h"}, {"jwtTtl", "90s"}})->x509_ttl, 3600);
  EXPECT_EQ(spiffe_id({{"jwtTtl", "90s"}})->jwt_ttl, 90);
  EXPECT_EQ(spiffe_id()->x509_ttl, 0);
  EXPECT_THAT(spiffe_id({{"ttl", "soon"}}).error().message, HasSubstr("spec.ttl: "));
  EXPECT_THAT(spiffe_id({{"ttl", -1}}).error().message, HasSubstr("spec.ttl: must not be"));
  EXPECT_THAT(spiffe_id({{"ttl", true}}).error().message, HasSubstr("spec.ttl: must be"));
  EXPECT_THAT(spiffe_id({{"ttl", 99999999999999}}).error().message, HasSubstr("spec.ttl: is too"));
}

TEST(ClusterSpiffeId, SelectsNamespacesByNamesAndLabels) {
  auto spec =
      spiffe_id({{"namespaceSelector",
                  {{"matchNames", {"staging", "production"}}, {"matchLabels", {{"team", "a"}}}}}});
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  EXPECT_TRUE(spec->namespaces.matches("production", {{"team", "a"}}));
  EXPECT_FALSE(spec->namespaces.matches("production", {}));
  EXPECT_FALSE(spec->namespaces.matches("other", {{"team", "a"}}));
  EXPECT_TRUE(spiffe_id()->namespaces.matches("any", {}));
  auto not_in = spiffe_id({{"namespaceSelector",
                            {{"matchExpressions",
                              {{{"key", "kubernetes.io/metadata.name"},
                                {"operator", "NotIn"},
                                {"values", {"kube-system", "spire"}}}}}}}});
  ASSERT_TRUE(not_in.ok()) << not_in.error().message;
  EXPECT_FALSE(not_in->namespaces.matches("spire", {{"kubernetes.io/metadata.name", "spire"}}));
  EXPECT_TRUE(not_in->namespaces.matches("web", {{"kubernetes.io/metadata.name", "web"}}));
}

TEST(ClusterSpiffeId, WhatIsWrongIsToldAllAtOnce) {
  auto spec = spiffe_id({{"spiffeIDTemplate", "{{ .X"},
                         {"dnsNameTemplates", {"{{ end }}"}},
                         {"workloadSelectorTemplates", {"{{ nosuch }}"}},
                         {"federatesWith", {"NOT A DOMAIN"}},
                         {"podSelector", {{"matchExpressions", {{{"key", "a"}}}}}},
                         {"admin", "yes"}});
  ASSERT_FALSE(spec.ok());
  for (const char* text :
       {"invalid SPIFFEID template: template: spiffeIDTemplate:1:",
        "invalid dnsNameTemplate value: template: dnsNameTemplate:1:",
        "invalid workloadSelectorTemplates value: template: workloadSelectorTemplate:1:",
        "invalid federatesWith value: ", "spec.podSelector: ", "spec.admin: must be true or"}) {
    EXPECT_THAT(spec.error().message, HasSubstr(text));
  }
  EXPECT_THAT(spiffe_id({{"spiffeIDTemplate", ""}}).error().message,
              HasSubstr("empty SPIFFEID template"));
  EXPECT_FALSE(parse_cluster_spiffe_id(json::object()).spec.ok());
}

TEST(ClusterSpiffeId, UnknownMembersAreListed) {
  std::vector<std::string> unknown;
  parse_cluster_spiffe_id(with_spec({{"spiffeIDTemplate", "x"}, {"tll", 1}}), &unknown);
  EXPECT_THAT(unknown, ElementsAre("spec.tll"));
}

TEST(ClusterStaticEntry, IsReadWhole) {
  auto entry =
      parse_cluster_static_entry(with_spec({{"spiffeID", "spiffe://example.org/db"},
                                            {"parentID", "spiffe://example.org/agent"},
                                            {"selectors", {"unix:uid:1", "docker:label:a:b"}},
                                            {"federatesWith", {"b.org", "a.org"}},
                                            {"x509SVIDTTL", "1h"},
                                            {"jwtSVIDTTL", 60},
                                            {"dnsNames", {"db"}},
                                            {"hint", "h"},
                                            {"storeSVID", true},
                                            {"className", "c"}}));
  ASSERT_TRUE(entry.spec.ok()) << entry.spec.error().message;
  EXPECT_EQ(entry.class_name, "c");
  EXPECT_EQ(entry.spec->selectors[1].second, "label:a:b");
  EXPECT_EQ(entry.spec->x509_ttl, 3600);
  EXPECT_EQ(entry.spec->jwt_ttl, 60);
  EXPECT_THAT(entry.spec->federates_with, ElementsAre("a.org", "b.org"));
  EXPECT_TRUE(entry.spec->store_svid);
}

TEST(ClusterStaticEntry, RefusesBrokenIdsAndSelectors) {
  auto entry = parse_cluster_static_entry(
      with_spec({{"spiffeID", "http://x"}, {"parentID", ""}, {"selectors", {"a", ":b", "c:"}}}));
  ASSERT_FALSE(entry.spec.ok());
  for (const char* text :
       {"failed to parse SPIFFEID", "failed to parse ParentID", "expected at least one colon",
        "type cannot be empty", "value cannot be empty"}) {
    EXPECT_THAT(entry.spec.error().message, HasSubstr(text));
  }
}

std::string federated_problem(const json& more = json::object()) {
  json spec{{"trustDomain", "partner.org"},
            {"bundleEndpointURL", "https://partner.org/bundle"},
            {"bundleEndpointProfile", {{"type", "https_web"}}}};
  spec.update(more);
  auto parsed = parse_cluster_federated_trust_domain(with_spec(spec)).spec;
  return parsed.ok() ? "" : parsed.error().message;
}

TEST(ClusterFederatedTrustDomain, ChecksUrlProfileAndBundle) {
  EXPECT_EQ(federated_problem(), "");
  EXPECT_EQ(federated_problem({{"bundleEndpointProfile",
                                {{"type", "https_spiffe"},
                                 {"endpointSPIFFEID", "spiffe://partner.org/server"}}}}),
            "");
  EXPECT_THAT(federated_problem({{"bundleEndpointURL", "http://partner.org"}}),
              HasSubstr("scheme must be https"));
  EXPECT_THAT(federated_problem({{"bundleEndpointURL", "https://u:p@partner.org"}}),
              HasSubstr("cannot contain userinfo"));
  EXPECT_THAT(federated_problem({{"bundleEndpointURL", "https:///x"}}),
              HasSubstr("host must be specified"));
  EXPECT_THAT(federated_problem({{"bundleEndpointURL", ""}}), HasSubstr("URL is missing"));
  EXPECT_THAT(federated_problem(
                  {{"bundleEndpointProfile",
                    {{"type", "https_web"}, {"endpointSPIFFEID", "spiffe://partner.org/x"}}}}),
              HasSubstr("not applicable to the \"https_web\" profile"));
  EXPECT_THAT(federated_problem({{"bundleEndpointProfile", {{"type", "https_spiffe"}}}}),
              HasSubstr("invalid bundle endpoint profile endpointSPIFFEID value"));
  EXPECT_THAT(federated_problem({{"bundleEndpointProfile", {{"type", "x"}}}}),
              HasSubstr("type value \"x\""));
  EXPECT_THAT(federated_problem({{"trustDomainBundle", "{"}}),
              HasSubstr("invalid trustDomainBundle value: spiffebundle"));
}

TEST(ObjectMeta, TheOldestWinsThenWhoStaysThenTheUid) {
  ObjectMeta old{.uid = "b", .created = "2030-01-01T00:00:00Z"};
  ObjectMeta young{.uid = "a", .created = "2030-01-02T00:00:00Z"};
  EXPECT_TRUE(precedence(old, young) < 0);
  ObjectMeta going = old;
  going.deleted = "2030-02-01T00:00:00Z";
  EXPECT_TRUE(precedence(old, going) < 0);
  ObjectMeta going_later = old;
  going_later.deleted = "2030-03-01T00:00:00Z";
  EXPECT_TRUE(precedence(going_later, going) < 0);
  ObjectMeta twin = old;
  twin.uid = "a";
  EXPECT_TRUE(precedence(twin, old) < 0);
}

}  // namespace
}  // namespace steeple::controller
