// SPDX-License-Identifier: Apache-2.0

#include "lib/base/error.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>

namespace steeple {
namespace {

constexpr std::array<std::string_view, 17> kNames = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

Code code_of_errno(int number) {
  switch (number) {
    case ENOENT:
      return Code::kNotFound;
    case EEXIST:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
      return Code::kPermissionDenied;
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Code::kResourceExhausted;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENETUNREACH:
    case EHOSTUNREACH:
      return Code::kUnavailable;
    case ETIMEDOUT:
      return Code::kDeadlineExceeded;
    default:
      return Code::kInternal;
  }
}

}  // namespace

std::string code_name(Code code) {
  auto index = static_cast<std::size_t>(code);
  return index < kNames.size() ? std::string(kNames[index]) : fmt::format("Code({})", index);
}

Error Error::during(std::string_view doing) && {
  message = fmt::format("{}: {}", doing, message);
  return std::move(*this);
}

std::string errno_text(int number) {
  std::array<char, 256> buffer{};
  std::string text = strerror_r(number, buffer.data(), buffer.size());
  if (!text.empty()) {
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  }
  return text;
}

Error errno_error(int number, std::string_view doing) {
  return {code_of_errno(number), fmt::format("{}: {}", doing, errno_text(number))};
}

}  // namespace steeple
