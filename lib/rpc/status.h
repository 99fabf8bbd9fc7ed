// SPDX-License-Identifier: Apache-2.0

// The one place where an Error and a gRPC status on the wire meet: grpc-status, grpc-message
// (percent-encoded), grpc-status-details-bin (google.rpc.Status in base64), HTTP status and
// RST_STREAM codes, and the text that gRPC for Go prints. Pure functions, any thread.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/result.h"

namespace steeple::rpc {

// The values of the trailers; an empty optional means the header is left out.
struct StatusHeaders {
  std::string grpc_status;
  std::optional<std::string> grpc_message;
  std::optional<std::string> details_bin;
};
StatusHeaders encode_status(const Result<void>& status);
// From trailers as received. Undecodable details are dropped, an unknown code is kUnknown.
Result<void> decode_status(std::string_view grpc_status, std::string_view grpc_message,
                           std::string_view details_bin);

// gRPC's "Percent-Encoded": printable ASCII but '%' stays. Decoding keeps what is malformed.
std::string percent_encode(std::string_view text);
std::string percent_decode(std::string_view text);

// "2S", "100m": at most 8 digits and a unit.
std::string encode_timeout(Duration timeout);
Result<Duration> decode_timeout(std::string_view text);

// What a client makes of a response that carries no grpc-status.
Error error_of_http_status(int status);
Error error_of_reset(std::uint32_t http2_error_code);

// `rpc error: code = NotFound desc = entry not found`
std::string go_text(const Error& error);

}  // namespace steeple::rpc
