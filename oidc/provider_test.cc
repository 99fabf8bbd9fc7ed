// SPDX-License-Identifier: Apache-2.0

// Goal: the provider serves its pages in every mode, and a certificate that works is only replaced
// by one that works. Method: the whole provider on simulated loop, network and TLS with files in a
// folder; the X509-SVID from a Workload API on a real socket.

#include "oidc/provider.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/io/asio_loop.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/telemetry/fake_log.h"
#include "lib/tls/fake_handshake.h"
#include "spiffe/workloadapi/fake_workload_api.h"

namespace steeple::oidc {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kBundle = R"({"keys":[{"use":"jwt-svid","kty":"EC","kid":"K","crv":"P-256",)"
                                R"("x":"iSt7S4ih6QLodw9wf-zdPV8bmAlDJBCRRy24_UAZY70",)"
                                R"("y":"Gb4gkQCeHj7HCbZzdctcAx9dxoDgC9sudsSG7ZLIWJs"}]})";

class OidcProvider : public ::testing::Test {
 protected:
  OidcProvider() {
    folder_ = "/tmp/steeple-oidc-XXXXXX";
    CHECK(::mkdtemp(folder_.data()) != nullptr);
    write("bundle.json", kBundle);
    config_.domains = {"a.test"};
    config_.file = FileConfig{folder_ + "/bundle.json", seconds(10)};
  }
  ~OidcProvider() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
  }
  // A certificate and its key, each in PEM.
  std::pair<std::string, std::string> certificate() {
    auto svid = authority_.issue("/oidc", clock_.now());
    return {x509::chain_to_pem(svid.chain), std::string(svid.key->to_pem().reveal())};
  }
  void use_certificate_files() {
    auto [cert, key] = certificate();
    write("cert.pem", cert);
    write("key.pem", key);
    config_.serving_cert_file = ServingCertFileConfig{folder_ + "/cert.pem", folder_ + "/key.pem",
                                                      minutes(1), io::Endpoint::tcp("oidc", 443)};
  }
  Provider make() {
    return Provider(config_, {.loop = loop_,
                              .workers = workers_,
                              .network = *network_,
                              .handshake = *handshake_,
                              .random = random_,
                              .client = nullptr,
                              .log = log_});
  }
  // The whole answer to one request. `secure`: by TLS, whoever the server is.
  std::string ask(const io::Endpoint& at, const std::string& request, bool secure = false) {
    std::unique_ptr<io::Connection> connection;
    network_->connect(loop_, at, seconds(1), [&](auto connected) {
      if (connected.ok() && !secure) {
        connection = std::move(connected).take();
      } else if (connected.ok()) {
        handshake_->connect(
            loop_, std::move(connected).take(), trusting_, seconds(1),
            [&](auto secured) { connection = secured.ok() ? std::move(secured).take() : nullptr; });
      }
    });
    scheduler_.run_for(seconds(1));
    if (!connection) {
      return "refused";
    }
    if (secure) {
      presented_ = connection->peer()->chain.front();
    }
    std::string text = request + " HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    std::string got;
    connection->on_ready([&](bool, bool) {
      if (!text.empty()) {
        auto put = connection->write(text);
        text.erase(0, put.status == io::IoStatus::kOk ? put.bytes : 0);
      }
      std::array<char, 4096> buffer{};
      auto read = connection->read(buffer);
      got.append(buffer.data(), read.status == io::IoStatus::kOk ? read.bytes : 0);
      connection->interest(
          read.status == io::IoStatus::kOk || read.status == io::IoStatus::kWouldBlock,
          !text.empty());
    });
    connection->interest(true, true);
    scheduler_.run_for(seconds(2));
    return got;
  }

  std::string folder_;
  ProviderConfig config_;
  FakeClock clock_;
  io::SimScheduler scheduler_{clock_, 1};
  io::SimSwitch switch_{scheduler_};
  std::unique_ptr<io::Network> network_ = switch_.join("oidc");
  io::SimLoop loop_{scheduler_};
  io::SimWorkers workers_{scheduler_};
  std::unique_ptr<tls::Handshake> handshake_ = tls::fake_handshake();
  SeededRandom random_{1};
  CapturedLog log_;
  x509::FakeAuthority authority_{"example.org", clock_.now()};
  Bytes presented_;  // by the server, last
  std::shared_ptr<const tls::ClientPolicy> trusting_ = [] {
    tls::ClientPolicy policy;
    policy.verify_server = [](const std::vector<Bytes>&) {
      return Result<std::optional<spiffe::SpiffeId>>(std::nullopt);
    };
    policy.alpn = {};
    return std::make_shared<const tls::ClientPolicy>(std::move(policy));
  }();
};

