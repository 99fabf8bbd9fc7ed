// SPDX-License-Identifier: Apache-2.0

// Goal: an agent gets in by a token that the API server vouches for, and by no other. Method: the
// real client and loop, a scripted API server behind the transport, the attestation on a worker.

#include "server/nodeattestor/k8s_psat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "lib/base/check.h"
#include "lib/hcl/parse.h"
#include "lib/io/asio_loop.h"
#include "lib/io/directory.h"
#include "lib/io/worker_pool.h"

namespace steeple::server {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kReviews = "/apis/authentication.k8s.io/v1/tokenreviews";
constexpr const char* kPod = "/api/v1/namespaces/spire/pods/agent-1";
constexpr const char* kNode = "/api/v1/nodes/node-1";

// Answers by path, on the loop's next turn; what has no answer is never answered.
class ScriptedApi final : public kube::Transport {
 public:
  explicit ScriptedApi(io::Loop& loop) : loop_(loop) {}

  kube::CallPtr start(kube::HttpRequest request, kube::HttpEvents events) override {
    std::string path = request.url.substr(request.url.find('/', 8));
    asked.push_back(path);
    bodies[path] = request.body;
    auto alive = std::make_shared<bool>(true);
    auto at = answers.find(path);
    if (broken) {
      loop_.post([alive, events = std::move(events)]() mutable {
        if (*alive) {
          events.on_end(unavailable("connection refused"));
        }
      });
    } else if (at != answers.end()) {
      loop_.post([alive, events = std::move(events), answer = at->second]() mutable {
        if (*alive) {
          events.on_head({answer.first, {}});
          events.on_data(answer.second);
          events.on_end({});
        }
      });
    }
    class Cancel final : public kube::Call {
     public:
      explicit Cancel(std::shared_ptr<bool> alive) : alive_(std::move(alive)) {}
      ~Cancel() override { *alive_ = false; }

     private:
      std::shared_ptr<bool> alive_;
    };
    return std::make_unique<Cancel>(alive);
  }

  std::map<std::string, std::pair<int, std::string>> answers;
  std::vector<std::string> asked;
  std::map<std::string, std::string> bodies;
  bool broken = false;

 private:
  io::Loop& loop_;
};

class PsatTest : public testing::Test {
 protected:
  PsatTest() {
    char name[] = "/tmp/steeple-psat-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    folder_ = name;
    CHECK(io::write_file(folder_ + "/config", R"({"current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://api:6443"}}],
        "users": [{"name": "u", "user": {"token": "t"}}]})",
                         0600)
              .ok());
    settings_.service_accounts = {"spire:spire-agent"};
    settings_.kubeconfig = folder_ + "/config";
    api_.answers[kPod] = {200, pod_.dump()};
    api_.answers[kNode] = {200, node_.dump()};
    vouch();
  }
  ~PsatTest() override { std::filesystem::remove_all(folder_); }

  void vouch() { api_.answers[kReviews] = {201, json{{"status", status_}}.dump()}; }

  Result<AgentAttributes> attest(const std::string& payload) {
    auto attestor =
        k8s_psat_attestor({{"demo", settings_}}, domain_,
                          {.loop = loop_, .transport = transport_, .environment = [](const char*) {
                             return std::nullopt;
                           }});
    return attest_with(*attestor, payload);
  }
  Result<AgentAttributes> attest_with(NodeAttestor& attestor, const std::string& payload) {
    std::optional<Result<AttestationOutcome>> out;
    // From the loop: a loop that does not run yet is on no thread.
    loop_.post([&] {
      CHECK(workers_
                .submit([&] {
                  out.emplace(attestor.begin({})->start(payload));
                  loop_.post([this] { loop_.stop(); });
                })
                .ok());
    });
    loop_.run();
    if (!out->ok()) {
      return out->error();
    }
    return std::get<AgentAttributes>(std::move(**out));
  }
  Result<AgentAttributes> attest() { return attest(R"({"cluster":"demo","token":"eyJ.x.y"})"); }
  std::string complaint() {
    auto out = attest();
    return out.ok() ? "ok" : code_name(out.error().code) + " " + out.error().message;
  }

  std::string folder_;
  io::AsioLoop loop_;
  ScriptedApi api_{loop_};
  kube::Transport* transport_ = &api_;
  io::WorkerPool workers_{{.threads = 1, .queue_max = 10}};
  spiffe::TrustDomain domain_ = spiffe::TrustDomain::parse("example.org").take();
  PsatCluster settings_;
  json status_ = {{"authenticated", true},
                  {"audiences", {"spire-server"}},
                  {"user",
                   {{"username", "system:serviceaccount:spire:spire-agent"},
                    {"uid", "sa-uid"},
                    {"extra",
                     {{"authentication.kubernetes.io/pod-name", {"agent-1"}},
                      {"authentication.kubernetes.io/pod-uid", {"pod-uid-1"}}}}}}};
  json pod_ = {{"kind", "Pod"},
               {"metadata",
                {{"name", "agent-1"},
                 {"uid", "pod-uid-1"},
                 {"labels", {{"app", "agent"}, {"secret", "no"}}}}},
               {"spec", {{"nodeName", "node-1"}}},
               {"status", {{"hostIP", "172.16.10.1"}}}};
  json node_ = {{"kind", "Node"},
                {"metadata",
                 {{"name", "node-1"},
                  {"uid", "node-uid-1"},
                  {"labels", {{"zone", "a"}, {"arch", "amd64"}, {"other", "x"}}}}}};
};

