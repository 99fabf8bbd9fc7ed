// SPDX-License-Identifier: Apache-2.0

#include "helper/statuses.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace steeple::helper {
namespace {

const char* word(WriteStatus status) {
  switch (status) {
    case WriteStatus::kUnwritten:
      return "unwritten";
    case WriteStatus::kWritten:
      return "written";
    case WriteStatus::kFailed:
      break;
  }
  return "failed";
}

}  // namespace

Statuses::Statuses(const HelperConfig& config) {
  if (config.x509_enabled()) {
    x509_ = WriteStatus::kUnwritten;
  }
  if (!config.jwt_bundle_file_name.empty()) {
    jwt_[config.path_of(config.jwt_bundle_file_name)] = WriteStatus::kUnwritten;
  }
  for (const JwtSvidConfig& jwt : config.jwt_svids) {
    jwt_[config.path_of(jwt.file_name)] = WriteStatus::kUnwritten;
  }
}

bool Statuses::live() const {
  return x509_ != WriteStatus::kFailed && std::none_of(jwt_.begin(), jwt_.end(), [](auto& file) {
           return file.second == WriteStatus::kFailed;
         });
}

bool Statuses::ready() const {
  return x509_.value_or(WriteStatus::kWritten) == WriteStatus::kWritten &&
         std::all_of(jwt_.begin(), jwt_.end(),
                     [](auto& file) { return file.second == WriteStatus::kWritten; });
}

std::string Statuses::page(bool good) const {
  nlohmann::ordered_json files = nlohmann::ordered_json::object();
  if (x509_) {
    files["x509_write_status"] = word(*x509_);
  }
  files["jwt_write_status"] = nlohmann::ordered_json::object();
  for (const auto& [path, status] : jwt_) {
    files["jwt_write_status"][path] = word(status);
  }
  nlohmann::ordered_json page;
  page["status"] = good ? "OK" : "Service Unavailable";
  page["health"]["file_write_statuses"] = std::move(files);
  // A path need not be UTF-8.
  return page.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace steeple::helper
