// SPDX-License-Identifier: Apache-2.0

// Goal: a process gets the selectors of its pod, soon, with few requests, and never those of
// another. Method: a scripted kubelet behind the transport, simulated time and processes.

#include "agent/workloadattestor/k8s_attestor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/peer/fake_proc_fs.h"
#include "agent/workloadattestor/attestors.h"
#include "agent/workloadattestor/fake_pods.h"
#include "lib/base/fake_random.h"
#include "lib/hcl/parse.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_workers.h"
#include "lib/kube/fake_transport.h"
#include "lib/telemetry/fake_log.h"

namespace steeple::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;

constexpr pid_t kPid = 100;

std::optional<std::string> environment(const char* name) {
  if (std::string_view(name) == "MY_NODE_NAME") {
    return "node-1";
  }
  if (std::string_view(name) == "OTHER") {
    return "fd00::7";
  }
  return std::nullopt;
}

class K8sAttestorTest : public testing::Test {
 protected:
  K8sAttestorTest() {
    configure(
        "use_anonymous_authentication = true\n"
        "skip_kubelet_verification = true");
  }

  void configure(const std::string& text) {
    attestor_.reset();
    attestor_ = k8s_attestor(k8s_attestor_options(hcl::parse(text).take(), environment).take(),
                             {.loop = loop_,
                              .transport = kubelet_,
                              .random = random_,
                              .environment = environment,
                              .late = late_});
  }
  // A process in that container of that pod, as the kernel tells it.
  void in_container(pid_t pid, const FakePod& pod, const std::string& container_id) {
    proc_fs_.set_file(pid, "cgroup",
                      "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" +
                          underscored(pod.uid) + ".slice/cri-containerd-" + container_id +
                          ".scope\n");
  }
  void start(pid_t pid, const FakePod& pod) {
    proc_fs_.start(pid, {});
    in_container(pid, pod, pod.container_id);
  }
  static std::string underscored(std::string uid) {
    std::ranges::replace(uid, '-', '_');
    return uid;
  }

  // Index into answers_.
  std::size_t attest(pid_t pid = kPid) {
    std::size_t index = answers_.size();
    answers_.emplace_back();
    attestor_->start(workers_,
                     WorkloadProcess::of_peer(proc_fs_.connect(pid, true), proc_fs_).take(),
                     [this, index](Result<Selectors> selectors) {
                       EXPECT_FALSE(answers_[index]) << "one answer";
                       answers_[index] = std::move(selectors);
                     });
    scheduler_.run_ready();
    return index;
  }
  void lists(const std::vector<FakePod>& pods) { kubelet_.last().answer(200, pod_list(pods)); }
  std::vector<std::string> values(std::size_t index) {
    std::vector<std::string> out;
    if (!answers_[index]) {
      return {"waiting"};
    }
    if (!answers_[index]->ok()) {
      return {code_name(answers_[index]->error().code), answers_[index]->error().message};
    }
    for (const Selector& selector : **answers_[index]) {
      EXPECT_EQ(selector.type, "k8s");
      out.push_back(selector.value);
    }
    return out;
  }
  bool waits(std::size_t index) const { return !answers_[index].has_value(); }

  std::shared_ptr<LateSelectors> late_ = std::make_shared<LateSelectors>();
  FakeClock clock_;
  io::SimScheduler scheduler_{clock_, 1};
  io::SimLoop loop_{scheduler_};
  io::SimWorkers workers_{scheduler_};
  SeededRandom random_{1};
  FakeProcFs proc_fs_;
  kube::FakeTransport kubelet_;
  std::vector<std::optional<Result<Selectors>>> answers_;
  std::unique_ptr<WorkloadAttestor> attestor_;
};

TEST_F(K8sAttestorTest, GivesAllSelectorsOfPodAndContainer) {
  FakePod pod = fake_pod(1);
  start(kPid, pod);
  std::size_t answer = attest();
  EXPECT_TRUE(waits(answer));
  EXPECT_EQ(kubelet_.last().request.url, "https://node-1:10250/pods");
  lists({fake_pod(2), pod});
  EXPECT_THAT(
      values(answer),
      ElementsAre("sa:sa-1", "ns:ns-1", "node-name:node-1", "pod-uid:" + pod.uid, "pod-name:pod-1",
                  "pod-image-count:2", "pod-init-image-count:1",
                  "pod-image:docker.io/library/app@sha256:1", "pod-image:docker.io/library/app:v1",
                  "pod-image:docker.io/library/sidecar@sha256:1",
                  "pod-image:docker.io/library/sidecar:v1",
                  "pod-init-image:docker.io/library/init@sha256:1",
                  "pod-init-image:docker.io/library/init:v1", "pod-label:app:app-1",
                  "pod-label:pod-template-hash:6658cb9566", "pod-owner:ReplicaSet:rs-1",
                  "pod-owner-uid:ReplicaSet:owner-1", "container-name:app",
                  "container-image:docker.io/library/app@sha256:1",
                  "container-image:docker.io/library/app:v1"));
}

