// SPDX-License-Identifier: Apache-2.0

// Reads the members of one JSON object into plain values. Every problem is kept with the path of
// its field, so that a user sees all of them at once; unknown members are listed, what that means
// is the caller's. Any thread, one at a time.

#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"

namespace steeple::controller {

inline constexpr std::size_t kListItemsMax = 1000;  // of any list in a custom resource

// What was found wrong, shared by the readers of nested objects.
struct Findings {
  std::vector<std::string> problems;  // "spec.ttl: ..."
  std::vector<std::string> unknown;   // "spec.tll"

  void problem(std::string_view path, std::string_view text);
  // All problems in one error, if any.
  Result<void> result() const;
};

class Fields {
 public:
  // `object` may be null (nothing is there) and must outlive the reader. `path` is "" at the top.
  Fields(const nlohmann::json* object, std::string path, Findings& findings);
  // Records the members that nobody asked for.
  ~Fields();
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  // Absent or null members leave `out` as it is.
  void read(const char* name, std::string& out);
  void read(const char* name, bool& out);
  void read(const char* name, std::int64_t& out);
  void read(const char* name, std::vector<std::string>& out);
  // Go's text ("1h30m"), or a number of `number_unit`s. Not negative.
  void read_duration(const char* name, Duration& out, Duration number_unit);
  // Null when absent; an error when it is no object. The member counts as known.
  const nlohmann::json* object(const char* name);
  // Any kind; null when absent.
  const nlohmann::json* any(const char* name);
  // Known, but of no interest here.
  void skip(const char* name) { asked_.insert(name); }

  std::string path_of(std::string_view name) const;
  Findings& findings() { return findings_; }

 private:
  const nlohmann::json* object_;
  const std::string path_;
  Findings& findings_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace steeple::controller
