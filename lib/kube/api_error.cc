// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/api_error.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "lib/kube/json.h"

namespace steeple::kube {
namespace {

using nlohmann::json;

constexpr std::string_view kDetailType = "steeple.kube/ApiStatus";
constexpr std::size_t kMessageBytesMax = 4096;
constexpr std::int64_t kRetryAfterSecondsMax = 3600;

Code code_of(const ApiStatus& status) {
  if (status.reason == "AlreadyExists") {
    return Code::kAlreadyExists;
  }
  switch (status.code) {
    case 400:
    case 422:
      return Code::kInvalidArgument;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 405:
    case 406:
    case 415:
    case 501:
      return Code::kUnimplemented;
    case 408:
    case 504:
      return Code::kDeadlineExceeded;
    case 409:
      return Code::kAborted;
    case 410:
      return Code::kOutOfRange;
    case 413:
    case 429:
      return Code::kResourceExhausted;
    case 500:
      return Code::kInternal;
    case 502:
    case 503:
      return Code::kUnavailable;
    default:
      return Code::kUnknown;
  }
}

std::optional<Duration> seconds(std::int64_t count) {
  if (count <= 0) {
    return {};
  }
  return std::chrono::seconds(std::min(count, kRetryAfterSecondsMax));
}

std::optional<Duration> retry_after_header(std::string_view text) {
  std::int64_t count = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  return error == std::errc() && end == text.data() + text.size() ? seconds(count) : std::nullopt;
}

std::string printable(std::string text) {
  text.resize(std::min(text.size(), kMessageBytesMax));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') {
      c = ' ';
    }
  }
  return text;
}

}  // namespace

Error api_error(const ApiStatus& status) {
  json detail = {{"code", status.code}, {"reason", status.reason}, {"message", status.message}};
  if (status.retry_after) {
    detail["retryAfter"] = status.retry_after->count();
  }
  return {
      code_of(status),
      status.message,
      {{std::string(kDetailType), detail.dump(-1, ' ', false, json::error_handler_t::replace)}}};
}

Error api_error(const HttpHead& head, std::string_view body) {
  ApiStatus status{.code = head.status, .reason = {}, .message = {}};
  if (auto parsed = parse_object(body, std::size_t{1} << 20);
      parsed.ok() && view_at(*parsed, {"kind"}) == "Status") {
    status.reason = string_at(*parsed, {"reason"});
    status.message = printable(string_at(*parsed, {"message"}));
    status.retry_after = seconds(integer_at(*parsed, {"details", "retryAfterSeconds"}));
  }
  if (status.message.empty()) {
    status.message = fmt::format("the server answered with HTTP status {}", head.status);
  }
  if (auto header = retry_after_header(head.header("retry-after"))) {
    status.retry_after = header;
  }
  return api_error(status);
}

std::optional<ApiStatus> api_status(const Error& error) {
  for (const ErrorDetail& detail : error.details) {
    if (detail.type_url != kDetailType) {
      continue;
    }
    auto parsed = parse_object(detail.value);
    if (!parsed.ok()) {
      return {};
    }
    ApiStatus status{.code = static_cast<int>(integer_at(*parsed, {"code"})),
                     .reason = string_at(*parsed, {"reason"}),
                     .message = string_at(*parsed, {"message"})};
    if (std::int64_t wait = integer_at(*parsed, {"retryAfter"}); wait > 0) {
      status.retry_after = Duration(wait);
    }
    return status;
  }
  return {};
}

Error without_status(Error error) {
  std::erase_if(error.details,
                [](const ErrorDetail& detail) { return detail.type_url == kDetailType; });
  return error;
}

bool is_conflict(const Error& error) {
  auto status = api_status(error);
  return status && status->code == 409 && status->reason != "AlreadyExists";
}

bool is_gone(const Error& error) {
  auto status = api_status(error);
  return status && status->code == 410;
}

}  // namespace steeple::kube
