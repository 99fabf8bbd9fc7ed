// SPDX-License-Identifier: Apache-2.0

#include "oidc/provider.h"

#include "oidc/jwks_source/file_source.h"
#include "oidc/jwks_source/server_api_source.h"
#include "oidc/jwks_source/workload_api_source.h"

namespace steeple::oidc {
namespace {

constexpr std::size_t kConnectionsMax = 1024;
constexpr Duration kStopTimeout = std::chrono::seconds(5);

http::ServerOptions server_options() {
  return {.connections_max = kConnectionsMax, .methods = all_methods()};
}

}  // namespace

Provider::Provider(ProviderConfig config, Deps deps)
    : config_(std::move(config)),
      deps_(std::move(deps)),
      source_(make_source()),
      identity_(make_identity()),
      documents_(config_, *source_, deps_.log),
      health_(config_, *source_, deps_.loop.clock(),
              [this] { return !identity_ || identity_->get() != nullptr; }),
      server_(deps_.loop, server_options()),
      health_server_(deps_.loop, server_options()) {
  documents_.add_to(server_);
  if (config_.health_checks) {
    health_.add_to(health_server_, *config_.health_checks);
  }
}

std::unique_ptr<JwksSource> Provider::make_source() {
  if (config_.server_api) {
    return std::make_unique<ServerApiSource>(*config_.server_api, deps_.loop, deps_.network,
                                             deps_.random, deps_.log);
  }
  if (config_.workload_api) {
    return std::make_unique<WorkloadApiSource>(config_.workload_api->trust_domain, deps_.loop,
                                               deps_.client, deps_.log);
  }
  return std::make_unique<FileSource>(*config_.file, deps_.loop, deps_.workers, deps_.log);
}

std::shared_ptr<ServingIdentity> Provider::make_identity() {
  if (config_.serving_cert_file) {
    return std::make_shared<FileIdentity>(*config_.serving_cert_file, deps_.loop, deps_.workers,
                                          deps_.log);
  }
  if (config_.serving_svid) {
    return std::make_shared<SvidIdentity>(deps_.loop, deps_.client, deps_.log);
  }
  return nullptr;
}

Result<void> Provider::start() {
  source_->start();
  if (identity_) {
    TRY(identity_->start());
  }
  TRY(listen());
  if (config_.health_checks) {
    auto port = static_cast<std::uint16_t>(config_.health_checks->bind_port);
    TRY(health_server_.listen(deps_.network, io::Endpoint::tcp({}, port))
            .during("failed to serve health checks"));
  }
  return {};
}

Result<void> Provider::listen() {
  if (config_.insecure_addr) {
    TRY(server_.listen(deps_.network, *config_.insecure_addr));
    LOG_WARN(deps_.log, "Serving HTTP (insecure)", {"address", endpoints().front().text()});
  } else if (!config_.listen_socket_path.empty()) {
    // Whoever can reach the socket may ask: what is served is public. Proxies in other containers
    // have pids that nobody here knows.
    TRY(server_.listen(deps_.network, io::Endpoint::unix_socket(config_.listen_socket_path),
                       {.socket_mode = 0777, .directory_mode = 0755, .foreign_processes = true}));
    LOG_INFO(deps_.log, "Serving HTTP", {"network", "unix"},
             {"address", config_.listen_socket_path});
  } else if (config_.serving_cert_file) {
    TRY(listen_tls(config_.serving_cert_file->addr));
    LOG_INFO(deps_.log, "Serving HTTPS using certificate loaded from disk",
             {"cert_file_path", config_.serving_cert_file->cert_file_path},
             {"address", endpoints().front().text()});
  } else {
    TRY(listen_tls(*config_.serving_svid));
    LOG_INFO(deps_.log, "Serving HTTPS using the X509-SVID of this workload",
             {"address", endpoints().front().text()});
  }
  return {};
}

// Anybody may ask, so clients are not asked for a certificate.
Result<void> Provider::listen_tls(const io::Endpoint& at) {
  tls::ServerPolicy policy;
  policy.identity = [identity = identity_] { return identity->get(); };
  policy.alpn = {};  // clients that name no protocol are served, too
  return server_.listen(deps_.network, at, {}, &deps_.handshake,
                        std::make_shared<const tls::ServerPolicy>(std::move(policy)));
}

void Provider::stop(io::Task done) {
  health_server_.stop(Duration(0), [] {});
  server_.stop(kStopTimeout, std::move(done));
}

}  // namespace steeple::oidc
