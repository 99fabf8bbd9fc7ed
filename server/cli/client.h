// SPDX-License-Identifier: Apache-2.0

// What every command that talks to a running server shares: finding its socket, calling it, and the
// words for when it is not there. One thread.

#pragma once

#include <string>
#include <string_view>

#include "lib/cli/environment.h"
#include "lib/cli/flags.h"
#include "lib/cli/printer.h"
#include "lib/rpc/blocking_channel.h"
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

class ServerClient {
 public:
  static Result<ServerClient> connect(const ClientFlags& flags,
                                      const cli::Environment& environment);

  // Errors read "rpc error: code = ... desc = ...", as users of the reference know them.
  template <class Response, class Request>
  Result<Response> call(std::string_view method, const Request& request) {
    auto response = channel_->call<Response>(std::string(method), request, options());
    if (!response.ok()) {
      return explain(std::move(response.error()));
    }
    return response;
  }

 private:
  explicit ServerClient(std::string path);
  static rpc::CallOptions options();
  Error explain(Error error) const;

  std::string path_;
  std::unique_ptr<rpc::BlockingChannel> channel_;
};

// --- shared by several commands
// -------------------------------------------------------------------

Result<void> id_to_proto(const std::string& text, spire::api::types::SPIFFEID& proto);
std::string id_text(const spire::api::types::SPIFFEID& proto);
// "type:value"
Result<void> selector_to_proto(const std::string& text, spire::api::types::Selector& proto);
// exact, any, superset, subset. `unknown` makes the error of anything else.
Result<spire::api::types::SelectorMatch::MatchBehavior> parse_match(const std::string& text);
// "1 entry", "2 entries"
std::string plural(std::int64_t count, std::string_view one, std::string_view many);
// In double quotes, as Go's %q writes it.
std::string quote(std::string_view text);
// The file, or standard input for "-".
Result<std::string> read_input(const std::string& path, cli::Environment& environment);

}  // namespace steeple::server
