// SPDX-License-Identifier: Apache-2.0

#include "spiffe/workloadapi/address.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>
#include <cstdlib>

namespace spiffe {
namespace {

using steeple::invalid_argument;
using steeple::Result;
using steeple::io::Endpoint;

Result<Endpoint> parse_unix(std::string_view rest) {
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    if (!rest.empty() && rest.front() != '/') {
      return invalid_argument(
          "workload endpoint unix socket URI must not include authority component");
    }
  }
  if (rest.find_first_of("?#") != std::string_view::npos) {
    return invalid_argument(
        "workload endpoint unix socket URI must not include query values or fragment");
  }
  if (rest.empty()) {
    return invalid_argument("workload endpoint unix socket URI must include a path");
  }
  if (rest.front() != '/') {
    return invalid_argument("workload endpoint unix socket URI must not be opaque");
  }
  return Endpoint::unix_socket(std::string(rest));
}

bool is_ip(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> raw{};
  return inet_pton(AF_INET, text.c_str(), raw.data()) == 1 ||
         inet_pton(AF_INET6, text.c_str(), raw.data()) == 1;
}

Result<Endpoint> parse_tcp(std::string_view rest) {
  if (!rest.starts_with("//")) {
    return invalid_argument("workload endpoint tcp socket URI must not be opaque");
  }
  rest.remove_prefix(2);
  if (rest.find_first_of("/?#@") != std::string_view::npos) {
    return invalid_argument(
        "workload endpoint tcp socket URI must not include path, query values, fragment or user "
        "info");
  }
  std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == rest.size()) {
    return invalid_argument("workload endpoint tcp socket URI host component must include a port");
  }
  std::string host(rest.substr(0, colon));
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  }
  if (!is_ip(host)) {
    return invalid_argument("workload endpoint tcp socket URI host component must be an IP:port");
  }
  std::uint16_t port = 0;
  std::string_view digits = rest.substr(colon + 1);
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || port == 0) {
    return invalid_argument("workload endpoint tcp socket URI host component must be an IP:port");
  }
  return Endpoint::tcp(std::move(host), port);
}

}  // namespace

Result<Endpoint> parse_address(std::string_view address) {
  if (address.starts_with("unix:")) {
    return parse_unix(address.substr(5));
  }
  if (address.starts_with("tcp:")) {
    return parse_tcp(address.substr(4));
  }
  return invalid_argument("workload endpoint socket URI must have a \"tcp\" or \"unix\" scheme");
}

std::optional<std::string> default_address() {
  const char* value = std::getenv(kEndpointSocketVariable);
  if (value == nullptr || *value == '\0') {
    return std::nullopt;
  }
  return std::string(value);
}

}  // namespace spiffe
