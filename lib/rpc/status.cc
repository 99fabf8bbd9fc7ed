// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/status.h"

#include <fmt/format.h>
#include <google/rpc/status.pb.h>

#include <array>
#include <charconv>

#include "lib/base/bytes.h"

namespace steeple::rpc {
namespace {

constexpr std::size_t kTimeoutDigitsMax = 8;

struct TimeoutUnit {
  char letter;
  std::int64_t nanoseconds;
};
constexpr std::array<TimeoutUnit, 6> kTimeoutUnits = {{{'n', 1},
                                                       {'u', 1'000},
                                                       {'m', 1'000'000},
                                                       {'S', 1'000'000'000},
                                                       {'M', 60'000'000'000},
                                                       {'H', 3'600'000'000'000}}};

std::string details_of(const Error& error) {
  google::rpc::Status status;
  status.set_code(static_cast<int>(error.code));
  status.set_message(error.message);
  for (const ErrorDetail& detail : error.details) {
    auto* any = status.add_details();
    any->set_type_url(detail.type_url);
    any->set_value(detail.value);
  }
  std::string encoded = base64_encode(status.SerializeAsString());
  while (encoded.ends_with('=')) {  // senders should omit the padding
    encoded.pop_back();
  }
  return encoded;
}

std::optional<google::rpc::Status> parse_details(std::string_view text) {
  std::string padded(text);
  while (padded.size() % 4 != 0) {
    padded += '=';
  }
  Result<Bytes> raw = base64_decode(padded);
  google::rpc::Status status;
  if (!raw.ok() || !status.ParseFromString(*raw)) {
    return std::nullopt;
  }
  return status;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::string_view http_text(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "";
  }
}

// RFC 9113 section 7, as grpc-go names and maps them.
struct ResetCode {
  std::string_view name;
  Code code;
};
constexpr std::array<ResetCode, 14> kResetCodes = {
    {{"NO_ERROR", Code::kInternal},
     {"PROTOCOL_ERROR", Code::kInternal},
     {"INTERNAL_ERROR", Code::kInternal},
     {"FLOW_CONTROL_ERROR", Code::kResourceExhausted},
     {"SETTINGS_TIMEOUT", Code::kInternal},
     {"STREAM_CLOSED", Code::kInternal},
     {"FRAME_SIZE_ERROR", Code::kInternal},
     {"REFUSED_STREAM", Code::kUnavailable},
     {"CANCEL", Code::kCancelled},
     {"COMPRESSION_ERROR", Code::kInternal},
     {"CONNECT_ERROR", Code::kInternal},
     {"ENHANCE_YOUR_CALM", Code::kResourceExhausted},
     {"INADEQUATE_SECURITY", Code::kPermissionDenied},
     {"HTTP_1_1_REQUIRED", Code::kInternal}}};

}  // namespace

StatusHeaders encode_status(const Result<void>& status) {
  if (status.ok()) {
    return {"0", std::nullopt, std::nullopt};
  }
  const Error& error = status.error();
  StatusHeaders out;
  out.grpc_status = std::to_string(static_cast<int>(error.code));
  if (!error.message.empty()) {
    out.grpc_message = percent_encode(error.message);
  }
  if (!error.details.empty()) {
    out.details_bin = details_of(error);
  }
  return out;
}

Result<void> decode_status(std::string_view grpc_status, std::string_view grpc_message,
                           std::string_view details_bin) {
  int code = -1;
  const char* end = grpc_status.data() + grpc_status.size();
  auto parsed = std::from_chars(grpc_status.data(), end, code);
  if (parsed.ec != std::errc() || parsed.ptr != end || code < 0 || code > UINT8_MAX) {
    return Error{Code::kUnknown, fmt::format("malformed grpc-status: \"{}\"", grpc_status)};
  }
  if (code == 0) {
    return {};
  }
  Error error{static_cast<Code>(code), percent_decode(grpc_message)};
  if (!details_bin.empty()) {
    if (std::optional<google::rpc::Status> status = parse_details(details_bin)) {
      for (const auto& any : status->details()) {
        error.details.push_back({any.type_url(), any.value()});
      }
    }
  }
  return error;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      int high = hex_value(text[i + 1]);
      int low = hex_value(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

std::string encode_timeout(Duration timeout) {
  std::int64_t left = std::max<std::int64_t>(timeout.count(), 0);
  for (const TimeoutUnit& unit : kTimeoutUnits) {
    // Rounded up: the server should not give up before the client does.
    std::int64_t value = left / unit.nanoseconds + (left % unit.nanoseconds != 0 ? 1 : 0);
    if (value <= 99'999'999) {
      return fmt::format("{}{}", value, unit.letter);
    }
  }
  return "99999999H";
}

Result<Duration> decode_timeout(std::string_view text) {
  if (text.size() < 2) {
    return internal(fmt::format("transport: timeout string is too short: \"{}\"", text));
  }
  if (text.size() > kTimeoutDigitsMax + 1) {
    return internal(fmt::format("transport: timeout string is too long: \"{}\"", text));
  }
  std::string_view digits = text.substr(0, text.size() - 1);
  std::int64_t value = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') {
      return internal(fmt::format("strconv.ParseUint: parsing \"{}\": invalid syntax", digits));
    }
    value = value * 10 + (c - '0');
  }
  for (const TimeoutUnit& unit : kTimeoutUnits) {
    if (unit.letter == text.back()) {
      bool fits = value <= Duration::max().count() / unit.nanoseconds;
      return fits ? Duration(value * unit.nanoseconds) : Duration::max();
    }
  }
  return internal(fmt::format("transport: timeout unit is not recognized: \"{}\"", text));
}

Error error_of_http_status(int status) {
  Code code = Code::kUnknown;
  switch (status) {
    case 400:
      code = Code::kInternal;
      break;
    case 401:
      code = Code::kUnauthenticated;
      break;
    case 403:
      code = Code::kPermissionDenied;
      break;
    case 404:
      code = Code::kUnimplemented;
      break;
    case 429:
    case 502:
    case 503:
    case 504:
      code = Code::kUnavailable;
      break;
    default:
      break;
  }
  return {code, fmt::format("unexpected HTTP status code received from server: {} ({})", status,
                            http_text(status))};
}

Error error_of_reset(std::uint32_t http2_error_code) {
  if (http2_error_code >= kResetCodes.size()) {
    return {Code::kUnknown,
            fmt::format("stream terminated by RST_STREAM with error code: {}", http2_error_code)};
  }
  const ResetCode& known = kResetCodes[http2_error_code];
  return {known.code,
          fmt::format("stream terminated by RST_STREAM with error code: {}", known.name)};
}

std::string go_text(const Error& error) {
  return fmt::format("rpc error: code = {} desc = {}", code_name(error.code), error.message);
}

}  // namespace steeple::rpc
