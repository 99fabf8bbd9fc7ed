// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/server_host.h"

#include <fmt/format.h>

#include "lib/hcl/parse.h"

namespace steeple::simulation {
namespace {

constexpr const char* kConfig = R"(
server {{
  trust_domain = "example.org"
  bind_port = 8081
  data_dir = "/data"
  socket_path = "{socket}"
  ca_ttl = "{ca_ttl}"
  default_x509_svid_ttl = "{x509_ttl}"
  default_jwt_svid_ttl = "{jwt_ttl}"
  agent_ttl = "{agent_ttl}"
}}
plugins {{
  DataStore "sql" {{
    plugin_data {{
      database_type = "sqlite3"
      connection_string = "given"
    }}
  }}
  KeyManager "disk" {{
    plugin_data {{
      keys_path = "given"
    }}
  }}
  NodeAttestor "join_token" {{
    plugin_data {{}}
  }}
  NodeAttestor "x509pop" {{
    plugin_data {{
      ca_bundle_path = "{folder}/pop-ca.pem"
    }}
  }}
  {upstream}
}}
)";

constexpr const char* kUpstream = R"(
  UpstreamAuthority "disk" {{
    plugin_data {{
      cert_file_path = "{folder}/upstream.pem"
      key_file_path = "{folder}/upstream.key"
    }}
  }}
)";

}  // namespace

ServerHost::Process::Process(ServerHost& host, io::SimWorkers::Options speed)
    : loop(host.deps_.scheduler, host.clock_),
      workers(host.deps_.scheduler, speed),
      network(host.deps_.wires.join(kHost)) {}

ServerHost::ServerHost(const Plan& plan, std::string folder, Deps deps)
    : plan_(plan),
      folder_(std::move(folder)),
      deps_(deps),
      clock_(deps_.clock),
      database_(sql::open_memory_database().take()) {}

ServerHost::~ServerHost() { kill(); }

Result<server::ServerConfig> ServerHost::config() const {
  using fmt::arg;
  std::string upstream =
      plan_.upstream ? fmt::format(fmt::runtime(kUpstream), arg("folder", folder_)) : "";
  std::string text = fmt::format(fmt::runtime(kConfig), arg("socket", kSocket),
                                 arg("ca_ttl", format_go_duration(plan_.ca_ttl)),
                                 arg("x509_ttl", format_go_duration(plan_.x509_ttl)),
                                 arg("jwt_ttl", format_go_duration(plan_.jwt_ttl)),
                                 arg("agent_ttl", format_go_duration(plan_.agent_ttl)),
                                 arg("folder", folder_), arg("upstream", upstream));
  hcl::Report report;
  return server::build_config(TRY(hcl::parse(text)), {}, report);
}

Result<server::Stores> ServerHost::stores() const {
  server::Stores stores;
  stores.database = database_;
  stores.keys = TRY(keymanager::disk_key_manager(std::make_shared<io::MemoryDirectory>(disk_)));
  return stores;
}

bool ServerHost::start() {
  CHECK(!process_);
  ++runs_;
  process_ = std::make_unique<Process>(*this, speed_);
  auto server = server::Server::start(config().take(), stores().take(),
                                      {.loop = process_->loop,
                                       .workers = process_->workers,
                                       .network = *process_->network,
                                       .handshake = deps_.handshake,
                                       .clock = clock_,
                                       .random = deps_.random,
                                       .log = deps_.trace.logger("server", clock_),
                                       .pace = {.connection_age_max = plan_.connection_age,
                                                .authority_tick = plan_.authority_tick,
                                                .svid_tick = plan_.svid_tick,
                                                .foreign_changes = Duration::max(),
                                                .slow_health_checks = false}});
  if (!server.ok()) {
    deps_.trace.event("server does not start: {}", server.error().message);
    process_.reset();
    return false;
  }
  process_->server = std::move(*server);
  deps_.trace.event("server runs");
  return true;
}

void ServerHost::kill() {
  if (process_) {
    process_->server.reset();
    process_.reset();
  }
}

void ServerHost::fail_disk(bool failing) {
  disk_->fail_writes(failing ? std::optional(unavailable("write: no space left on device"))
                             : std::nullopt);
}

void ServerHost::slow_down(Duration least, Duration most) {
  speed_.delay_min = least;
  speed_.delay_max = most;
  if (process_) {
    process_->workers.set_delay(least, most);
  }
}

}  // namespace steeple::simulation
