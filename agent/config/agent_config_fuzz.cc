// SPDX-License-Identifier: Apache-2.0

// Fuzz target: agent.conf and agent.json. What is accepted has a trust domain and a server.

#include "agent/config/agent_config.h"
#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {R"(
agent {
  data_dir = "/data"
  log_level = "DEBUG"
  server_address = "server"
  server_port = "8081"
  socket_path = "/run/api.sock"
  admin_socket_path = "/admin/admin.sock"
  trust_domain = "example.org"
  insecure_bootstrap = true
  join_token = "t"
  availability_target = "24h"
  x509_svid_cache_max_size = 100
  allowed_foreign_jwt_claims = ["a"]
  experimental { sync_interval = "5s" }
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data { discover_workload_path = true } }
}
telemetry { Statsd = [{ address = "localhost:8125" }] }
health_checks { listener_enabled = true }
)",
          R"({"agent": {"trust_domain": "example.org", "server_address": "s", "server_port": 1,
 "data_dir": "/d", "trust_bundle_url": "https://h/b", "socket_path": "/s"}, "plugins": {}})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find("_file") != std::string_view::npos) {
    return 0;  // names a file that would be read
  }
  if (auto loaded = agent::parse_config(text, {}); loaded.ok()) {
    CHECK(!loaded->config.trust_domain.name().empty());
  }
  return 0;
}