TEST_F(OidcProvider, PlainHttpServesBothPagesUnderThePrefix) {
  io::Endpoint at = config_.insecure_addr.emplace(io::Endpoint::tcp("oidc", 80));
  config_.server_path_prefix = "/x";
  config_.allow_insecure_scheme = true;
  config_.log_requests = true;
  Provider provider = make();
  ASSERT_TRUE(provider.start().ok());
  EXPECT_THAT(ask(at, "GET /x/.well-known/openid-configuration"),
              HasSubstr("\"jwks_uri\": \"http://a.test/x/keys\""));
  EXPECT_THAT(ask(at, "GET /x/keys?q"), HasSubstr("\"kid\": \"K\""));
  EXPECT_EQ(log_.lines("Incoming request").back().fields.at("url"), "/x/keys?q");
  EXPECT_THAT(ask(at, "GET /keys"), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(ask(at, "DELETE /x/keys"), HasSubstr("\r\n\r\nmethod not allowed\n"));
  bool stopped = false;
  provider.stop([&] { stopped = true; });
  scheduler_.run_for(seconds(1));
  EXPECT_TRUE(stopped);
  EXPECT_EQ(ask(at, "GET /x/keys"), "refused");
}

TEST_F(OidcProvider, HealthPagesTellOfAnOutageWhileTheKeysAreServed) {
  io::Endpoint at = config_.insecure_addr.emplace(io::Endpoint::tcp("oidc", 80));
  config_.health_checks = HealthConfig{};
  io::Endpoint health = io::Endpoint::tcp("oidc", 8008);
  Provider provider = make();
  ASSERT_TRUE(provider.start().ok());
  scheduler_.run_for(seconds(1));
  EXPECT_THAT(ask(health, "GET /ready"), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(ask(health, "GET /live"), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(ask(health, "POST /live"), StartsWith("HTTP/1.1 405"));
  std::filesystem::remove(folder_ + "/bundle.json");
  scheduler_.run_for(minutes(4));
  EXPECT_THAT(ask(health, "GET /ready"), StartsWith("HTTP/1.1 500"));
  EXPECT_THAT(ask(health, "GET /live"), StartsWith("HTTP/1.1 500"));
  EXPECT_THAT(ask(at, "GET /keys"), HasSubstr("\"kid\": \"K\""));
}

TEST_F(OidcProvider, CertificateFilesAreTakenTogetherOrNotAtAll) {
  use_certificate_files();
  Provider provider = make();
  ASSERT_TRUE(provider.start().ok());
  io::Endpoint at = config_.serving_cert_file->addr;
  EXPECT_THAT(ask(at, "GET /.well-known/openid-configuration", true),
              HasSubstr("\"issuer\": \"https://a.test\""));
  Bytes first = presented_;

  auto [cert, key] = certificate();
  write("cert.pem", cert);  // the key is still the old one's
  scheduler_.run_for(minutes(2));
  EXPECT_THAT(ask(at, "GET /keys", true), HasSubstr("\"kid\": \"K\""));
  EXPECT_EQ(presented_, first);
  EXPECT_TRUE(log_.has("Failed to load certificate"));

  write("key.pem", key);
  scheduler_.run_for(minutes(2));
  EXPECT_THAT(ask(at, "GET /keys", true), HasSubstr("\"kid\": \"K\""));
  EXPECT_NE(presented_, first);
  EXPECT_EQ(log_.lines("Loaded provided certificate with success").size(), 1U);
}

TEST_F(OidcProvider, StartFailsOnABadCertificateAndOnATakenAddress) {
  use_certificate_files();
  write("key.pem", "no key");
  Result<void> started = make().start();
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(started.error().message, StartsWith("failed to load certificate: "));
  config_.serving_cert_file.reset();
  config_.insecure_addr = io::Endpoint::tcp("oidc", 80);
  Provider first = make();
  ASSERT_TRUE(first.start().ok());
  EXPECT_FALSE(make().start().ok());
}

class OidcSvid : public ::testing::Test {
 protected:
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
  Bytes publish() {
    auto svid = authority_.issue("/oidc", now_);
    api_.publish(
        spiffe::FakeWorkloadApi::response_of(authority_, {svid}, {"spiffe://example.org/oidc"}));
    return svid.chain.front();
  }

  WallTime now_ = system_clock().now();
  x509::FakeAuthority authority_{"example.org", now_};
  spiffe::FakeWorkloadApi api_;
  io::AsioLoop loop_;
  CapturedLog log_;
};

TEST_F(OidcSvid, TheNewestIsShownAndAnOutageTakesNoneAway) {
  SvidIdentity identity(loop_,
                        spiffe::Client::make({.address = api_.address(),
                                              .backoff_first = milliseconds(5),
                                              .backoff_max = milliseconds(20)})
                            .take(),
                        log_);
  ASSERT_TRUE(identity.start().ok());
  EXPECT_EQ(identity.get(), nullptr);
  auto shows = [&](const Bytes& leaf) {
    return until([&] { return identity.get() && identity.get()->chain.front() == leaf; });
  };
  EXPECT_TRUE(shows(publish()));
  Bytes renewed = publish();
  EXPECT_TRUE(shows(renewed));
  api_.stop();
  EXPECT_TRUE(
      until([&] { return log_.has("Failed to fetch an X509-SVID from the Workload API"); }));
  EXPECT_EQ(identity.get()->chain.front(), renewed);
}

}  // namespace
}  // namespace steeple::oidc