TEST_F(K8sAttestorTest, AProcessOutsideOfKubernetesHasNoSelectorsAndNoError) {
  proc_fs_.start(kPid, {});
  proc_fs_.set_file(kPid, "cgroup", "0::/system.slice/sshd.service\n");
  proc_fs_.set_file(kPid, "mountinfo", "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
  std::size_t answer = attest();
  scheduler_.run_for(seconds(1));
  EXPECT_THAT(values(answer), IsEmpty());
  EXPECT_EQ(kubelet_.count(), 0U);
}

TEST_F(K8sAttestorTest, InItsOwnCgroupNamespaceTheMountsTellTheContainer) {
  FakePod pod = fake_pod(1);
  proc_fs_.start(kPid, {});
  proc_fs_.set_file(kPid, "cgroup", "0::/\n");
  proc_fs_.set_file(kPid, "mountinfo",
                    "1 0 0:1 /kubepods/burstable/pod" + pod.uid + "/" + pod.container_id +
                        " /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
  std::size_t answer = attest();
  scheduler_.run_for(seconds(1));
  lists({pod});
  EXPECT_THAT(values(answer), Contains("pod-name:pod-1"));
}

TEST_F(K8sAttestorTest, InitContainersAreFoundToo) {
  FakePod pod = fake_pod(1);
  proc_fs_.start(kPid, {});
  in_container(kPid, pod, pod.init_container_id);
  std::size_t answer = attest();
  lists({pod});
  EXPECT_THAT(values(answer), Contains("container-name:init"));
}

TEST_F(K8sAttestorTest, ConcurrentAttestationsShareOneRequest) {
  std::vector<FakePod> pods;
  for (int i = 0; i < 50; ++i) {
    pods.push_back(fake_pod(i));
    start(kPid + i, pods.back());
    attest(kPid + i);
  }
  EXPECT_EQ(kubelet_.count(), 1U);
  lists(pods);
  for (int i = 0; i < 50; ++i) {
    EXPECT_THAT(values(static_cast<std::size_t>(i)), Contains(fmt::format("pod-name:pod-{}", i)));
  }
}

TEST_F(K8sAttestorTest, AKnownContainerIsAnsweredAtOnceAndOldListsAreRefreshedOnTheSide) {
  FakePod pod = fake_pod(1);
  start(kPid, pod);
  attest();
  lists({pod});
  scheduler_.run_for(seconds(4));
  EXPECT_FALSE(waits(attest()));
  EXPECT_EQ(kubelet_.count(), 1U);
  scheduler_.run_for(kPodsRefreshAfter);
  EXPECT_FALSE(waits(attest())) << "not made to wait for the refresh";
  EXPECT_EQ(kubelet_.count(), 2U);
  pod.labels["app"] = "changed";
  lists({pod});
  EXPECT_THAT(values(attest()), Contains("pod-label:app:changed"));
}

TEST_F(K8sAttestorTest, WhatIsTooOldIsNotTrustedUnlessTheKubeletIsSilent) {
  FakePod pod = fake_pod(1);
  start(kPid, pod);
  attest();
  lists({pod});
  scheduler_.run_for(kPodsKnownFor);
  std::size_t old = attest();
  EXPECT_TRUE(waits(old));
  lists({});
  EXPECT_TRUE(waits(old)) << "the new list says otherwise";
  scheduler_.run_for(milliseconds(500));
  lists({pod});
  EXPECT_FALSE(waits(old));
  scheduler_.run_for(kPodsKnownFor);
  std::size_t silent = attest();
  kubelet_.last().fail(unavailable("connection refused"));
  EXPECT_THAT(values(silent), Contains("pod-name:pod-1"));
}

TEST_F(K8sAttestorTest, AContainerNotYetReportedWaitsForTheNextListAndNoSoonerThanTheInterval) {
  FakePod pod = fake_pod(1);
  start(kPid, pod);
  std::size_t answer = attest();
  FakePod early = pod;
  early.container_id.clear();
  lists({early});
  EXPECT_TRUE(waits(answer));
  scheduler_.run_for(milliseconds(499));
  EXPECT_EQ(kubelet_.count(), 1U);
  scheduler_.run_for(milliseconds(1));
  EXPECT_EQ(kubelet_.count(), 2U);
  lists({pod});
  EXPECT_THAT(values(answer), Contains("container-name:app"));
}

TEST_F(K8sAttestorTest, AMissInAFreshListWaitsForTheNext) {
  FakePod first = fake_pod(1), second = fake_pod(2);
  start(kPid, first);
  start(kPid + 1, second);
  attest();
  lists({first});
  scheduler_.run_for(milliseconds(100));
  std::size_t answer = attest(kPid + 1);
  EXPECT_EQ(kubelet_.count(), 1U);
  scheduler_.run_for(milliseconds(400));
  lists({first, second});
  EXPECT_THAT(values(answer), Contains("pod-name:pod-2"));
}

TEST_F(K8sAttestorTest, WithoutContainerSelectorsAKnownPodIsEnough) {
  configure(
      "use_anonymous_authentication = true\nskip_kubelet_verification = true\n"
      "disable_container_selectors = true");
  FakePod pod = fake_pod(1);
  start(kPid, pod);
  std::size_t answer = attest();
  pod.container_id.clear();
  lists({pod});
  EXPECT_THAT(values(answer), Contains("pod-name:pod-1"));
  EXPECT_THAT(values(answer), Not(Contains(HasSubstr("container-"))));
}

TEST_F(K8sAttestorTest, WhileNoEntryAsksForContainersAKnownPodIsEnoughAndNothingIsSaidOfThem) {
  late_->wanted = false;
  FakePod pod = fake_pod(1), unreported = pod;
  unreported.container_id.clear();
  start(kPid, pod);
  std::size_t answer = attest();
  lists({unreported});
  EXPECT_THAT(values(answer), Contains("pod-name:pod-1"));
  EXPECT_THAT(values(answer), Not(Contains(HasSubstr("container-"))));
  EXPECT_THAT(values(answer), Not(Contains(HasSubstr("image"))));
  late_->wanted = true;
  std::size_t later = attest();
  EXPECT_TRUE(waits(later));
  scheduler_.run_for(milliseconds(500));
  lists({pod});
  EXPECT_THAT(values(later), Contains("container-name:app"));
}

TEST_F(K8sAttestorTest, AProcessWhosePathNamesNoPodIsNeverAnsweredEarly) {
  late_->wanted = false;
  FakePod pod = fake_pod(1), unreported = pod;
  unreported.container_id.clear();
  proc_fs_.start(kPid, {});
  proc_fs_.set_file(kPid, "cgroup", "0::/system.slice/crio-" + pod.container_id + ".scope\n");
  std::size_t answer = attest();
  lists({unreported});
  EXPECT_TRUE(waits(answer));
}

TEST_F(K8sAttestorTest, GivesUpAfterTheAttemptsInTheReferencesWords) {
  configure(
      "use_anonymous_authentication = true\nskip_kubelet_verification = true\n"
      "max_poll_attempts = 3\npoll_retry_interval = \"100ms\"");
  start(kPid, fake_pod(1));
  std::size_t missing = attest();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(waits(missing));
    lists({});
    scheduler_.run_for(milliseconds(100));
  }
  EXPECT_THAT(values(missing),
              ElementsAre("DeadlineExceeded", "no selectors found after max poll attempts"));
  EXPECT_EQ(kubelet_.count(), 3U);
  std::size_t down = attest();
  for (int i = 0; i < 3; ++i) {
    kubelet_.last().fail(unavailable("connection refused"));
    scheduler_.run_for(milliseconds(100));
  }
  EXPECT_EQ(values(down)[0], "Unavailable");
  EXPECT_THAT(values(down)[1], HasSubstr("connection refused"));
  EXPECT_EQ(kubelet_.open(), 0U);
}

TEST_F(K8sAttestorTest, RefusalsAndNonsenseOfTheKubeletAreFailedAttempts) {
  configure(
      "use_anonymous_authentication = true\nskip_kubelet_verification = true\n"
      "max_poll_attempts = 4\npoll_retry_interval = \"100ms\"");
  start(kPid, fake_pod(1));
  std::size_t answer = attest();
  kubelet_.last().answer(403, "Forbidden");
  scheduler_.run_for(milliseconds(100));
  kubelet_.last().answer(200, "<html>");
  scheduler_.run_for(milliseconds(100));
  kubelet_.last().answer(200, R"({"kind":"PodList"})");
  scheduler_.run_for(milliseconds(100));
  EXPECT_TRUE(waits(answer));
  lists({fake_pod(1)});
  EXPECT_THAT(values(answer), Contains("pod-name:pod-1"));
}

TEST_F(K8sAttestorTest, WaitingEndsWithTheProcess) {
  start(kPid, fake_pod(1));
  std::size_t answer = attest();
  proc_fs_.exit(kPid);
  lists({});
  EXPECT_EQ(values(answer)[0], "Unauthenticated");
  scheduler_.run_for(seconds(60));
  EXPECT_EQ(kubelet_.count(), 1U) << "nobody waits: nobody is asked";
}

TEST_F(K8sAttestorTest, StoppingEndsWhatWaits) {
  start(kPid, fake_pod(1));
  std::size_t answer = attest();
  attestor_->stop();
  EXPECT_EQ(values(answer)[0], "Canceled");
  lists({fake_pod(1)});
  EXPECT_EQ(values(attest())[0], "Canceled");
}

TEST_F(K8sAttestorTest, AContainerWithoutPodInItsPathIsLookedForInAllAndMustBeOnlyOne) {
  FakePod pod = fake_pod(1);
  proc_fs_.start(kPid, {});
  proc_fs_.set_file(kPid, "cgroup", "0::/../crio-" + pod.container_id + ".scope\n");
  std::size_t answer = attest();
  lists({fake_pod(2), pod});
  EXPECT_THAT(values(answer), Contains("pod-name:pod-1"));
  FakePod twin = fake_pod(3);
  twin.container_id = pod.container_id;
  scheduler_.run_for(kPodsKnownFor);
  answer = attest();
  lists({pod, twin});
  EXPECT_THAT(values(answer), ElementsAre("Internal", "two pods found with same container Id"));
}

TEST_F(K8sAttestorTest, AContainerOfAnotherPodIsNotFound) {
  FakePod pod = fake_pod(1), other = fake_pod(2);
  proc_fs_.start(kPid, {});
  in_container(kPid, other, pod.container_id);
  std::size_t answer = attest();
  lists({pod, other});
  EXPECT_TRUE(waits(answer));
}

TEST_F(K8sAttestorTest, TheListArrivesInPieces) {
  FakePod pod = fake_pod(1);
  start(kPid, pod);
  std::size_t answer = attest();
  std::string text = pod_list({fake_pod(2), pod, fake_pod(3)});
  kubelet_.last().head(200);
  for (char c : text) {
    kubelet_.last().data({&c, 1});
  }
  EXPECT_TRUE(waits(answer));
  kubelet_.last().end();
  EXPECT_THAT(values(answer), Contains("pod-name:pod-1"));
}

TEST_F(K8sAttestorTest, OtherAttestorsCountWhileTheKubeletIsDown) {
  class Unix final : public BlockingAttestor {
   public:
    const std::string& name() const override { return name_; }
    Result<Selectors> attest(const WorkloadProcess&) override {
      return Selectors{{"unix", "uid:0"}};
    }

   private:
    const std::string name_ = "unix";
  };
  configure(
      "use_anonymous_authentication = true\nskip_kubelet_verification = true\n"
      "max_poll_attempts = 1");
  start(kPid, fake_pod(1));
  std::vector<std::unique_ptr<WorkloadAttestor>> list;
  list.push_back(std::move(attestor_));
  list.push_back(std::make_unique<Unix>());
  Attestors attestors(workers_, std::move(list));
  std::optional<Result<Selectors>> joined;
  attestors.attest(loop_, WorkloadProcess::of_peer(proc_fs_.connect(kPid, true), proc_fs_).take(),
                   [&](Result<Selectors> selectors) { joined = std::move(selectors); });
  scheduler_.run_for(milliseconds(100));
  kubelet_.last().fail(unavailable("connection refused"));
  scheduler_.run_for(milliseconds(100));
  ASSERT_TRUE(joined && joined->ok());
  EXPECT_THAT(**joined, ElementsAre(Selector{"unix", "uid:0"}));
}

// --- settings
// -------------------------------------------------------------------------------------

Result<K8sAttestorOptions> options(const std::string& text) {
  return k8s_attestor_options(hcl::parse(text).take(), environment);
}
std::string complaint(const std::string& text) {
  auto out = options(text);
  return out.ok() ? "ok" : out.error().message;
}

TEST(K8sAttestorSettings, TheDefaultsAreTheReferences) {
  auto out = options("").take();
  EXPECT_EQ(out.kubelet.server, "https://node-1:10250");
  EXPECT_EQ(out.kubelet.ca_file, "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
  EXPECT_EQ(out.kubelet.token_file, "/var/run/secrets/kubernetes.io/serviceaccount/token");
  EXPECT_TRUE(out.kubelet.verify_name);
  EXPECT_EQ(out.poll_attempts_max, 60);
  EXPECT_EQ(out.poll_interval, milliseconds(500));
  EXPECT_TRUE(out.container_selectors);
  EXPECT_FALSE(out.namespace_labels);
}

TEST(K8sAttestorSettings, TheKubeletIsWhereTheNodeIs) {
  EXPECT_EQ(options("node_name = \"10.0.0.1\"")->kubelet.server, "https://10.0.0.1:10250");
  EXPECT_EQ(options("node_name_env = \"OTHER\"")->kubelet.server, "https://[fd00::7]:10250");
  EXPECT_EQ(options("node_name = \"n\"\nkubelet_secure_port = 1")->kubelet.server, "https://n:1");
  auto local = options("node_name_env = \"UNSET\"").take();
  EXPECT_EQ(local.kubelet.server, "https://127.0.0.1:10250");
  EXPECT_TRUE(local.kubelet.verify_chain);
  EXPECT_FALSE(local.kubelet.verify_name);
  auto plain = options("kubelet_read_only_port = 10255").take();
  EXPECT_EQ(plain.kubelet.server, "http://127.0.0.1:10255");
  EXPECT_TRUE(plain.kubelet.plain_http);
  EXPECT_EQ(plain.kubelet.token_file, "") << "no token in the clear";
}

TEST(K8sAttestorSettings, CredentialsAreAsConfigured) {
  auto by_certificate = options(
                            "certificate_path = \"/c\"\nprivate_key_path = \"/k\"\n"
                            "reload_interval = \"5s\"")
                            .take();
  EXPECT_EQ(by_certificate.kubelet.cert_file, "/c");
  EXPECT_EQ(by_certificate.kubelet.key_file, "/k");
  EXPECT_EQ(by_certificate.kubelet.token_file, "");
  EXPECT_EQ(by_certificate.kubelet.file_age_max, seconds(5));
  auto skipped = options("skip_kubelet_verification = true\ntoken_path = \"/t\"").take();
  EXPECT_FALSE(skipped.kubelet.verify_chain);
  EXPECT_EQ(skipped.kubelet.ca_file, "");
  EXPECT_EQ(skipped.kubelet.token_file, "/t");
  auto anonymous = options("use_anonymous_authentication = true").take();
  EXPECT_EQ(anonymous.kubelet.token_file, "");
}

TEST(K8sAttestorSettings, MistakesAreToldInTheReferencesWords) {
  EXPECT_EQ(complaint("kubelet_read_only_port = 1\nkubelet_secure_port = 2"),
            "cannot use both the read-only and secure port");
  EXPECT_EQ(complaint("certificate_path = \"/c\""),
            "the private key path is required with the certificate path");
  EXPECT_EQ(complaint("private_key_path = \"/k\""),
            "the certificate path is required with the private key path");
  EXPECT_EQ(complaint("disable_kubelet_client = true\nnode_name = \"n\"\ntoken_path = \"/t\""),
            "disable_kubelet_client cannot be used with token_path; "
            "disable_kubelet_client cannot be used with node_name");
  EXPECT_THAT(complaint("poll_retry_interval = \"x\""), HasSubstr("poll_retry_interval"));
  EXPECT_THAT(complaint("nonsense = 1"), HasSubstr("nonsense"));
  EXPECT_THAT(complaint("experimental { nonsense = 1 }"), HasSubstr("nonsense"));
}

TEST(K8sAttestorSettings, WhatIsNotBuiltIsRefusedByName) {
  EXPECT_EQ(complaint("sigstore { allowed_identities = {} }"),
            "sigstore is not supported by this agent");
  EXPECT_EQ(complaint("experimental { broker { access_policy = \"enforced\" } }"),
            "experimental.broker is not supported by this agent");
  EXPECT_EQ(complaint("enable_namespace_labels = true\n"
                      "experimental { api_server { cache { enabled = true } } }"),
            "ok");
}

}  // namespace
}  // namespace steeple::agent
