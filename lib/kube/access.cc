// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/access.h"

#include <fmt/format.h>

#include <utility>

#include "lib/base/bytes.h"
#include "lib/io/directory.h"

namespace steeple::kube {
namespace {

Result<std::string> read_text(const std::string& path) {
  return io::read_file(path, kCredentialBytesMax);
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return c > ' ' && static_cast<unsigned char>(c) < 0x7f;
  });
}

class FileAccess final : public Access {
 public:
  FileAccess(AccessConfig config, Clock& clock) : config_(std::move(config)), clock_(clock) {
    for (const auto& [data, file] : {std::pair(&config_.ca_data, &config_.ca_file),
                                     std::pair(&config_.cert_data, &config_.cert_file),
                                     std::pair(&config_.key_data, &config_.key_file)}) {
      has_files_ = has_files_ || (data->empty() && !file->empty());
    }
    has_files_ = has_files_ || !config_.token_file.empty();
  }

  const std::string& server() const override { return config_.server; }

  Result<Credential> credential() override {
    bool fresh = current_ && (!has_files_ || clock_.steady() - read_at_ < config_.file_age_max);
    if (fresh && !stale_) {
      return *current_;
    }
    Result<Credential> read = read_all();
    if (!read.ok() && !current_) {
      return read;
    }
    stale_ = false;
    read_at_ = clock_.steady();  // also after a failure: else every request would try
    if (read.ok()) {
      current_ = std::move(*read);
    }
    return *current_;
  }

  bool refused() override {
    stale_ = has_files_;
    return has_files_;
  }

 private:
  static Result<std::string> inline_or_file(const std::string& data, const std::string& file,
                                            std::string_view what) {
    if (!data.empty() || file.empty()) {
      return data;
    }
    return read_text(file).during(what);
  }

  Result<std::string> authorization() const {
    std::string token = config_.token;
    if (!config_.token_file.empty()) {
      token = trim(TRY(read_text(config_.token_file).during("read token")));
      if (token.empty()) {
        return invalid_argument(fmt::format("token file \"{}\" is empty", config_.token_file));
      }
    }
    if (!token.empty()) {
      if (!is_token(token)) {
        return invalid_argument("token has characters that no token has");
      }
      return "Bearer " + token;
    }
    if (!config_.username.empty()) {
      return "Basic " + base64_encode(config_.username + ':' + config_.password);
    }
    return std::string();
  }

  Result<Credential> read_all() {
    TlsMaterial tls;
    tls.ca_pem = TRY(inline_or_file(config_.ca_data, config_.ca_file, "read CA certificates"));
    tls.cert_pem =
        TRY(inline_or_file(config_.cert_data, config_.cert_file, "read client certificate"));
    tls.key_pem = TRY(inline_or_file(config_.key_data, config_.key_file, "read client key"));
    if (tls.cert_pem.empty() != tls.key_pem.empty()) {
      return invalid_argument("client certificate and client key must be given together");
    }
    tls.server_name = config_.tls_server_name;
    tls.verify_chain = config_.verify_chain;
    tls.verify_name = config_.verify_chain && config_.verify_name;
    tls.plain_http = config_.plain_http;
    auto authorized = TRY(authorization());
    Credential out{current_ ? current_->tls : nullptr, std::move(authorized)};
    // The same material stays the same object, so that its connections are used on.
    if (!out.tls || out.tls->ca_pem != tls.ca_pem || out.tls->cert_pem != tls.cert_pem ||
        out.tls->key_pem != tls.key_pem) {
      out.tls = std::make_shared<const TlsMaterial>(std::move(tls));
    }
    return out;
  }

  const AccessConfig config_;
  Clock& clock_;
  bool has_files_ = false;
  bool stale_ = false;
  SteadyTime read_at_{};
  std::optional<Credential> current_;
};

}  // namespace

std::unique_ptr<Access> make_access(AccessConfig config, Clock& clock) {
  return std::make_unique<FileAccess>(std::move(config), clock);
}

Result<AccessConfig> in_cluster_access(const Environment& environment, const std::string& folder) {
  std::string host = environment("KUBERNETES_SERVICE_HOST").value_or("");
  std::string port = environment("KUBERNETES_SERVICE_PORT").value_or("");
  if (host.empty() || port.empty()) {
    return failed_precondition(
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and "
        "KUBERNETES_SERVICE_PORT must be defined");
  }
  if (host.find(':') != std::string::npos) {
    host = '[' + host + ']';
  }
  AccessConfig config{.server = fmt::format("https://{}:{}", host, port)};
  config.token_file = folder + "/token";
  config.ca_file = folder + "/ca.crt";
  TRY(read_text(config.token_file).during("in-cluster configuration"));
  if (auto name_space = read_text(folder + "/namespace"); name_space.ok()) {
    config.default_namespace = trim(*name_space);
  }
  return config;
}

Result<AccessConfig> load_kubeconfig(const std::string& path, std::string_view context) {
  std::size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  std::string doing = fmt::format("kubeconfig \"{}\"", path);
  std::string text = TRY(read_text(path).during(doing));
  return parse_kubeconfig(text, folder, context).during(doing);
}

Result<AccessConfig> find_access(const std::string& path, const Environment& environment) {
  if (!path.empty()) {
    return load_kubeconfig(path);
  }
  if (std::string named = environment("KUBECONFIG").value_or(""); !named.empty()) {
    if (named.find(':') != std::string::npos) {
      return unimplemented("KUBECONFIG names more than one file; name one");
    }
    return load_kubeconfig(named);
  }
  Result<AccessConfig> inside = in_cluster_access(environment);
  std::string home = environment("HOME").value_or("");
  if (inside.ok() || home.empty()) {
    return inside;
  }
  Result<AccessConfig> at_home = load_kubeconfig(home + "/.kube/config");
  if (!at_home.ok() && at_home.error().code == Code::kNotFound) {
    return inside;
  }
  return at_home;
}

}  // namespace steeple::kube
