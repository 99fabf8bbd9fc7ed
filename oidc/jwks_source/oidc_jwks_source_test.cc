// SPDX-License-Identifier: Apache-2.0

// Goal: each source brings changes, and an outage takes nothing away but freshness. Method: a
// server in simulation, a file in a folder, a Workload API on a real socket.

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/io/asio_loop.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/rpc/server.h"
#include "lib/telemetry/fake_log.h"
#include "oidc/jwks_source/file_source.h"
#include "oidc/jwks_source/server_api_source.h"
#include "oidc/jwks_source/workload_api_source.h"
#include "spiffe/workloadapi/fake_workload_api.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/types/bundle.pb.h"

namespace steeple::oidc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;

constexpr const char* kSocket = "/run/server/api.sock";

crypto::PublicKey new_key() {
  return crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take()->public_key();
}
std::vector<std::string> ids(const JwksSource& source) {
  std::vector<std::string> out;
  for (const jose::Jwk& key : source.keys() ? source.keys()->keys : std::vector<jose::Jwk>()) {
    out.push_back(key.key_id);
  }
  return out;
}

class OidcSimulated : public ::testing::Test {
 protected:
  FakeClock clock_;
  io::SimScheduler scheduler_{clock_, 1};
  io::SimSwitch switch_{scheduler_};
  std::unique_ptr<io::Network> network_ = switch_.join("node");
  io::SimLoop loop_{scheduler_};
  io::SimWorkers workers_{scheduler_};
  SeededRandom random_{1};
  CapturedLog log_;
};

// A server's Bundle API, which the test changes, takes away and brings back.
class FakeBundleApi {
 public:
  FakeBundleApi(io::Loop& loop, io::Workers& workers, io::Network& network, Random& random)
      : server_({.loop = loop, .workers = workers, .random = random}, {}, {}) {
    namespace api = ::spire::api;
    rpc::add_unary<api::server::bundle::v1::GetBundleRequest, api::types::Bundle>(
        server_, "/spire.api.server.bundle.v1.Bundle/GetBundle", rpc::Where::kLoop,
        [this](rpc::CallContext&, const api::server::bundle::v1::GetBundleRequest& request) {
          only_jwt =
              request.output_mask().jwt_authorities() && !request.output_mask().x509_authorities();
          return Result<api::types::Bundle>(bundle);
        });
    listener_ = network
                    .listen(loop, io::Endpoint::unix_socket(kSocket), {},
                            [this](std::unique_ptr<io::Connection> connection) {
                              server_.serve(std::move(connection));
                            })
                    .take();
  }
  void add(const std::string& key_id) {
    auto* key = bundle.add_jwt_authorities();
    key->set_key_id(key_id);
    key->set_public_key(new_key().spki());
  }

  ::spire::api::types::Bundle bundle;
  bool only_jwt = false;

 private:
  rpc::Server server_;
  std::unique_ptr<io::Listener> listener_;
};

TEST_F(OidcSimulated, ServerKeysAreFollowedAndOutliveTheServer) {
  ServerApiSource source({kSocket, seconds(10)}, loop_, *network_, random_, log_);
  source.start();
  scheduler_.run_for(seconds(1));
  EXPECT_EQ(source.keys(), nullptr);
  EXPECT_FALSE(source.last_success().has_value());
  EXPECT_TRUE(log_.has("Failed to fetch bundle"));

  auto server = std::make_unique<FakeBundleApi>(loop_, workers_, *network_, random_);
  server->add("a");
  auto* broken = server->bundle.add_jwt_authorities();
  broken->set_key_id("broken");
  broken->set_public_key("no key");
  scheduler_.run_for(seconds(21));
  EXPECT_THAT(ids(source), ElementsAre("a"));
  EXPECT_TRUE(server->only_jwt);
  EXPECT_TRUE(log_.has("Malformed public key in bundle"));
  auto first = source.keys();

  scheduler_.run_for(seconds(30));
  EXPECT_EQ(source.keys(), first) << "nothing changed";
  EXPECT_LE(clock_.steady() - *source.last_success(), seconds(11));

  server->add("b");
  scheduler_.run_for(seconds(11));
  EXPECT_THAT(ids(source), ElementsAre("a", "b"));
  EXPECT_GT(source.keys()->changed, first->changed);

  server.reset();
  scheduler_.run_for(seconds(11));
  SteadyTime last = *source.last_success();
  scheduler_.run_for(std::chrono::hours(1));
  EXPECT_THAT(ids(source), ElementsAre("a", "b"));
  EXPECT_EQ(source.last_success(), last);

  server = std::make_unique<FakeBundleApi>(loop_, workers_, *network_, random_);
  scheduler_.run_for(seconds(21));
  EXPECT_TRUE(source.keys()->keys.empty()) << "a bundle without keys is an answer";
}

std::string document(const std::vector<std::pair<std::string, std::string>>& id_and_use) {
  std::vector<jose::Jwk> keys;
  for (const auto& [key_id, use] : id_and_use) {
    keys.push_back({.key = new_key(), .key_id = key_id, .use = use});
  }
  return jose::encode_jwks(keys, jose::JsonStyle::kIndented);
}

