// SPDX-License-Identifier: Apache-2.0

#include "server/cli/client.h"

#include <fmt/format.h>

#include <istream>
#include <iterator>

#include "lib/base/limits.h"
#include "lib/io/directory.h"
#include "lib/rpc/status.h"
#include "spiffe/spiffe_id.h"

namespace steeple::server {
namespace {

// Lists of a large server do not fit gRPC's default.
constexpr std::size_t kAnswerBytesMax = std::size_t{64} << 20;
constexpr auto kCallTimeout = std::chrono::seconds(60);

}  // namespace

void bind_client_without_output(cli::FlagSet& flags, ClientFlags& to) {
  to.socket.path = cli::server_socket().default_path;
  flags.add("socketPath", &to.socket.path, "Path to the SPIRE Server API socket");
  flags.add("instance", &to.socket.instance,
            "Instance name to substitute into socket templates (env "
            "SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE).");
}

void bind_client(cli::FlagSet& flags, ClientFlags& to) {
  bind_client_without_output(flags, to);
  cli::add_output_flag(flags, to.output);
}

ServerClient::ServerClient(std::string path)
    : path_(std::move(path)),
      channel_(std::make_unique<rpc::BlockingChannel>(io::Endpoint::unix_socket(path_))) {}

Result<ServerClient> ServerClient::connect(const ClientFlags& flags,
                                           const cli::Environment& environment) {
  return ServerClient(TRY(cli::resolve_socket(flags.socket, cli::server_socket(), environment)));
}

rpc::CallOptions ServerClient::options() {
  rpc::CallOptions options;
  options.timeout = kCallTimeout;
  options.message_bytes_max = kAnswerBytesMax;
  return options;
}

Error ServerClient::explain(Error error) const {
  // Go's gRPC names the socket by its target, with two more slashes.
  constexpr std::string_view kDial = "dial unix ";
  if (error.code == Code::kUnavailable && error.message.starts_with(kDial)) {
    error.message =
        fmt::format("connection error: desc = \"transport: Error while dialing: dial unix //{}\"",
                    error.message.substr(kDial.size()));
  }
  error.message = rpc::go_text(error);
  return error;
}

Result<void> id_to_proto(const std::string& text, spire::api::types::SPIFFEID& proto) {
  auto id = TRY(spiffe::SpiffeId::parse(text));
  proto.set_trust_domain(std::string(id.trust_domain_name()));
  proto.set_path(std::string(id.path()));
  return {};
}

std::string id_text(const spire::api::types::SPIFFEID& proto) {
  return fmt::format("spiffe://{}{}", proto.trust_domain(), proto.path());
}

Result<void> selector_to_proto(const std::string& text, spire::api::types::Selector& proto) {
  std::size_t colon = text.find(':');
  if (colon == std::string::npos) {
    return invalid_argument(fmt::format("selector \"{}\" must be formatted as type:value", text));
  }
  proto.set_type(text.substr(0, colon));
  proto.set_value(text.substr(colon + 1));
  return {};
}

Result<spire::api::types::SelectorMatch::MatchBehavior> parse_match(const std::string& text) {
  using spire::api::types::SelectorMatch;
  if (text == "exact") {
    return SelectorMatch::MATCH_EXACT;
  }
  if (text == "any") {
    return SelectorMatch::MATCH_ANY;
  }
  if (text == "superset") {
    return SelectorMatch::MATCH_SUPERSET;
  }
  if (text == "subset") {
    return SelectorMatch::MATCH_SUBSET;
  }
  return invalid_argument(fmt::format("match behavior \"{}\" unknown", text));
}

std::string plural(std::int64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += c;
    }
  }
  return out + "\"";
}

Result<std::string> read_input(const std::string& path, cli::Environment& environment) {
  if (path == "-") {
    return std::string(std::istreambuf_iterator<char>(environment.in), {});
  }
  return io::read_file(environment.resolve(path), limits::kConfigBytesMax);
}

}  // namespace steeple::server