std::vector<std::string> values(const AgentAttributes& attributes) {
  std::vector<std::string> out;
  for (const Selector& selector : attributes.selectors) {
    EXPECT_EQ(selector.type, "k8s_psat");
    out.push_back(selector.value);
  }
  return out;
}

TEST_F(PsatTest, GivesTheIdOfTheNodeAndTheReferencesSelectors) {
  settings_.node_label_keys = {"zone", "arch", "absent"};
  settings_.pod_label_keys = {"app"};
  auto out = attest();
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_EQ(out->agent_id.text(), "spiffe://example.org/spire/agent/k8s_psat/demo/node-uid-1");
  EXPECT_TRUE(out->can_reattest);
  EXPECT_THAT(values(*out), ElementsAre("cluster:demo", "agent_ns:spire", "agent_sa:spire-agent",
                                        "agent_pod_name:agent-1", "agent_pod_uid:pod-uid-1",
                                        "agent_node_ip:172.16.10.1", "agent_node_name:node-1",
                                        "agent_node_uid:node-uid-1", "agent_node_label:arch:amd64",
                                        "agent_node_label:zone:a", "agent_pod_label:app:agent"));
  json review = json::parse(api_.bodies[kReviews]);
  EXPECT_EQ(review["spec"]["token"], "eyJ.x.y");
  EXPECT_EQ(review["spec"]["audiences"], json({"spire-server"}));
}

TEST_F(PsatTest, TheIdMayBeThePods) {
  settings_.use_pod_uid_for_agent_id = true;
  EXPECT_EQ(attest()->agent_id.text(),
            "spiffe://example.org/spire/agent/k8s_psat/demo/pod/pod-uid-1");
}

TEST_F(PsatTest, AnEmptyListOfAudiencesLeavesTheChoiceToTheApiServer) {
  settings_.audience = {};
  status_.erase("audiences");
  vouch();
  ASSERT_TRUE(attest().ok());
  EXPECT_FALSE(json::parse(api_.bodies[kReviews])["spec"].contains("audiences"));
}

