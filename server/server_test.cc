// SPDX-License-Identifier: Apache-2.0

// Goal: what only the whole server shows: an attestation that does not go on is ended. Method: a
// server on a simulated loop, network and clock, called through its local socket.

#include "server/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/hcl/parse.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/rpc/client.h"
#include "lib/telemetry/fake_log.h"
#include "server/nodeattestor/node_attestor.h"

namespace steeple::server {
namespace {

using namespace std::chrono_literals;

constexpr const char* kConfig = R"(
server {
  bind_address = "127.0.0.1"
  socket_path = "/run/api.sock"
  data_dir = "/nowhere"
  trust_domain = "example.org"
  ratelimit { attestation = false }
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "given" } }
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
})";

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    hcl::Report report;
    auto config = build_config(hcl::parse(kConfig).take(), {}, report);
    EXPECT_TRUE(config.ok()) << config.error().message;
    Stores stores{.database = sql::open_memory_database().take(),
                  .keys = keymanager::memory_key_manager()};
    auto server = Server::start(std::move(*config), std::move(stores),
                                {.loop = loop_,
                                 .workers = workers_,
                                 .network = *network_,
                                 .handshake = *handshake_,
                                 .clock = clock_,
                                 .random = random_,
                                 .log = log_});
    EXPECT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(*server);
  }

  FakeClock clock_{from_unix_seconds(1'800'000'000)};
  SeededRandom random_{7};
  io::SimScheduler scheduler_{clock_, 7};
  io::SimSwitch switch_{scheduler_};
  io::SimLoop loop_{scheduler_};
  io::SimWorkers workers_{scheduler_, {}};
  std::unique_ptr<io::Network> network_ = switch_.join("server");
  std::unique_ptr<tls::Handshake> handshake_ = tls::openssl_handshake();
  CapturedLog log_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnAttestationThatDoesNotGoOnIsEndedInTime) {
  rpc::Channel channel({loop_, *network_, nullptr, random_},
                       io::Endpoint::unix_socket("/run/api.sock"), nullptr);
  std::optional<Result<void>> ended;
  auto call = channel.stream("/spire.api.server.agent.v1.Agent/AttestAgent", {},
                             {.on_message = [](ByteView) {},
                              .on_done = [&](Result<void> status) { ended = std::move(status); }});
  scheduler_.run_for(kAttestationTimeout - 1s);
  EXPECT_FALSE(ended.has_value());
  scheduler_.run_for(2s);
  ASSERT_TRUE(ended.has_value());
  EXPECT_EQ(ended->error().code, Code::kDeadlineExceeded);
  EXPECT_EQ(ended->error().message, "node attestation was not completed in time");
}

TEST_F(ServerTest, AnAttestationThatEndedLeavesNoTimerThatHarms) {
  rpc::Channel channel({loop_, *network_, nullptr, random_},
                       io::Endpoint::unix_socket("/run/api.sock"), nullptr);
  int ends = 0;
  for (int i = 0; i < 3; ++i) {
    auto call =
        channel.stream("/spire.api.server.agent.v1.Agent/AttestAgent", {},
                       {.on_message = [](ByteView) {}, .on_done = [&](Result<void>) { ++ends; }});
    if (i < 2) {
      call->close_send();  // the third is cancelled
      scheduler_.run_for(1s);
    }
  }
  scheduler_.run_for(kAttestationTimeout * 2);
  EXPECT_EQ(ends, 2);
}

}  // namespace
}  // namespace steeple::server
