// SPDX-License-Identifier: Apache-2.0

// Goal: a client comes when its files are there, and follows them. Method: a scripted transport, a
// kubeconfig in a folder of its own, simulated time.

#include "lib/kube/lazy_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "lib/base/check.h"
#include "lib/io/directory.h"
#include "lib/kube/fake_client.h"

namespace steeple::kube {
namespace {

using testing::HasSubstr;

class LazyClientTest : public testing::Test {
 protected:
  static std::string new_folder() {
    char name[] = "/tmp/steeple-lazy-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    return name;
  }
  ~LazyClientTest() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/config"; }
  void write(const std::string& server) const {
    CHECK(io::write_file(path(),
                         "{\"current-context\": \"c\", \"contexts\": [{\"name\": \"c\", "
                         "\"context\": {\"cluster\": \"k\", \"user\": \"u\"}}], \"clusters\": "
                         "[{\"name\": \"k\", \"cluster\": {\"server\": \"" +
                             server +
                             "\"}}], \"users\": [{\"name\": \"u\", \"user\": {\"token\": "
                             "\"t\"}}]}",
                         0600)
              .ok());
  }
  // Where a request of the present client goes.
  std::string asks() {
    auto client = lazy_.get();
    if (!client.ok()) {
      return client.error().message;
    }
    auto call = (*client)->get({kNodes, "", "n"}, [](Result<ObjectPtr>) {});
    world_.run();
    return world_.transport.last().request.url;
  }

  const std::string folder_ = new_folder();
  FakeClient world_;
  LazyClient lazy_{path(), {.loop = world_.loop, .transport = &world_.transport}};
};

TEST_F(LazyClientTest, ComesWhenTheKubeconfigIsThere) {
  EXPECT_THAT(asks(), HasSubstr("kubeconfig \"" + path() + "\""));
  write("https://one:1");
  EXPECT_EQ(asks(), "https://one:1/api/v1/nodes/n");
}

TEST_F(LazyClientTest, FollowsAKubeconfigThatChangesAndOutlivesOneThatGoes) {
  write("https://one:1");
  EXPECT_THAT(asks(), HasSubstr("https://one:1/"));
  write("https://two:2");
  EXPECT_THAT(asks(), HasSubstr("https://one:1/")) << "not looked at with every request";
  world_.advance(kFileAgeMax);
  EXPECT_THAT(asks(), HasSubstr("https://two:2/"));
  std::filesystem::remove(path());
  world_.advance(kFileAgeMax);
  EXPECT_THAT(asks(), HasSubstr("https://two:2/"));
}

TEST_F(LazyClientTest, AClientGivenOutLivesOnWhenAnotherIsMade) {
  write("https://one:1");
  auto first = lazy_.get().take();
  write("https://two:2");
  world_.advance(kFileAgeMax);
  EXPECT_NE(lazy_.get().take(), first);
  auto call = first->get({kNodes, "", "n"}, [](Result<ObjectPtr>) {});
  world_.run();
  EXPECT_THAT(world_.transport.last().request.url, HasSubstr("https://one:1/"));
}

TEST_F(LazyClientTest, OutsideOfAPodAndWithoutNetworkItSaysSo) {
  LazyClient inside("", {.loop = world_.loop,
                         .transport = &world_.transport,
                         .environment = [](const char*) { return std::nullopt; }});
  EXPECT_THAT(inside.get().error().message, HasSubstr("in-cluster"));
  LazyClient nowhere("", {.loop = world_.loop});
  EXPECT_EQ(nowhere.get().error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace steeple::kube
