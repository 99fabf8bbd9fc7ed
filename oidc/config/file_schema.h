// SPDX-License-Identifier: Apache-2.0

// The configuration file as it stands, before defaults and checks. Part of provider_config.cc.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/hcl/schema.h"

namespace steeple::oidc {

struct AcmeFile {
  std::string directory_url, email, cache_dir;
  bool tos_accepted = false;
};

struct ServingCertFileFile {
  std::string cert_file_path, key_file_path, addr, file_sync_interval;
};

struct ServingSvidFile {
  std::string addr;
};

// experimental{}: named pipes of another operating system.
struct PipeFile {
  std::string named_pipe_name, listen_named_pipe_name;
};

struct ServerApiFile {
  std::string address, poll_interval;
  PipeFile experimental;
};

struct WorkloadApiFile {
  std::string socket_path, trust_domain, poll_interval;
  PipeFile experimental;
};

struct FileFile {
  std::string path, poll_interval;
};

struct HealthFile {
  int bind_port = 0;
  std::string live_path, ready_path;
};

struct File {
  std::string log_format, log_level, log_path;
  bool log_requests = false;
  std::vector<std::string> domains;
  bool set_key_use = false, allow_insecure_scheme = false;
  std::string insecure_addr, listen_socket_path;
  std::string jwt_issuer, jwks_uri, server_path_prefix;
  std::optional<AcmeFile> acme;
  std::optional<ServingCertFileFile> serving_cert_file;
  std::optional<ServingSvidFile> serving_svid;
  std::optional<ServerApiFile> server_api;
  std::optional<WorkloadApiFile> workload_api;
  std::optional<FileFile> file;
  std::optional<HealthFile> health_checks;
  PipeFile experimental;
};

const hcl::Schema<File>& file_schema();

}  // namespace steeple::oidc
