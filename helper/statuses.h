// SPDX-License-Identifier: Apache-2.0

// Which files are written, for the health page. On the loop.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "helper/config/helper_config.h"

namespace steeple::helper {

enum class WriteStatus : std::uint8_t { kUnwritten, kWritten, kFailed };

class Statuses {
 public:
  explicit Statuses(const HelperConfig& config);

  void set_x509(WriteStatus status) { x509_ = status; }
  void set_jwt(const std::string& path, WriteStatus status) { jwt_[path] = status; }
  // Nothing failed when it was last tried.
  bool live() const;
  // Everything is written.
  bool ready() const;
  // {"status":"OK","health":{"file_write_statuses":{...}}}
  std::string page(bool good) const;

 private:
  std::optional<WriteStatus> x509_;
  std::map<std::string, WriteStatus> jwt_;
};

}  // namespace steeple::helper