TEST_F(PsatTest, PayloadsThatSayNothingAreInvalid) {
  auto why = [this](const std::string& payload) {
    Error error = attest(payload).error();
    EXPECT_EQ(error.code, Code::kInvalidArgument);
    return error.message;
  };
  EXPECT_EQ(why(""), "nodeattestor(k8s_psat): missing attestation payload");
  EXPECT_THAT(why("{"), HasSubstr("failed to unmarshal data payload: "));
  EXPECT_THAT(why(R"({"cluster":1,"token":"x"})"), HasSubstr("failed to unmarshal data payload"));
  EXPECT_THAT(why(R"({"token":"x"})"), HasSubstr(": missing cluster in attestation data"));
  EXPECT_THAT(why(R"({"cluster":"demo"})"), HasSubstr(": missing token in attestation data"));
  EXPECT_THAT(why(R"({"cluster":"no","token":"x"})"),
              HasSubstr(": not configured for cluster \"no\""));
  EXPECT_THAT(api_.asked, IsEmpty());
}

TEST_F(PsatTest, ATokenThatIsNotVouchedForIsDenied) {
  status_["authenticated"] = false;
  vouch();
  EXPECT_EQ(complaint(),
            "PermissionDenied nodeattestor(k8s_psat): token not authenticated according to "
            "TokenReview API for cluster \"demo\"");
  EXPECT_EQ(api_.asked.size(), 1U);
}

TEST_F(PsatTest, AnErrorInTheReviewIsInternal) {
  status_["authenticated"] = false;
  status_["error"] = "[invalid bearer token]";
  vouch();
  EXPECT_EQ(complaint(),
            "Internal nodeattestor(k8s_psat): unable to validate token with TokenReview API for "
            "cluster \"demo\": token review API response contains an error: [invalid bearer "
            "token]");
}

TEST_F(PsatTest, AnApiServerThatKnowsNoAudiencesVouchesForNone) {
  for (const json& audiences : {json::array(), json({"other"})}) {
    status_["audiences"] = audiences;
    vouch();
    EXPECT_THAT(complaint(), HasSubstr("did not validate audience: wanted one of "
                                       "[\"spire-server\"] but got ["));
  }
}

TEST_F(PsatTest, OnlyAllowedServiceAccountsComeIn) {
  for (const char* who :
       {"system:serviceaccount:other:spire-agent", "system:serviceaccount:spire:default"}) {
    status_["user"]["username"] = who;
    vouch();
    EXPECT_THAT(complaint(), HasSubstr("PermissionDenied")) << who;
    EXPECT_THAT(complaint(), HasSubstr("is not an allowed service account for cluster \"demo\""));
  }
  for (const char* who : {"", "admin", "system:node:spire:spire-agent", "a:b:spire:spire-agent",
                          "system:serviceaccount::x", "system:serviceaccount:spire:",
                          "system:serviceaccount:spire:spire-agent:x"}) {
    status_["user"]["username"] = who;
    vouch();
    EXPECT_THAT(complaint(),
                HasSubstr("Internal nodeattestor(k8s_psat): failed to parse username from token "
                          "review status for cluster \"demo\": "))
        << who;
  }
}

TEST_F(PsatTest, ATokenMustBeBoundToOnePod) {
  json& extra = status_["user"]["extra"];
  extra["authentication.kubernetes.io/pod-uid"] = {"a", "b"};
  vouch();
  EXPECT_THAT(complaint(), HasSubstr("failed to get pod UID from token review status for cluster "
                                     "\"demo\": expected 1 UID but got: 2"));
  extra.erase("authentication.kubernetes.io/pod-name");
  vouch();
  EXPECT_THAT(complaint(), HasSubstr("failed to get pod name from token review status for "
                                     "cluster \"demo\": missing pod name"));
}

TEST_F(PsatTest, APodThatTookTheNameIsNotThePodOfTheToken) {
  pod_["metadata"]["uid"] = "pod-uid-2";
  api_.answers[kPod] = {200, pod_.dump()};
  EXPECT_EQ(complaint(),
            "PermissionDenied nodeattestor(k8s_psat): pod UID mismatch for pod \"agent-1\" in "
            "cluster \"demo\": token bound to pod UID \"pod-uid-1\"");
}

