// SPDX-License-Identifier: Apache-2.0

// How to reach an API server and as whom: the service account of a pod, or a kubeconfig. Files
// (tokens, certificates) are read when a request needs them: again after kFileAgeMax, and at once
// after the server refused what we had. So nothing polls, and rotated tokens are picked up.
// On the loop: the files are small and stand on tmpfs or a local disk.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/kube/transport.h"

namespace steeple::kube {

inline constexpr auto kFileAgeMax = std::chrono::minutes(1);  // client-go's
inline constexpr std::size_t kCredentialBytesMax = std::size_t{1} << 20;

// Inline data (PEM, not base64) wins over the file of the same kind, a token file over a token.
struct AccessConfig {
  std::string server;  // "https://host:port[/path]"
  std::string ca_data = {};
  std::string ca_file = {};
  std::string cert_data = {};
  std::string cert_file = {};
  std::string key_data = {};
  std::string key_file = {};
  std::string token = {};
  std::string token_file = {};
  std::string username = {};  // basic authentication
  std::string password = {};
  std::string tls_server_name = {};
  bool verify_chain = true;
  bool verify_name = true;
  std::string default_namespace = "default";  // of the context, or of the pod
  Duration file_age_max = kFileAgeMax;
  // `server` may be "http://...": for the kubelet's read-only port, which speaks nothing else.
  bool plain_http = false;
};

struct Credential {
  std::shared_ptr<const TlsMaterial> tls;
  std::string authorization;  // the header's value, or empty
};

class Access {
 public:
  virtual ~Access() = default;
  virtual const std::string& server() const = 0;
  // What to use now. When a file cannot be read any more, what was read before is used on.
  virtual Result<Credential> credential() = 0;
  // The server said 401: the next `credential` reads every file. True when that can help.
  virtual bool refused() = 0;
};

std::unique_ptr<Access> make_access(AccessConfig config, Clock& clock);

// Gives an environment variable, or nothing.
using Environment = std::function<std::optional<std::string>(const char* name)>;

// From KUBERNETES_SERVICE_HOST and _PORT and the files of the service account.
Result<AccessConfig> in_cluster_access(
    const Environment& environment,
    const std::string& folder = "/var/run/secrets/kubernetes.io/serviceaccount");

// YAML or JSON. `context` empty: current-context. Relative files stand beside the kubeconfig, in
// `folder`. Refuses what we cannot do (exec, auth-provider, proxy-url, impersonation), by name.
Result<AccessConfig> parse_kubeconfig(std::string_view text, const std::string& folder,
                                      std::string_view context = {});
Result<AccessConfig> load_kubeconfig(const std::string& path, std::string_view context = {});

// kubectl's order: the path if given, else $KUBECONFIG (one file), else in-cluster, else
// $HOME/.kube/config.
Result<AccessConfig> find_access(const std::string& path, const Environment& environment);

}  // namespace steeple::kube
