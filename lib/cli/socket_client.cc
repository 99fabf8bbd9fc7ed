// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/socket_client.h"

#include <fmt/format.h>

#include <istream>
#include <iterator>

#include "lib/base/limits.h"
#include "lib/io/directory.h"
#include "lib/rpc/status.h"

namespace steeple::cli {
namespace {

// Lists of a large server do not fit gRPC's default.
constexpr std::size_t kAnswerBytesMax = std::size_t{64} << 20;

}  // namespace

SocketClient::SocketClient(std::string path, Options options)
    : options_(std::move(options)),
      channel_(std::make_unique<rpc::BlockingChannel>(io::Endpoint::unix_socket(std::move(path)))) {
}

rpc::CallOptions SocketClient::call_options() const {
  rpc::CallOptions options;
  options.timeout = options_.timeout;
  options.metadata = options_.metadata;
  options.message_bytes_max = kAnswerBytesMax;
  return options;
}

Error SocketClient::explain(Error error) const {
  constexpr std::string_view kDial = "dial unix ";
  std::size_t at = error.message.find(kDial);
  if (options_.target_in_errors && error.code == Code::kUnavailable && at != std::string::npos) {
    error.message.insert(at + kDial.size(), "//");
  }
  error.message = rpc::go_text(error);
  return error;
}

std::string plural(std::int64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += c;
    }
  }
  return out + "\"";
}

Result<std::string> read_input(const std::string& path, Environment& environment) {
  if (path == "-") {
    return std::string(std::istreambuf_iterator<char>(environment.in), {});
  }
  return io::read_file(environment.resolve(path), limits::kConfigBytesMax);
}

}  // namespace steeple::cli
