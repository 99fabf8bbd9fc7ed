// SPDX-License-Identifier: Apache-2.0

// Goal: ConfigMap, webhooks and APIServices carry the bundle. Method: a scripted API server, a
// kubeconfig in a folder of its own.

#include "server/notifier/k8sbundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "lib/base/check.h"
#include "lib/hcl/parse.h"
#include "lib/io/directory.h"
#include "lib/kube/fake_client.h"
#include "lib/x509/fake_authority.h"
#include "server/bundlepublisher/k8s_configmap.h"
#include "server/notifier/labelled_objects.h"

namespace steeple::server {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class K8sBundleTest : public testing::Test {
 protected:
  K8sBundleTest() {
    char name[] = "/tmp/steeple-k8sbundle-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    folder_ = name;
    CHECK(io::write_file(folder_ + "/config", R"({"current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://api:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}]})",
                         0600)
              .ok());
    settings_.kubeconfig = folder_ + "/config";
    change();
  }
  ~K8sBundleTest() override { std::filesystem::remove_all(folder_); }

  void change() {
    x509::FakeAuthority authority("example.org", world_.clock.now());
    jose::Bundle bundle{.trust_domain = spiffe::TrustDomain::parse("example.org").take()};
    bundle.x509_authorities.push_back({authority.certificate()->der()});
    bundle_ = std::make_shared<const jose::Bundle>(std::move(bundle));
  }
  std::string pem() const { return format_bundle(*bundle_, BundleFormat::kPem).take(); }

  void put() {
    if (!notifier_) {
      notifier_ = k8sbundle_notifier({settings_}, {.kube = &kube_,
                                                   .random = world_.random,
                                                   .bundle = [this] { return bundle_; },
                                                   .log = {}});
    }
    result_.reset();
    notifier_->put(bundle_, [this](Result<void> how) { result_ = std::move(how); });
    world_.run();
  }
  static std::string config_map(const std::string& version, const std::string& content) {
    return json{{"metadata", {{"name", "spire-bundle"}, {"resourceVersion", version}}},
                {"data", {{"bundle.crt", content}}}}
        .dump();
  }
  kube::FakeExchange& last() { return world_.transport.last(); }
  // The newest open exchange whose path begins so.
  kube::FakeExchange& open(const std::string& path) {
    for (std::size_t i = world_.transport.count(); i-- > 0;) {
      auto& exchange = world_.transport.at(i);
      if (exchange.open() && exchange.path().starts_with(path)) {
        return exchange;
      }
    }
    CHECK(false);
    return last();
  }

