// SPDX-License-Identifier: Apache-2.0

// What the API server answers when it refuses: a Status object, carried by an Error so that TRY
// works. The Error's code is the nearest of ours (NotFound -> kNotFound, AlreadyExists ->
// kAlreadyExists, Conflict -> kAborted, 410 -> kOutOfRange, Invalid -> kInvalidArgument, ...);
// `api_status` gives the details. Never hand such an Error to a gRPC peer: make a new one of its
// code and message (`without_status`).

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/kube/transport.h"

namespace steeple::kube {

struct ApiStatus {
  int code = 0;         // HTTP
  std::string reason;   // "NotFound", "Conflict", "Expired", ...; empty if the server gave none
  std::string message;  // the server's text
  std::optional<Duration> retry_after = {};
};

// From an HTTP answer that is no success. The body may be anything.
Error api_error(const HttpHead& head, std::string_view body);
// From a Status that came otherwise, such as an ERROR event of a watch.
Error api_error(const ApiStatus& status);

// Nothing when the error did not come from an API server.
std::optional<ApiStatus> api_status(const Error& error);
Error without_status(Error error);

bool is_conflict(const Error& error);  // another wrote first: read again and repeat
bool is_gone(const Error& error);      // 410: the resourceVersion or continue token is too old

}  // namespace steeple::kube
