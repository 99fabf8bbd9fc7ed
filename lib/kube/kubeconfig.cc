// SPDX-License-Identifier: Apache-2.0

// parse_kubeconfig of access.h: which cluster, user and context a kubeconfig names. Parts that we
// do not do are refused by name rather than left out, as they decide who we would be.

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lib/kube/access.h"
#include "lib/kube/json.h"
#include "lib/kube/yaml.h"

namespace steeple::kube {
namespace {

using nlohmann::json;

// The `member` of the element of `list` that has this name.
Result<const json*> named(const json& config, const char* list, const char* member,
                          const std::string& name) {
  const json* elements = find(config, {list});
  const json* found = nullptr;
  if (elements != nullptr && elements->is_array()) {
    for (const json& element : *elements) {
      if (view_at(element, {"name"}) != name) {
        continue;
      }
      if (found != nullptr) {
        return invalid_argument(fmt::format("{}: \"{}\" stands twice", list, name));
      }
      found = find(element, {member});
      if (found == nullptr || !found->is_object()) {
        return invalid_argument(fmt::format("{}: \"{}\" has no {}", list, name, member));
      }
    }
  }
  if (found == nullptr) {
    return invalid_argument(fmt::format("{}: there is no \"{}\"", list, name));
  }
  return found;
}

Result<std::string> text(const json& object, const char* name) {
  const json* found = find(object, {name});
  if (found == nullptr || found->is_null()) {
    return std::string();
  }
  if (!found->is_string()) {
    return invalid_argument(fmt::format("{}: must be a string", name));
  }
  return found->get_ref<const std::string&>();
}

Result<std::string> decoded(const json& object, const char* name) {
  std::string encoded = TRY(text(object, name));
  std::erase_if(encoded, [](char c) { return c == '\n' || c == '\r'; });
  return base64_decode(encoded).during(name);
}

Result<std::string> file(const json& object, const char* name, const std::string& folder) {
  std::string path = TRY(text(object, name));
  return path.empty() || path.front() == '/' ? path : folder + '/' + path;
}

Result<bool> flag(const json& object, const char* name) {
  const json* found = find(object, {name});
  if (found == nullptr || found->is_null()) {
    return false;
  }
  if (!found->is_boolean()) {
    return invalid_argument(fmt::format("{}: must be true or false", name));
  }
  return found->get<bool>();
}

Result<void> refuse(const json& object, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const json* found = find(object, {name});
    bool empty = found == nullptr || found->empty() || *found == "";
    if (!empty) {
      return unimplemented(fmt::format("{} is not supported", name));
    }
  }
  return {};
}

Result<void> read_cluster(const json& cluster, const std::string& folder, AccessConfig& out) {
  TRY(refuse(cluster, {"proxy-url"}));
  out.server = TRY(text(cluster, "server"));
  if (!out.server.starts_with("https://")) {
    return invalid_argument(fmt::format("server \"{}\" must start with https://", out.server));
  }
  while (out.server.ends_with('/')) {
    out.server.pop_back();
  }
  out.ca_data = TRY(decoded(cluster, "certificate-authority-data"));
  out.ca_file = TRY(file(cluster, "certificate-authority", folder));
  out.tls_server_name = TRY(text(cluster, "tls-server-name"));
  out.verify_chain = !TRY(flag(cluster, "insecure-skip-tls-verify"));
  if (!out.verify_chain && !(out.ca_data.empty() && out.ca_file.empty())) {
    return invalid_argument(
        "certificate-authority must not be given with insecure-skip-tls-verify");
  }
  return {};
}

Result<void> read_user(const json& user, const std::string& folder, AccessConfig& out) {
  TRY(refuse(user, {"exec", "auth-provider", "as", "as-uid", "as-groups", "as-user-extra"}));
  out.cert_data = TRY(decoded(user, "client-certificate-data"));
  out.cert_file = TRY(file(user, "client-certificate", folder));
  out.key_data = TRY(decoded(user, "client-key-data"));
  out.key_file = TRY(file(user, "client-key", folder));
  out.token = TRY(text(user, "token"));
  out.token_file = TRY(file(user, "tokenFile", folder));
  out.username = TRY(text(user, "username"));
  out.password = TRY(text(user, "password"));
  return {};
}

}  // namespace

Result<AccessConfig> parse_kubeconfig(std::string_view document, const std::string& folder,
                                      std::string_view context) {
  YamlLimits limits;
  limits.bytes_max = kCredentialBytesMax;
  const json config = TRY(parse_yaml(document, limits));
  if (!config.is_object()) {
    return invalid_argument("not a kubeconfig: expected a map");
  }
  if (std::string kind = TRY(text(config, "kind")); !kind.empty() && kind != "Config") {
    return invalid_argument(fmt::format("not a kubeconfig: kind is \"{}\"", kind));
  }
  std::string chosen =
      context.empty() ? TRY(text(config, "current-context")) : std::string(context);
  if (chosen.empty()) {
    return invalid_argument("current-context is not set");
  }
  const json& used = *TRY(named(config, "contexts", "context", chosen));
  AccessConfig out{.server = {}};
  std::string cluster = TRY(text(used, "cluster"));
  TRY(read_cluster(*TRY(named(config, "clusters", "cluster", cluster)), folder, out)
          .during(fmt::format("cluster \"{}\"", cluster)));
  // A context without a user is anonymous.
  if (std::string user = TRY(text(used, "user")); !user.empty()) {
    TRY(read_user(*TRY(named(config, "users", "user", user)), folder, out)
            .during(fmt::format("user \"{}\"", user)));
  }
  if (std::string name_space = TRY(text(used, "namespace")); !name_space.empty()) {
    out.default_namespace = name_space;
  }
  return out;
}

}  // namespace steeple::kube
