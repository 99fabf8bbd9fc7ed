// SPDX-License-Identifier: Apache-2.0

// Goal: kubeconfigs and service accounts are read as kubectl does, and rotated files are picked up.
// Method: real files in a folder of the test's own, time moved by hand.

#include "lib/kube/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "lib/base/bytes.h"
#include "lib/base/fake_clock.h"
#include "lib/base/random.h"
#include "lib/io/directory.h"

namespace steeple::kube {
namespace {

using testing::HasSubstr;

class Folder {
 public:
  Folder() : path_(testing::TempDir() + "kube-" + system_random().uuid()) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::string write(const std::string& name, std::string_view text) const {
    io::write_file(path_ + '/' + name, text, 0600).take();
    return path_ + '/' + name;
  }
  void remove(const std::string& name) const { std::filesystem::remove(path_ + '/' + name); }

 private:
  const std::string path_;
};

Environment environment(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const char* name) -> std::optional<std::string> {
    auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

constexpr const char* kConfig = R"(
apiVersion: v1
kind: Config
current-context: second
clusters:
- name: near
  cluster:
    server: https://10.0.0.1:6443/
    certificate-authority: ca.crt
    tls-server-name: kubernetes
- name: far
  cluster: {server: "https://far:443", certificate-authority-data: UEVN}
contexts:
- {name: first, context: {cluster: near, user: cert, namespace: spire}}
- {name: second, context: {cluster: far, user: token}}
- {name: third, context: {cluster: near, user: exec}}
- {name: fourth, context: {cluster: nowhere, user: token}}
users:
- {name: cert, user: {client-certificate: /abs/c.crt, client-key-data: S0VZ}}
- {name: token, user: {token: abc}}
- {name: exec, user: {exec: {command: aws}}}
)";

TEST(Kubeconfig, CurrentContextNamesClusterAndUser) {
  AccessConfig config = parse_kubeconfig(kConfig, "/home/x").take();
  EXPECT_EQ(config.server, "https://far:443");
  EXPECT_EQ(config.ca_data, "PEM");
  EXPECT_EQ(config.token, "abc");
  EXPECT_EQ(config.default_namespace, "default");
}

TEST(Kubeconfig, AnotherContextMayBeChosenAndRelativeFilesStandBesideIt) {
  AccessConfig config = parse_kubeconfig(kConfig, "/home/x", "first").take();
  EXPECT_EQ(config.server, "https://10.0.0.1:6443");
  EXPECT_EQ(config.ca_file, "/home/x/ca.crt");
  EXPECT_EQ(config.cert_file, "/abs/c.crt");
  EXPECT_EQ(config.key_data, "KEY");
  EXPECT_EQ(config.tls_server_name, "kubernetes");
  EXPECT_EQ(config.default_namespace, "spire");
}

TEST(Kubeconfig, WhatIsNotDoneIsRefusedByName) {
  EXPECT_THAT(parse_kubeconfig(kConfig, "/", "third").error().message,
              HasSubstr("user \"exec\": exec is not supported"));
  EXPECT_THAT(parse_kubeconfig(kConfig, "/", "fourth").error().message,
              HasSubstr("clusters: there is no \"nowhere\""));
  EXPECT_THAT(parse_kubeconfig(kConfig, "/", "fifth").error().message, HasSubstr("contexts"));
  EXPECT_THAT(parse_kubeconfig("[]", "/").error().message, HasSubstr("not a kubeconfig"));
  EXPECT_THAT(parse_kubeconfig("{}", "/").error().message, HasSubstr("current-context"));
}

TEST(Kubeconfig, MayBeJsonAndMustBeHttps) {
  constexpr const char* kJson = R"({"current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": ""}}],
    "clusters": [{"name": "k", "cluster": {"server": "http://x"}}]})";
  EXPECT_THAT(parse_kubeconfig(kJson, "/").error().message, HasSubstr("must start with https://"));
}

TEST(FindAccess, PrefersThePathThenTheVariableThenTheClusterThenHome) {
  Folder folder;
  std::string path = folder.write("config", kConfig);
  EXPECT_EQ(find_access(path, environment({})).take().server, "https://far:443");
  EXPECT_EQ(find_access("", environment({{"KUBECONFIG", path}})).take().token, "abc");
  std::filesystem::create_directory(folder.path() + "/.kube");
  folder.write(".kube/config", kConfig);
  EXPECT_EQ(find_access("", environment({{"HOME", folder.path()}})).take().token, "abc");
  EXPECT_THAT(find_access("", environment({})).error().message,
              HasSubstr("KUBERNETES_SERVICE_HOST"));
  EXPECT_EQ(find_access(folder.path() + "/no", environment({})).error().code, Code::kNotFound);
}

TEST(InCluster, ReadsTheServiceAccount) {
  Folder folder;
  folder.write("token", "tok-1\n");
  folder.write("ca.crt", "CA");
  folder.write("namespace", "spire\n");
  auto variables =
      environment({{"KUBERNETES_SERVICE_HOST", "fd00::1"}, {"KUBERNETES_SERVICE_PORT", "443"}});
  AccessConfig config = in_cluster_access(variables, folder.path()).take();
  EXPECT_EQ(config.server, "https://[fd00::1]:443");
  EXPECT_EQ(config.default_namespace, "spire");
  FakeClock clock;
  auto access = make_access(config, clock);
  Credential credential = access->credential().take();
  EXPECT_EQ(credential.authorization, "Bearer tok-1");
  EXPECT_EQ(credential.tls->ca_pem, "CA");
}

class Rotation : public testing::Test {
 protected:
  std::string authorization() { return access_->credential().take().authorization; }

  Folder folder_;
  FakeClock clock_;
  std::string file_ = folder_.write("token", "old");
  std::unique_ptr<Access> access_ =
      make_access({.server = "https://x", .token_file = file_}, clock_);
};

TEST_F(Rotation, ATokenIsReadAgainAfterAMinuteAndNotBefore) {
  EXPECT_EQ(authorization(), "Bearer old");
  folder_.write("token", "new");
  clock_.advance(kFileAgeMax - std::chrono::seconds(1));
  EXPECT_EQ(authorization(), "Bearer old");
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(authorization(), "Bearer new");
}

TEST_F(Rotation, ARefusedTokenIsReadAgainAtOnce) {
  EXPECT_EQ(authorization(), "Bearer old");
  folder_.write("token", "new");
  EXPECT_TRUE(access_->refused());
  EXPECT_EQ(authorization(), "Bearer new");
}

TEST_F(Rotation, AFileThatGoesLeavesWhatWasRead) {
  EXPECT_EQ(authorization(), "Bearer old");
  folder_.remove("token");
  clock_.advance(kFileAgeMax);
  EXPECT_EQ(authorization(), "Bearer old");
}

TEST_F(Rotation, TheSameMaterialStaysTheSameObject) {
  auto first = access_->credential().take().tls;
  clock_.advance(kFileAgeMax);
  EXPECT_EQ(access_->credential().take().tls, first);
}

TEST(Access, RefusesTokensThatWouldBreakTheHeader) {
  FakeClock clock;
  auto access = make_access({.server = "https://x", .token = "a\r\nx: y"}, clock);
  EXPECT_FALSE(access->credential().ok());
  EXPECT_FALSE(access->refused());
}

}  // namespace
}  // namespace steeple::kube
