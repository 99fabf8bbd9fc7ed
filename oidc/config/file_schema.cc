// SPDX-License-Identifier: Apache-2.0

#include "oidc/config/file_schema.h"

namespace steeple::oidc {
namespace {

constexpr const char* kPollInterval = "how often to look for changes";

const hcl::Schema<AcmeFile>& acme_schema() {
  static const auto schema = hcl::Schema<AcmeFile>("acme", "Certificates by ACME; not built.")
                                 .key("directory_url", &AcmeFile::directory_url, "")
                                 .key("email", &AcmeFile::email, "")
                                 .key("tos_accepted", &AcmeFile::tos_accepted, "")
                                 .key("cache_dir", &AcmeFile::cache_dir, "");
  return schema;
}

const hcl::Schema<ServingCertFileFile>& serving_cert_file_schema() {
  using Section = ServingCertFileFile;
  static const auto schema =
      hcl::Schema<Section>("serving_cert_file", "HTTPS with a certificate from files.")
          .key("cert_file_path", &Section::cert_file_path, "chain, PEM, leaf first")
          .key("key_file_path", &Section::key_file_path, "private key, PEM")
          .key("addr", &Section::addr, "where to listen", {.default_text = ":443"})
          .key("file_sync_interval", &Section::file_sync_interval,
               "how often to look for changes of the files", {.default_text = "1m"});
  return schema;
}

const hcl::Schema<ServingSvidFile>& serving_svid_schema() {
  static const auto schema =
      hcl::Schema<ServingSvidFile>("serving_svid",
                                   "HTTPS with this workload's own X509-SVID, which the Workload "
                                   "API of workload_api gives.")
          .key("addr", &ServingSvidFile::addr, "where to listen", {.default_text = ":8443"});
  return schema;
}

const hcl::Schema<PipeFile>& server_pipe_schema() {
  static const auto schema =
      hcl::Schema<PipeFile>("experimental", "Nothing that applies here.")
          .key("named_pipe_name", &PipeFile::named_pipe_name, "of Windows; ignored");
  return schema;
}

const hcl::Schema<PipeFile>& listen_pipe_schema() {
  static const auto schema =
      hcl::Schema<PipeFile>("experimental", "Nothing that applies here.")
          .key("listen_named_pipe_name", &PipeFile::listen_named_pipe_name, "of Windows; ignored");
  return schema;
}

const hcl::Schema<ServerApiFile>& server_api_schema() {
  using Section = ServerApiFile;
  static const auto schema =
      hcl::Schema<Section>("server_api", "Keys from a server on this machine.")
          .key("address", &Section::address, "of the server's socket: unix:///path")
          .key("poll_interval", &Section::poll_interval, kPollInterval, {.default_text = "10s"})
          .block("experimental", &Section::experimental, server_pipe_schema());
  return schema;
}

const hcl::Schema<WorkloadApiFile>& workload_api_schema() {
  using Section = WorkloadApiFile;
  static const auto schema =
      hcl::Schema<Section>("workload_api", "Keys from the Workload API.")
          .key("socket_path", &Section::socket_path, "its socket")
          .key("trust_domain", &Section::trust_domain, "whose keys to serve")
          .key("poll_interval", &Section::poll_interval,
               "changes come by themselves; how long an outage may last before health says so "
               "depends on it",
               {.default_text = "10s"})
          .block("experimental", &Section::experimental, server_pipe_schema());
  return schema;
}

const hcl::Schema<FileFile>& file_source_schema() {
  static const auto schema =
      hcl::Schema<FileFile>("file", "Keys from a SPIFFE bundle document.")
          .key("path", &FileFile::path, "of the document")
          .key("poll_interval", &FileFile::poll_interval, kPollInterval, {.default_text = "10s"});
  return schema;
}

const hcl::Schema<HealthFile>& health_file_schema() {
  static const auto schema =
      hcl::Schema<HealthFile>("health_checks", "Pages that say whether the keys are fresh.")
          .key("bind_port", &HealthFile::bind_port, "TCP port, on all addresses",
               {.default_text = "8008"})
          .key("live_path", &HealthFile::live_path, "", {.default_text = "/live"})
          .key("ready_path", &HealthFile::ready_path, "", {.default_text = "/ready"});
  return schema;
}

}  // namespace

const hcl::Schema<File>& file_schema() {
  static const auto schema =
      hcl::Schema<File>("top level", "Whose keys to serve, and how.")
          .key("log_format", &File::log_format, "text or json")
          .key("log_level", &File::log_level, "", {.default_text = "info"})
          .key("log_path", &File::log_path, "file instead of standard output")
          .key("log_requests", &File::log_requests, "log each request at level debug")
          .key("domains", &File::domains, "host names that may be asked for")
          .key("set_key_use", &File::set_key_use, "give the keys use=sig")
          .key("allow_insecure_scheme", &File::allow_insecure_scheme,
               "documents that are not served by TLS name http URLs")
          .key("insecure_addr", &File::insecure_addr, "plain HTTP on this address")
          .key("listen_socket_path", &File::listen_socket_path, "plain HTTP on this Unix socket")
          .key("jwt_issuer", &File::jwt_issuer, "issuer in the document, a URL")
          .key("jwks_uri", &File::jwks_uri, "where the document says that the keys are")
          .key("server_path_prefix", &File::server_path_prefix, "in front of all paths",
               {.default_text = "/"})
          .block("acme", &File::acme, acme_schema())
          .block("serving_cert_file", &File::serving_cert_file, serving_cert_file_schema())
          .block("serving_svid", &File::serving_svid, serving_svid_schema())
          .block("server_api", &File::server_api, server_api_schema())
          .block("workload_api", &File::workload_api, workload_api_schema())
          .block("file", &File::file, file_source_schema())
          .block("health_checks", &File::health_checks, health_file_schema())
          .block("experimental", &File::experimental, listen_pipe_schema());
  return schema;
}

}  // namespace steeple::oidc
