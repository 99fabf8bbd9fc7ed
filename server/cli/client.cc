// SPDX-License-Identifier: Apache-2.0

#include "server/cli/client.h"

#include <fmt/format.h>

#include "spiffe/spiffe_id.h"

namespace steeple::server {

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

Result<ServerClient> ServerClient::connect(const ClientFlags& flags,
                                           const cli::Environment& environment) {
  Options options;
  options.target_in_errors = true;
  return ServerClient(TRY(cli::resolve_socket(flags.socket, cli::server_socket(), environment)),
                      std::move(options));
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

}  // namespace steeple::server