TEST_F(OidcSimulated, FileIsReadAgainAndADamagedOneChangesNothing) {
  std::string folder = "/tmp/steeple-oidc-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::string path = folder + "/bundle.json";
  FileSource source({path, seconds(10)}, loop_, workers_, log_);
  source.start();
  scheduler_.run_for(seconds(1));
  EXPECT_EQ(source.keys(), nullptr);
  EXPECT_TRUE(log_.has("Failed to load SPIFFE trust bundle"));

  std::ofstream(path) << document({{"b", "jwt-svid"}, {"x", "x509-svid"}, {"a", "jwt-svid"}});
  scheduler_.run_for(seconds(10));
  EXPECT_THAT(ids(source), ElementsAre("a", "b"));
  EXPECT_EQ(source.keys()->keys.front().use, "");
  SteadyTime last = *source.last_success();

  std::ofstream(path) << "{";
  scheduler_.run_for(seconds(30));
  EXPECT_THAT(ids(source), ElementsAre("a", "b"));
  EXPECT_EQ(source.last_success(), last);

  std::ofstream(path) << document({{"c", "jwt-svid"}});
  scheduler_.run_for(seconds(11));
  EXPECT_THAT(ids(source), ElementsAre("c"));
  EXPECT_GT(*source.last_success(), last);
  std::filesystem::remove_all(folder);
}

TEST(OidcFileSource, KeysWithoutIdAreRefused) {
  EXPECT_FALSE(jwt_keys_of_document(document({{"", "jwt-svid"}})).ok());
  EXPECT_TRUE(jwt_keys_of_document(document({{"", "x509-svid"}})).ok());
  EXPECT_FALSE(jwt_keys_of_document("{}").ok());
}

class OidcWorkloadApi : public ::testing::Test {
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
  void publish(const std::string& domain, const std::vector<std::string>& key_ids) {
    std::vector<jose::Jwk> keys;
    for (const std::string& key_id : key_ids) {
      keys.push_back({.key = new_key(), .key_id = key_id, .use = "jwt-svid"});
    }
    JWTBundlesResponse response;
    (*response.mutable_bundles())["spiffe://" + domain] =
        jose::encode_jwks(keys, jose::JsonStyle::kCompact);
    api_.publish_jwt_bundles(std::move(response));
  }
  // Whether what the source has is the truth now.
  bool fresh() {
    SteadyTime now = loop_.clock().steady();
    auto last = source_.last_success();
    return last && *last >= now;
  }

  io::AsioLoop loop_;
  spiffe::FakeWorkloadApi api_;
  CapturedLog log_;
  std::shared_ptr<spiffe::Client> client_ = spiffe::Client::make({.address = api_.address(),
                                                                  .backoff_first = milliseconds(5),
                                                                  .backoff_max = milliseconds(20)})
                                                .take();
  WorkloadApiSource source_{spiffe::TrustDomain::parse("example.org").take(), loop_, client_, log_};
};

TEST_F(OidcWorkloadApi, KeysComeByThemselvesAndOutliveTheAgent) {
  publish("example.org", {"b", "a"});
  source_.start();
  ASSERT_TRUE(until([&] { return source_.keys() != nullptr; }));
  EXPECT_THAT(ids(source_), ElementsAre("a", "b"));
  EXPECT_EQ(source_.keys()->keys.front().use, "");
  EXPECT_TRUE(fresh()) << "a stream that stands is the truth";

  publish("example.org", {"c"});
  ASSERT_TRUE(until([&] { return ids(source_) == std::vector<std::string>{"c"}; }));

  api_.stop();
  ASSERT_TRUE(until([&] { return log_.has("Failed to fetch JWKS from the Workload API"); }));
  EXPECT_FALSE(fresh());
  EXPECT_EQ(source_.last_success(), source_.last_success()) << "the moment of the loss stays";
  EXPECT_THAT(ids(source_), ElementsAre("c"));

  api_.start();
  ASSERT_TRUE(until([&] { return fresh(); }));
  EXPECT_THAT(ids(source_), ElementsAre("c"));
}

TEST_F(OidcWorkloadApi, AnAnswerWithoutTheTrustDomainIsNoSuccess) {
  publish("elsewhere.org", {"a"});
  source_.start();
  ASSERT_TRUE(
      until([&] { return log_.has("No bundle for trust domain in Workload API response"); }));
  EXPECT_EQ(source_.keys(), nullptr);
  EXPECT_FALSE(source_.last_success().has_value());
  publish("example.org", {"a"});
  ASSERT_TRUE(until([&] { return fresh(); }));
  publish("elsewhere.org", {"b"});
  ASSERT_TRUE(until([&] {
    return log_.lines("No bundle for trust domain in Workload API response").size() == 2;
  }));
  EXPECT_THAT(ids(source_), ElementsAre("a"));
}

}  // namespace
}  // namespace steeple::oidc
