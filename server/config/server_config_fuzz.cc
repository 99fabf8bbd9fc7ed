// SPDX-License-Identifier: Apache-2.0

// Fuzz target: server.conf and server.json. What is accepted has a trust domain and a bind port.

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/hcl/parse.h"
#include "server/config/config.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {R"(
server {
  bind_address = "127.0.0.1"
  bind_port = "8081"
  trust_domain = "example.org"
  data_dir = "/data"
  log_level = "DEBUG"
  ca_ttl = "24h"
  ca_key_type = "ec-p384"
  default_x509_svid_ttl = "1h"
  admin_ids = ["spiffe://example.org/admin"]
  ca_subject { country = ["US"] organization = ["SPIFFE"] common_name = "" }
  ratelimit { attestation = false }
  experimental { prune_events_older_than = "12h" }
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "x" } }
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
}
telemetry { Prometheus { host = "localhost" port = 9988 } }
health_checks { listener_enabled = true bind_port = "80" live_path = "/live" }
)",
          R"({"server": {"trust_domain": "example.org", "data_dir": "/d", "bind_port": 8081},
 "plugins": {"DataStore": {"sql": {"plugin_data": {"database_type": "sqlite3"}}},
 "KeyManager": [{"memory": {"plugin_data": {}}}]}})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  auto document = hcl::parse({reinterpret_cast<const char*>(data), size});
  if (!document.ok()) {
    return 0;
  }
  hcl::Report report;
  if (auto config = server::build_config(*document, {}, report); config.ok()) {
    CHECK(!config->trust_domain.name().empty());
    CHECK(config->section.bind_port >= 0 && config->section.bind_port <= 65535);
  }
  return 0;
}
