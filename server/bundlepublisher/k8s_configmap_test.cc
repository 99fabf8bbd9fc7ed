// SPDX-License-Identifier: Apache-2.0

// Goal: the bundle stands in the ConfigMap of each cluster as configured. Method: a scripted API
// server, a kubeconfig in a folder of its own.

#include "server/bundlepublisher/k8s_configmap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "lib/base/check.h"
#include "lib/hcl/parse.h"
#include "lib/io/directory.h"
#include "lib/jose/bundle_document.h"
#include "lib/kube/fake_client.h"
#include "lib/x509/certificate.h"
#include "lib/x509/fake_authority.h"

namespace steeple::server {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class ConfigMapTest : public testing::Test {
 protected:
  ConfigMapTest() {
    char name[] = "/tmp/steeple-configmap-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    folder_ = name;
    for (const char* cluster : {"a", "b"}) {
      CHECK(
          io::write_file(
              folder_ + "/" + cluster,
              json{{"current-context", "c"},
                   {"contexts", {{{"name", "c"}, {"context", {{"cluster", "k"}, {"user", "u"}}}}}},
                   {"clusters",
                    {{{"name", "k"},
                      {"cluster", {{"server", "https://" + std::string(cluster) + ":1"}}}}}},
                   {"users", {{{"name", "u"}, {"user", {{"token", "t"}}}}}}}
                  .dump(),
              0600)
              .ok());
    }
    bundle_.x509_authorities.push_back({authority_.certificate()->der()});
    bundle_.sequence_number = 3;
    bundle_.refresh_hint = std::chrono::seconds(60);
  }
  ~ConfigMapTest() override { std::filesystem::remove_all(folder_); }

  ConfigMapCluster cluster(const std::string& name, BundleFormat format) const {
    return {.configmap_name = "bundle-" + name,
            .configmap_key = "key-" + name,
            .name_space = "spire",
            .kubeconfig = folder_ + "/" + name,
            .format = format};
  }
  void make(const ConfigMapClusters& clusters) {
    publisher_ = k8s_configmap_publisher(clusters,
                                         {.loop = world_.loop, .transport = &world_.transport}, {});
  }
  void put() {
    result_.reset();
    publisher_->put(std::make_shared<const jose::Bundle>(bundle_),
                    [this](Result<void> how) { result_ = std::move(how); });
    world_.run();
  }

  std::string folder_;
  kube::FakeClient world_;
  x509::FakeAuthority authority_{"example.org", world_.clock.now()};
  jose::Bundle bundle_{.trust_domain = spiffe::TrustDomain::parse("example.org").take()};
  std::unique_ptr<BundleTarget> publisher_;
  std::optional<Result<void>> result_;
};

TEST_F(ConfigMapTest, AppliesByForceAsTheReferencesFieldManager) {
  make({{"one", cluster("a", BundleFormat::kPem)}});
  put();
  auto& asked = world_.transport.last();
  EXPECT_EQ(asked.request.method, "PATCH");
  EXPECT_THAT(asked.request.url,
              HasSubstr("https://a:1/api/v1/namespaces/spire/configmaps/bundle-a?"));
  EXPECT_EQ(asked.query("fieldManager"), "spire-bundlepublisher-k8s_configmap");
  EXPECT_EQ(asked.query("force"), "true");
  EXPECT_EQ(
      json::parse(asked.request.body),
      (json{{"apiVersion", "v1"},
            {"kind", "ConfigMap"},
            {"metadata", {{"name", "bundle-a"}, {"namespace", "spire"}}},
            {"data", {{"key-a", x509::certificate_to_pem(bundle_.x509_authorities[0].der)}}}}));
  EXPECT_FALSE(result_);
  asked.answer(200, "{}");
  ASSERT_TRUE(result_ && result_->ok());
}

TEST_F(ConfigMapTest, AClusterThatHasItIsLeftAloneWhenAnotherFailed) {
  make({{"one", cluster("a", BundleFormat::kPem)}, {"two", cluster("b", BundleFormat::kPem)}});
  put();
  world_.transport.at(0).answer(200, "{}");
  EXPECT_FALSE(result_) << "the other is still under way";
  world_.transport.at(1).answer(403, kube::FakeClient::status(403, "Forbidden", "not you"));
  ASSERT_TRUE(result_);
  EXPECT_THAT(result_->error().message,
              testing::MatchesRegex("failed to apply ConfigMap for cluster \"two\": .*not you.*"));
  put();
  ASSERT_EQ(world_.transport.count(), 3U);
  EXPECT_THAT(world_.transport.last().request.url, HasSubstr("https://b:1/"));
  world_.transport.last().answer(200, "{}");
  EXPECT_TRUE(result_->ok());
}

TEST_F(ConfigMapTest, AClusterWithoutKubeconfigFailsAloneAndByName) {
  auto gone = cluster("b", BundleFormat::kPem);
  gone.kubeconfig = folder_ + "/none";
  make({{"one", cluster("a", BundleFormat::kPem)}, {"two", gone}});
  put();
  world_.transport.at(0).answer(200, "{}");
  EXPECT_THAT(result_->error().message,
              HasSubstr("failed to create Kubernetes client for cluster \"two\": "));
}

TEST_F(ConfigMapTest, FormatsAndRefreshHint) {
  auto hinted = cluster("a", BundleFormat::kSpiffe);
  hinted.refresh_hint = std::chrono::minutes(5);
  make({{"one", hinted}});
  put();
  json object = json::parse(world_.transport.last().request.body);
  auto document = json::parse(object["data"]["key-a"].get<std::string>());
  EXPECT_EQ(document["spiffe_refresh_hint"], 300);
  EXPECT_EQ(document["spiffe_sequence"], 3);
  EXPECT_EQ(document["keys"][0]["use"], "x509-svid");
  auto jwks = json::parse(format_bundle(bundle_, BundleFormat::kJwks).take());
  EXPECT_FALSE(jwks.contains("spiffe_sequence"));
  EXPECT_FALSE(jwks["keys"][0].contains("use"));
}

std::string complaint(const std::string& text) {
  auto out = k8s_configmap_clusters(hcl::parse(text).take(), Logger());
  return out.ok() ? "ok" : out.error().message;
}

TEST(ConfigMapSettings, AllKeysAreTakenAndMistakesToldInTheReferencesWords) {
  auto text = [](const std::string& without) {
    std::string out = "clusters = { \"x\" = {\n";
    for (const char* line :
         {"format = \"SPIFFE\"", "namespace = \"n\"", "configmap_name = \"m\"",
          "configmap_key = \"k\"", "kubeconfig_path = \"/k\"", "refresh_hint = \"5m\""}) {
      out += std::string(line).starts_with(without) ? "" : std::string(line) + "\n";
    }
    return out + "} }";
  };
  EXPECT_EQ(complaint(text("none")), "ok");
  EXPECT_EQ(complaint(""), "ok");
  EXPECT_EQ(complaint(text("format")), "missing bundle format in cluster \"x\"");
  EXPECT_EQ(complaint(text("namespace")), "missing namespace in cluster \"x\"");
  EXPECT_EQ(complaint(text("configmap_name")), "missing configmap name in cluster \"x\"");
  EXPECT_EQ(complaint(text("configmap_key")), "missing configmap key in cluster \"x\"");
  EXPECT_EQ(complaint(R"(clusters "x" { format = "der" namespace = "n" configmap_name = "m"
                         configmap_key = "k" })"),
            "could not parse bundle format from cluster \"x\": unknown bundle format: \"der\"");
}

}  // namespace
}  // namespace steeple::server
