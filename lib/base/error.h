// SPDX-License-Identifier: Apache-2.0

// The one error type: gRPC's code, a message for people, and optional typed details that travel
// with a gRPC status (google.rpc.Status.details). An error is a value; a bug is a CHECK.
// Messages are lower case, without full stop, with data in quotes; `during` puts the context first.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steeple {

// The numbers are gRPC's status codes.
enum class Code : std::uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// The name as Go's gRPC prints it ("NotFound"); an unknown number gives "Code(n)".
std::string code_name(Code code);

struct ErrorDetail {
  std::string type_url;  // e.g. "type.googleapis.com/spire.api.types.PermissionDeniedDetails"
  std::string value;     // the serialised message
};

struct [[nodiscard]] Error {
  Code code = Code::kUnknown;
  std::string message;
  std::vector<ErrorDetail> details = {};

  // Prepends what was being done: "load signing key: no such file".
  Error during(std::string_view doing) &&;
};

inline Error invalid_argument(std::string message) {
  return {Code::kInvalidArgument, std::move(message)};
}
inline Error not_found(std::string message) { return {Code::kNotFound, std::move(message)}; }
inline Error already_exists(std::string message) {
  return {Code::kAlreadyExists, std::move(message)};
}
inline Error permission_denied(std::string message) {
  return {Code::kPermissionDenied, std::move(message)};
}
inline Error resource_exhausted(std::string message) {
  return {Code::kResourceExhausted, std::move(message)};
}
inline Error failed_precondition(std::string message) {
  return {Code::kFailedPrecondition, std::move(message)};
}
inline Error unimplemented(std::string message) {
  return {Code::kUnimplemented, std::move(message)};
}
inline Error internal(std::string message) { return {Code::kInternal, std::move(message)}; }
inline Error unavailable(std::string message) { return {Code::kUnavailable, std::move(message)}; }
inline Error deadline_exceeded(std::string message) {
  return {Code::kDeadlineExceeded, std::move(message)};
}
inline Error cancelled(std::string message) { return {Code::kCancelled, std::move(message)}; }

// The text of an errno value as Go prints it: "no such file or directory".
std::string errno_text(int number);
// "open /x: no such file or directory", with the gRPC code that fits the errno.
Error errno_error(int number, std::string_view doing);

}  // namespace steeple
