// SPDX-License-Identifier: Apache-2.0

// Inside lib/kube: one request to the API server with credentials, the second try after a 401, and
// refusals turned into errors. What the client's calls are made of. On the loop.

#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "lib/kube/client.h"

namespace steeple::kube {

struct ExchangeContext {
  io::Loop& loop;
  Transport& transport;
  Access& access;
  ClientOptions options;
};

struct ExchangeEvents {
  // The body of a success, piece by piece; an error ends the exchange with it.
  std::function<Result<void>(ByteView)> on_body;
  std::move_only_function<void(Result<void>)> on_end;
  // Instead of on_body, for who tells several things of one piece and must stop between them when
  // the call is cancelled.
  std::function<Result<void>(ByteView, const std::function<bool()>& alive)> on_stream = {};
};

// `request.url` is the path with query. Headers and body stay, credentials are added.
[[nodiscard]] CallPtr start_exchange(const ExchangeContext& context, HttpRequest request,
                                     ExchangeEvents events);
// An exchange that ends with this error on the loop's next turn.
[[nodiscard]] CallPtr fail_exchange(const ExchangeContext& context, Error error,
                                    ExchangeEvents events);

// One line of a watch. An ERROR event is its Status as error.
Result<void> parse_watch_line(
    std::string_view line, const std::function<void(WatchEvent, const nlohmann::json&)>& on_event);

}  // namespace steeple::kube
