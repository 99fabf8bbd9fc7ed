// SPDX-License-Identifier: Apache-2.0

// What commands that talk to a running daemon share: the socket, the call, the words for when
// nobody is there, and small pieces of text. One thread.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/cli/environment.h"
#include "lib/rpc/blocking_channel.h"

namespace steeple::cli {

class SocketClient {
 public:
  struct Options {
    Duration timeout = std::chrono::seconds(60);
    rpc::Metadata metadata = {};
    // The reference's server commands name the socket by gRPC's target, with two more slashes.
    bool target_in_errors = false;
  };

  SocketClient(std::string path, Options options);
  SocketClient(SocketClient&&) = default;

  // Errors read "rpc error: code = ... desc = ...", as users of the reference know them.
  template <class Response, class Request>
  Result<Response> call(std::string_view method, const Request& request) {
    auto response = channel_->call<Response>(std::string(method), request, call_options());
    if (!response.ok()) {
      return explain(std::move(response.error()));
    }
    return response;
  }
  // Server streaming; false from `on_message` ends it well.
  template <class Response, class Request>
  Result<void> stream(std::string_view method, const Request& request,
                      std::function<bool(const Response&)> on_message) {
    auto done = channel_->stream_of<Response>(std::string(method), request, call_options(),
                                              std::move(on_message));
    if (!done.ok()) {
      return explain(std::move(done.error()));
    }
    return done;
  }

 private:
  rpc::CallOptions call_options() const;
  Error explain(Error error) const;

  Options options_;
  std::unique_ptr<rpc::BlockingChannel> channel_;
};

// "1 entry", "2 entries"
std::string plural(std::int64_t count, std::string_view one, std::string_view many);
// In double quotes, as Go's %q writes it.
std::string quote(std::string_view text);
// The file, or standard input for "-".
Result<std::string> read_input(const std::string& path, Environment& environment);

}  // namespace steeple::cli
