// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/environment.h"

#include <fmt/format.h>

#include <cstdlib>
#include <iostream>

namespace steeple::cli {

std::string Environment::resolve(const std::string& path) const {
  if (base_dir.empty() || path.starts_with('/')) {
    return path;
  }
  return base_dir + (base_dir.ends_with('/') ? "" : "/") + path;
}

Environment process_environment() {
  return {.in = std::cin,
          .out = std::cout,
          .err = std::cerr,
          .variable = [](std::string_view name) -> std::optional<std::string> {
            const char* value = std::getenv(std::string(name).c_str());
            return value == nullptr ? std::nullopt : std::optional<std::string>(value);
          },
          .base_dir = {}};
}

SocketNames server_socket() {
  return {"/tmp/spire-server/private/api.sock", "SPIRE_SERVER_PRIVATE_SOCKET",
          "SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE",
          "you must define SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE to use the instance flag"};
}
// The leading blank is the reference's.
SocketNames agent_socket() {
  return {"/tmp/spire-agent/public/api.sock", "SPIRE_AGENT_PUBLIC_SOCKET",
          "SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE",
          " SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE environment variable must be defined when using the "
          "instance flag"};
}
SocketNames agent_admin_socket() {
  return {"/tmp/spire-agent/private/admin.sock", "SPIRE_AGENT_ADMIN_SOCKET",
          "SPIRE_AGENT_ADMIN_SOCKET_TEMPLATE",
          " SPIRE_AGENT_ADMIN_SOCKET_TEMPLATE environment variable must be defined when using the "
          "instance flag"};
}

Result<std::string> resolve_socket(const SocketFlags& flags, const SocketNames& names,
                                   const Environment& environment) {
  std::string pattern = environment.variable(names.template_variable).value_or("");
  std::size_t place = pattern.find("%i");
  if (!flags.instance.empty() && pattern.empty()) {
    return invalid_argument(names.missing_template);
  }
  if (!flags.instance.empty() && place == std::string::npos) {
    return invalid_argument(fmt::format("failed to find %i in {}", names.template_variable));
  }
  if (flags.path != names.default_path && !flags.path.empty()) {
    return flags.path;
  }
  if (!flags.instance.empty()) {
    std::string path;
    for (std::size_t from = 0;; from = place + 2, place = pattern.find("%i", from)) {
      path += pattern.substr(from, place - from);
      if (place == std::string::npos) {
        return path;
      }
      path += flags.instance;
    }
  }
  std::string path = environment.variable(names.socket_variable).value_or("");
  return path.empty() ? names.default_path : path;
}

}  // namespace steeple::cli
