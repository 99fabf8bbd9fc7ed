// SPDX-License-Identifier: Apache-2.0

// What every command that talks to a running server shares: finding its socket, calling it, and the
// words for when it is not there. One thread.

#pragma once

#include <string>
#include <string_view>

#include "lib/cli/environment.h"
#include "lib/cli/flags.h"
#include "lib/cli/printer.h"
#include "lib/cli/socket_client.h"
#include "spire/api/types/selector.pb.h"
#include "spire/api/types/spiffeid.pb.h"

namespace steeple::server {

// -socketPath, -instance and -output: flags of nearly every command.
struct ClientFlags {
  cli::SocketFlags socket;
  cli::Output output;
};
void bind_client(cli::FlagSet& flags, ClientFlags& to);
void bind_client_without_output(cli::FlagSet& flags, ClientFlags& to);

class ServerClient : public cli::SocketClient {
 public:
  static Result<ServerClient> connect(const ClientFlags& flags,
                                      const cli::Environment& environment);

 private:
  using cli::SocketClient::SocketClient;
};

using cli::plural;
using cli::quote;
using cli::read_input;

// --- shared by several commands
// -------------------------------------------------------------------

Result<void> id_to_proto(const std::string& text, spire::api::types::SPIFFEID& proto);
std::string id_text(const spire::api::types::SPIFFEID& proto);
// "type:value"
Result<void> selector_to_proto(const std::string& text, spire::api::types::Selector& proto);
// exact, any, superset, subset. `unknown` makes the error of anything else.
Result<spire::api::types::SelectorMatch::MatchBehavior> parse_match(const std::string& text);

}  // namespace steeple::server
