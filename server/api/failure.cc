// SPDX-License-Identifier: Apache-2.0

#include "server/api/failure.h"

#include <fmt/format.h>

#include <cctype>

namespace steeple::server {

Error fail(Caller& caller, Code code, std::string_view what, const Error* why) {
  bool tell_why = why != nullptr && code != Code::kNotFound;
  std::string logged(what);
  if (code == Code::kInvalidArgument) {
    logged = fmt::format("Invalid argument: {}", what);
  } else if (!logged.empty()) {
    logged[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(logged[0])));
  }
  if (tell_why) {
    LOG_ERROR(caller.log(), logged, {"error", *why});
    return {code, fmt::format("{}: {}", what, why->message), why->details};
  }
  LOG_ERROR(caller.log(), logged);
  return {code, std::string(what)};
}

void set_status(const Result<void>& status, spire::api::types::Status& proto) {
  proto.set_code(status.ok() ? 0 : static_cast<std::int32_t>(status.error().code));
  proto.set_message(status.ok() ? "OK" : status.error().message);
}

}  // namespace steeple::server