  std::string folder_;
  kube::FakeClient world_;
  kube::LazyClientDeps kube_{.loop = world_.loop, .transport = &world_.transport};
  K8sBundleCluster settings_;
  BundlePtr bundle_;
  std::unique_ptr<BundleTarget> notifier_;
  std::optional<Result<void>> result_;
};

TEST_F(K8sBundleTest, PatchesTheConfigMapWithTheVersionThatItRead) {
  put();
  EXPECT_EQ(last().path(), "/api/v1/namespaces/spire/configmaps/spire-bundle");
  last().answer(200, config_map("7", "old"));
  EXPECT_EQ(last().request.method, "PATCH");
  EXPECT_EQ(last().header("content-type"), "application/strategic-merge-patch+json");
  EXPECT_EQ(json::parse(last().request.body),
            (json{{"metadata", {{"resourceVersion", "7"}}}, {"data", {{"bundle.crt", pem()}}}}));
  last().answer(200, "{}");
  ASSERT_TRUE(result_ && result_->ok());
}

TEST_F(K8sBundleTest, LeavesAConfigMapAloneThatHasIt) {
  put();
  last().answer(200, config_map("7", pem()));
  EXPECT_EQ(world_.transport.count(), 1U);
  EXPECT_TRUE(result_->ok());
}

TEST_F(K8sBundleTest, AConflictReadsAgainWithTheBundleOfThatMoment) {
  put();
  last().answer(200, config_map("7", "old"));
  change();
  last().answer(409, kube::FakeClient::status(409, "Conflict"));
  last().answer(200, config_map("8", "other"));
  json patch = json::parse(last().request.body);
  EXPECT_EQ(patch["metadata"]["resourceVersion"], "8");
  EXPECT_EQ(patch["data"]["bundle.crt"], pem());
  last().answer(200, "{}");
  EXPECT_TRUE(result_->ok());
}

TEST_F(K8sBundleTest, AMissingConfigMapIsAnError) {
  put();
  last().answer(404, kube::FakeClient::status(404, "NotFound", "no such configmap"));
  EXPECT_THAT(result_->error().message, HasSubstr("unable to update: unable to get list: "));
}

TEST_F(K8sBundleTest, LabelledWebhooksGetItWhenSeenAndWhenItChanges) {
  settings_.webhook_label = "spiffe.io/webhook";
  put();
  const std::string path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
  auto& list = open(path);
  EXPECT_EQ(list.query("labelSelector"), "spiffe.io/webhook=true");
  json webhook = {{"metadata", {{"name", "w"}, {"resourceVersion", "5"}}},
                  {"webhooks",
                   {{{"name", "a.x.org"},
                     {"sideEffects", "None"},
                     {"admissionReviewVersions", {"v1"}},
                     {"clientConfig", {{"service", {{"name", "s"}}}}}}}}};
  list.answer(200, json{{"metadata", {{"resourceVersion", "9"}}}, {"items", {webhook}}}.dump());
  world_.run();
  auto& patch = open(path + "/w");
  EXPECT_EQ(json::parse(patch.request.body),
            (json{{"metadata", {{"resourceVersion", "5"}}},
                  {"webhooks",
                   {{{"name", "a.x.org"},
                     {"sideEffects", "None"},
                     {"admissionReviewVersions", {"v1"}},
                     {"clientConfig", {{"caBundle", base64_encode(pem())}}}}}}}));
  webhook["metadata"]["resourceVersion"] = "6";
  webhook["webhooks"][0]["clientConfig"]["caBundle"] = base64_encode(pem());
  const std::size_t before = world_.transport.count();
  patch.answer(200, webhook.dump());
  world_.run();
  EXPECT_EQ(world_.transport.count(), before) << "it has it";
  open("/api/v1/namespaces").answer(200, config_map("7", pem()));
  change();
  put();
  EXPECT_EQ(json::parse(open(path + "/w").request.body)["metadata"]["resourceVersion"], "6");
}

TEST(CaBundlePatch, AnApiServiceKeepsItsPriorities) {
  json object = {{"metadata", {{"resourceVersion", "5"}}},
                 {"spec", {{"groupPriorityMinimum", 100}, {"versionPriority", 15}}}};
  json patch = ca_bundle_patch(kube::kApiServices, object, "pem");
  EXPECT_EQ(patch, (json{{"metadata", {{"resourceVersion", "5"}}},
                         {"spec",
                          {{"caBundle", base64_encode("pem")},
                           {"groupPriorityMinimum", 100},
                           {"versionPriority", 15}}}}));
  object["spec"]["caBundle"] = base64_encode("pem");
  EXPECT_TRUE(ca_bundle_patch(kube::kApiServices, object, "pem").is_null());
}

TEST(K8sBundleSettings, TheTopIsAClusterUnlessOnlyOthersAreGiven) {
  auto clusters = [](const std::string& text) {
    return k8sbundle_clusters(hcl::parse(text).take(), Logger());
  };
  auto alone = clusters("").take();
  ASSERT_EQ(alone.size(), 1U);
  EXPECT_EQ(alone[0].name_space, "spire");
  EXPECT_EQ(alone[0].config_map, "spire-bundle");
  EXPECT_EQ(alone[0].config_map_key, "bundle.crt");
  auto others = clusters(R"(clusters = [{ kube_config_file_path = "/a" namespace = "n" },
                                        { kube_config_file_path = "/b" webhook_label = "w" }])")
                    .take();
  ASSERT_EQ(others.size(), 2U);
  EXPECT_EQ(others[0].name_space, "n");
  EXPECT_EQ(others[1].webhook_label, "w");
  auto both = clusters(R"(namespace = "top" api_service_label = "l" config_map = "m"
      config_map_key = "k"
      clusters = [{ kube_config_file_path = "/a" }])")
                  .take();
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0].name_space, "top");
  EXPECT_EQ(clusters("clusters = [{ namespace = \"n\" }]").error().message,
            "cluster configuration is missing kube_config_file_path");
}

}  // namespace
}  // namespace steeple::server
