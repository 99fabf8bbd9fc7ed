// SPDX-License-Identifier: Apache-2.0

// What the provider's configuration file says, checked: keys, defaults and refusals are those of
// SPIRE's oidc-discovery-provider, and `serving_svid` comes on top. Plain data; reading the file
// blocks.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/hcl/parse.h"
#include "lib/io/network.h"
#include "oidc/config/url.h"
#include "spiffe/trust_domain.h"

namespace steeple::oidc {

struct ServingCertFileConfig {
  std::string cert_file_path, key_file_path;
  Duration file_sync_interval{};
  io::Endpoint addr;
};

// The server's own socket, asked again and again.
struct ServerApiConfig {
  std::string socket_path;
  Duration poll_interval{};
};

// A stream, so nothing is polled; the interval decides how long an outage may last before health
// says so.
struct WorkloadApiConfig {
  std::string socket_path;  // absolute
  spiffe::TrustDomain trust_domain;
  Duration poll_interval{};
};

struct FileConfig {
  std::string path;
  Duration poll_interval{};
};

struct HealthConfig {
  int bind_port = 8008;  // on all addresses
  std::string ready_path = "/ready";
  std::string live_path = "/live";
};

struct ProviderConfig {
  std::string log_format, log_level = "info", log_path;
  bool log_requests = false;

  std::vector<std::string> domains;  // distinct, each a host name
  bool set_key_use = false;
  bool allow_insecure_scheme = false;
  std::optional<Url> jwt_issuer, jwks_uri;  // without the second, the first decides it, too
  std::string server_path_prefix = "/";     // begins with a slash

  // One of these four.
  std::optional<io::Endpoint> insecure_addr;
  std::string listen_socket_path;
  std::optional<ServingCertFileConfig> serving_cert_file;
  std::optional<io::Endpoint> serving_svid;  // with workload_api only

  // One of these three.
  std::optional<ServerApiConfig> server_api;
  std::optional<WorkloadApiConfig> workload_api;
  std::optional<FileConfig> file;

  std::optional<HealthConfig> health_checks;

  std::vector<std::string> warnings;  // for the log

  Duration poll_interval() const;  // of the source
};

Result<ProviderConfig> parse_config(std::string_view text);
// `environment` empty: variables are not expanded.
Result<ProviderConfig> load_config(const std::string& path, const hcl::Environment& environment);

}  // namespace steeple::oidc