TEST_F(PsatTest, APodOrNodeThatIsNotThereIsInternal) {
  const std::string gone =
      json{{"kind", "Status"}, {"code", 404}, {"reason", "NotFound"}, {"message", "no such"}}
          .dump();
  api_.answers[kNode] = {404, gone};
  EXPECT_THAT(complaint(), HasSubstr("Internal nodeattestor(k8s_psat): failed to get node from "
                                     "k8s API server for cluster \"demo\": unable to query nodes "
                                     "API: "));
  api_.answers[kPod] = {404, gone};
  auto out = attest();
  EXPECT_THAT(out.error().message, HasSubstr("failed to get pod from k8s API server"));
  EXPECT_THAT(out.error().details, IsEmpty()) << "no details of others for the agent";
}

TEST_F(PsatTest, NamesThatNoPathCanHaveAreRefused) {
  status_["user"]["extra"]["authentication.kubernetes.io/pod-name"] = {"../../secrets/x"};
  vouch();
  EXPECT_THAT(complaint(), HasSubstr("failed to get pod from k8s API server"));
  EXPECT_EQ(api_.asked.size(), 1U);
}

TEST_F(PsatTest, AMissingKubeconfigIsToldWithEachAttestationUntilItIsThere) {
  std::filesystem::rename(folder_ + "/config", folder_ + "/later");
  EXPECT_THAT(complaint(), HasSubstr("unable to get clientset: unable to create client config: "));
  std::filesystem::rename(folder_ + "/later", folder_ + "/config");
  EXPECT_EQ(complaint(), "ok");
}

TEST_F(PsatTest, AnApiServerThatCameBackIsAskedAgain) {
  auto attestor =
      k8s_psat_attestor({{"demo", settings_}}, domain_, {.loop = loop_, .transport = transport_});
  const std::string payload = R"({"cluster":"demo","token":"x"})";
  api_.broken = true;
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(attest_with(*attestor, payload).error().message, HasSubstr("connection refused"));
  }
  api_.broken = false;
  EXPECT_TRUE(attest_with(*attestor, payload).ok());
}

std::string settings_complaint(const std::string& text) {
  auto out = k8s_psat_clusters(hcl::parse(text).take(), Logger());
  return out.ok() ? "ok" : out.error().message;
}

TEST(PsatSettings, AllKeysAreTakenInEveryForm) {
  auto out = k8s_psat_clusters(hcl::parse(R"(
      clusters = {
        "one" = {
          service_account_allow_list = ["spire:spire-agent", "a:b"]
          audience = []
          kube_config_file = "/k"
          allowed_node_label_keys = ["n"]
          allowed_pod_label_keys = ["p"]
          use_pod_uid_for_agent_id = true
        }
      }
      clusters "two" { service_account_allow_list = ["c:d"] })")
                                   .take(),
                               Logger());
  ASSERT_TRUE(out.ok()) << out.error().message;
  const PsatCluster& one = out->at("one");
  EXPECT_THAT(one.service_accounts, ElementsAre("a:b", "spire:spire-agent"));
  EXPECT_THAT(one.audience, IsEmpty());
  EXPECT_EQ(one.kubeconfig, "/k");
  EXPECT_THAT(one.node_label_keys, ElementsAre("n"));
  EXPECT_THAT(one.pod_label_keys, ElementsAre("p"));
  EXPECT_TRUE(one.use_pod_uid_for_agent_id);
  EXPECT_THAT(out->at("two").audience, ElementsAre("spire-server"));
}

TEST(PsatSettings, AClusterMustAllowSomeone) {
  EXPECT_EQ(settings_complaint("clusters = { \"a\" = {} }"),
            "cluster \"a\" configuration must have at least one service account allowed");
  EXPECT_EQ(settings_complaint(""), "ok");
}

}  // namespace
}  // namespace steeple::server
