// SPDX-License-Identifier: Apache-2.0

// Goal: files follow the Workload API, outlive its outages, and the command hears of each change.
// Method: the real client against a Workload API on a real socket, real files, real processes.

#include "helper/helper.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "helper/once.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/telemetry/fake_log.h"
#include "spiffe/workloadapi/fake_workload_api.h"

namespace steeple::helper {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class HelperTest : public ::testing::Test {
 protected:
  HelperTest() {
    std::string name = "/tmp/steeple-helper-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    config_.cert_dir = folder_ + "/certs";
    ::mkdir(config_.cert_dir.c_str(), 0755);
    config_.agent_address = api_.address();
    times_.retry = {.first = milliseconds(5), .most = milliseconds(20)};
    times_.notifier.pid_file_retry = milliseconds(5);
    times_.not_yet_first = milliseconds(1);
  }
  ~HelperTest() override {
    workers_.reset();
    helper_.reset();
    std::filesystem::remove_all(folder_);
  }

  void use_x509() {
    config_.svid_file_name = "svid.pem";
    config_.svid_key_file_name = "svid_key.pem";
    config_.svid_bundle_file_name = "svid_bundle.pem";
  }
  HelperDeps deps() {
    return {.loop = loop_,
            .workers = *workers_,
            .network = network_,
            .client = spiffe::Client::make({.address = config_.agent_address,
                                            .backoff_first = milliseconds(5),
                                            .backoff_max = milliseconds(20)})
                          .take(),
            .log = log_};
  }
  void start() {
    helper_ = std::make_unique<Helper>(config_, deps(), times_, [this](Result<void> why) {
      ended_ = true;
      EXPECT_TRUE(why.ok());
    });
    ASSERT_TRUE(helper_->start().ok());
  }
  bool until(const std::function<bool()>& holds) {
    bool late = false;
    io::Timer guard(loop_);
    guard.start(seconds(20), [&] { late = true; });
    while (!holds() && !late) {
      io::Timer turn(loop_);
      turn.start(milliseconds(1), [this] { loop_.stop(); });
      loop_.run();
    }
    return holds();
  }
  std::string file(const std::string& name) const {
    std::ifstream in(config_.cert_dir + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string note() const {
    std::ifstream in(folder_ + "/note");
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // A new identity of the workload.
  void rotate() {
    auto svid = authority_.issue("/web", now_, std::chrono::hours(24 * 365));
    api_.publish(
        spiffe::FakeWorkloadApi::response_of(authority_, {svid}, {"spiffe://example.org/web"}));
  }
  // Publishes and waits until the file says so.
  void rotate_and_wait() {
    std::string before = file("svid.pem");
    rotate();
    ASSERT_TRUE(until([&] { return !file("svid.pem").empty() && file("svid.pem") != before; }));
  }
  // A command that notes its start and each SIGUSR1, until SIGTERM or the file "end" is there.
  void use_command() {
    config_.cmd = "sh";
    config_.cmd_args = {"-c",
                        "trap 'echo renewed >>note' USR1; trap 'echo ended >>note; exit 3' TERM; "
                        "cd \"$0\"; echo started >>note; "
                        "while ! [ -e end ]; do sleep 0.01; done; rm end",
                        folder_};
    config_.renew_signal = "SIGUSR1";
    config_.renew_signal_number = SIGUSR1;
  }
  static std::string token(const std::vector<std::string>& audience, WallTime expires_at) {
    std::string list;
    for (const std::string& one : audience) {
      list += (list.empty() ? "\"" : ",\"") + one + "\"";
    }
    return base64url_encode(R"({"alg":"ES256","kid":"k","typ":"JWT"})") + "." +
           base64url_encode(
               fmt::format(R"({{"sub":"spiffe://example.org/web","aud":[{}],"exp":{}}})", list,
                           to_unix_seconds(expires_at))) +
           "." + base64url_encode(std::string(64, 's'));
  }

  std::string folder_;
  HelperConfig config_;
  HelperTimes times_;
  WallTime now_ = system_clock().now();
  x509::FakeAuthority authority_{"example.org", now_, std::chrono::hours(24 * 3650)};
  spiffe::FakeWorkloadApi api_;
  CapturedLog log_;
  io::AsioLoop loop_;
  io::SocketNetwork network_;
  std::unique_ptr<io::WorkerPool> workers_ = std::make_unique<io::WorkerPool>();
  std::unique_ptr<Helper> helper_;
  bool ended_ = false;
};

TEST_F(HelperTest, FilesAppearAndFollowEachRotation) {
  use_x509();
  rotate();
  start();
  EXPECT_FALSE(helper_->statuses().ready());
  EXPECT_TRUE(helper_->statuses().live());
  ASSERT_TRUE(until([&] { return helper_->statuses().ready(); }));
  for (int i = 0; i < 3; ++i) {
    rotate_and_wait();
    EXPECT_TRUE(spiffe::X509Svid::parse_pem(file("svid.pem"), file("svid_key.pem")).ok())
        << "the key is the certificate's";
  }
  EXPECT_THAT(file("svid_bundle.pem"), HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_EQ(helper_->statuses().page(true),
            R"({"status":"OK","health":{"file_write_statuses":{"x509_write_status":"written",)"
            R"("jwt_write_status":{}}}})");
}

TEST_F(HelperTest, AnOutageTakesNothingAwayAndIsFollowedUp) {
  use_x509();
  rotate();
  start();
  ASSERT_TRUE(until([&] { return helper_->statuses().ready(); }));
  std::string before = file("svid.pem");
  api_.stop();
  ASSERT_TRUE(until([&] {
    for (const auto& line : log_.lines()) {
      if (line.message.starts_with("Error while watching x509 context: ")) {
        return true;
      }
    }
    return false;
  }));
  EXPECT_EQ(file("svid.pem"), before);
  EXPECT_TRUE(helper_->statuses().ready()) << "what is written is written";
  rotate();
  api_.start();
  EXPECT_TRUE(until([&] { return file("svid.pem") != before; }));
}

TEST_F(HelperTest, AWriteThatFailsIsToldAndTriedAgain) {
  use_x509();
  ::rmdir(config_.cert_dir.c_str());
  rotate();
  start();
  ASSERT_TRUE(until([&] { return !helper_->statuses().live(); }));
  EXPECT_THAT(helper_->statuses().page(false), HasSubstr(R"("x509_write_status":"failed")"));
  EXPECT_THAT(helper_->statuses().page(false), HasSubstr(R"("status":"Service Unavailable")"));
  EXPECT_TRUE(log_.has("Unable to dump bundle"));
  ::mkdir(config_.cert_dir.c_str(), 0755);
  EXPECT_TRUE(until([&] { return helper_->statuses().ready(); }));
}

TEST_F(HelperTest, TheCommandStartsAfterTheFirstWriteAndIsSignalledAfterEachOther) {
  use_x509();
  use_command();
  start();
  EXPECT_EQ(helper_->child_pid(), 0);
  rotate();
  ASSERT_TRUE(until([&] { return note() == "started\n"; }));
  rotate_and_wait();
  ASSERT_TRUE(until([&] { return note() == "started\nrenewed\n"; }));
  // It ends by itself, and is started with the next change.
  std::ofstream(folder_ + "/end") << "x";
  ASSERT_TRUE(until([&] { return helper_->child_pid() == 0; }));
  EXPECT_TRUE(log_.has("Process exited with code 0"));
  rotate_and_wait();
  ASSERT_TRUE(until([&] { return note() == "started\nrenewed\nstarted\n"; }));
  helper_->stop(SIGTERM);
  ASSERT_TRUE(until([&] { return ended_; }));
  EXPECT_EQ(note(), "started\nrenewed\nstarted\nended\n");
  EXPECT_TRUE(log_.has("Process exited with code 3"));
}

TEST_F(HelperTest, ACommandThatDoesNotEndIsKilledAfterTheGrace) {
  use_x509();
  config_.cmd = "sh";
  config_.cmd_args = {"-c", "trap '' TERM; echo started >\"$0\"/note; while :; do sleep 0.01; done",
                      folder_};
  times_.notifier.stop_grace = milliseconds(50);
  rotate();
  start();
  ASSERT_TRUE(until([&] { return note() == "started\n"; }));
  helper_->stop(SIGTERM);
  ASSERT_TRUE(until([&] { return ended_; }));
  EXPECT_TRUE(log_.has("Process was ended by signal SIGKILL"));
}

TEST_F(HelperTest, ACommandThatIsNotThereIsToldAndTriedWithTheNextChange) {
  use_x509();
  config_.cmd = folder_ + "/no-such-command";
  rotate();
  start();
  ASSERT_TRUE(until([&] { return log_.has("Unable to signal process"); }));
  EXPECT_TRUE(helper_->statuses().ready());
  std::ofstream(config_.cmd) << "#!/bin/sh\necho started >" << folder_ << "/note\n";
  ::chmod(config_.cmd.c_str(), 0755);
  rotate_and_wait();
  EXPECT_TRUE(until([&] { return note() == "started\n"; }));
}

TEST_F(HelperTest, TheProcessOfThePidFileIsSignalledEvenWhenTheFileComesLate) {
  use_x509();
  config_.pid_file_name = folder_ + "/pid";
  config_.renew_signal = "SIGUSR2";
  config_.renew_signal_number = SIGUSR2;
  int signalled = 0;
  loop_.on_signals({SIGUSR2}, [&](int) { ++signalled; });
  rotate();
  start();
  ASSERT_TRUE(until([&] { return helper_->statuses().ready(); }));
  std::ofstream(folder_ + "/pid") << ::getpid() << "\n";
  ASSERT_TRUE(until([&] { return signalled == 1; }));
  rotate_and_wait();
  EXPECT_TRUE(until([&] { return signalled == 2; }));
}

TEST_F(HelperTest, APidFileNamesOneProcessOnly) {
  for (const char* text : {"", "0", "-1", "12x", "99999999999999999999"}) {
    std::ofstream(folder_ + "/pid") << text;
    EXPECT_THAT(signal_pid_file(folder_ + "/pid", 0).error().message,
                HasSubstr("failed to parse pid file"))
        << text;
  }
  EXPECT_THAT(signal_pid_file(folder_ + "/none", 0).error().message,
              HasSubstr("failed to read pid file"));
}

TEST_F(HelperTest, TokensAreWrittenForAllAudiencesAndRefreshed) {
  config_.jwt_svids = {{"a", {"b"}, "jwt.token"}};
  config_.jwt_bundle_file_name = "jwt_bundle.json";
  int asked = 0;
  api_.answer_jwt([&](const JWTSVIDRequest& request) -> Result<JWTSVIDResponse> {
    if (++asked == 1) {
      return permission_denied("no identity issued");
    }
    JWTSVIDResponse response;
    auto* svid = response.add_svids();
    svid->set_spiffe_id("spiffe://example.org/web");
    // Lives for so short that the next one is asked for a second later.
    svid->set_svid(token({request.audience().begin(), request.audience().end()},
                         system_clock().now() + seconds(2 * asked)));
    return response;
  });
  JWTBundlesResponse bundles;
  (*bundles.mutable_bundles())["spiffe://example.org"] = R"({"keys":[]})";
  api_.publish_jwt_bundles(bundles);
  use_command();
  start();
  ASSERT_TRUE(until([&] { return helper_->statuses().ready(); }));
  std::string first = file("jwt.token");
  EXPECT_TRUE(spiffe::JwtSvid::parse_insecure(first, {"b"}, system_clock().now()).ok());
  EXPECT_EQ(file("jwt_bundle.json"), R"({"example.org":"eyJrZXlzIjpbXX0="})");
  EXPECT_TRUE(until([&] { return note() == "started\n"; })) << "also without X.509 files";
  EXPECT_TRUE(until([&] { return file("jwt.token") != first; }));
  EXPECT_THAT(helper_->statuses().page(true), HasSubstr("certs/jwt.token\":\"written\""));
  helper_->stop(SIGTERM);
  EXPECT_TRUE(until([&] { return ended_; }));
}

TEST_F(HelperTest, OnceFetchesEverythingAndWaitsForTheIdentityToBeRegistered) {
  use_x509();
  config_.jwt_svids = {{"a", {}, "jwt.token"}};
  api_.refuse(permission_denied("no identity issued"));
  int asked = 0;
  api_.answer_jwt([&](const JWTSVIDRequest& request) -> Result<JWTSVIDResponse> {
    if (++asked < 3) {
      return permission_denied("no identity issued");
    }
    JWTSVIDResponse response;
    response.add_svids()->set_spiffe_id("spiffe://example.org/web");
    response.mutable_svids(0)->set_svid(token({request.audience(0)}, now_ + seconds(300)));
    return response;
  });
  std::optional<Result<void>> ended;
  Once once(config_, deps(), times_, [&](Result<void> why) { ended = std::move(why); });
  once.start();
  ASSERT_TRUE(until([&] { return log_.has("No identity yet"); }));
  rotate();
  ASSERT_TRUE(until([&] { return ended.has_value(); }));
  EXPECT_TRUE(ended->ok()) << ended->error().message;
  EXPECT_EQ(asked, 3);
  EXPECT_FALSE(file("svid_key.pem").empty());
  EXPECT_FALSE(file("jwt.token").empty());
}

TEST_F(HelperTest, OnceEndsWithAnyOtherErrorAndTriesEveryToken) {
  config_.jwt_svids = {{"a", {}, "a.token"}, {"b", {}, "b.token"}};
  api_.answer_jwt([&](const JWTSVIDRequest& request) -> Result<JWTSVIDResponse> {
    return unavailable("not " + request.audience(0));
  });
  std::optional<Result<void>> ended;
  Once once(config_, deps(), times_, [&](Result<void> why) { ended = std::move(why); });
  once.start();
  ASSERT_TRUE(until([&] { return ended.has_value(); }));
  EXPECT_EQ(ended->error().message,
            "unable to fetch JWT SVID for audience \"a\": not a\n"
            "unable to fetch JWT SVID for audience \"b\": not b");
}

TEST_F(HelperTest, OnceDoesNotRetryWhatTheDiskRefuses) {
  use_x509();
  config_.cert_dir = folder_ + "/none";
  rotate();
  std::optional<Result<void>> ended;
  Once once(config_, deps(), times_, [&](Result<void> why) { ended = std::move(why); });
  once.start();
  ASSERT_TRUE(until([&] { return ended.has_value(); }));
  EXPECT_THAT(ended->error().message, HasSubstr("no such file or directory"));
}

}  // namespace
}  // namespace steeple::helper
