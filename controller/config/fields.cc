// SPDX-License-Identifier: Apache-2.0

#include "controller/config/fields.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace steeple::controller {

using nlohmann::json;

void Findings::problem(std::string_view path, std::string_view text) {
  problems.push_back(fmt::format("{}: {}", path, text));
}

Result<void> Findings::result() const {
  if (problems.empty()) {
    return {};
  }
  return invalid_argument(fmt::format("{}", fmt::join(problems, "; ")));
}

Fields::Fields(const json* object, std::string path, Findings& findings)
    : object_(object), path_(std::move(path)), findings_(findings) {
  if (object_ != nullptr && object_->is_null()) {
    object_ = nullptr;
  }
  if (object_ != nullptr && !object_->is_object()) {
    findings_.problem(path_, "must be an object");
    object_ = nullptr;
  }
}

Fields::~Fields() {
  if (object_ == nullptr) {
    return;
  }
  for (const auto& [name, value] : object_->items()) {
    if (!asked_.contains(name)) {
      findings_.unknown.push_back(path_of(name));
    }
  }
}

std::string Fields::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

const json* Fields::any(const char* name) {
  asked_.insert(name);
  if (object_ == nullptr) {
    return nullptr;
  }
  auto found = object_->find(name);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

const json* Fields::object(const char* name) {
  const json* value = any(name);
  if (value != nullptr && !value->is_object()) {
    findings_.problem(path_of(name), "must be an object");
    return nullptr;
  }
  return value;
}

void Fields::read(const char* name, std::string& out) {
  if (const json* value = any(name)) {
    if (value->is_string()) {
      out = value->get_ref<const std::string&>();
    } else {
      findings_.problem(path_of(name), "must be a string");
    }
  }
}

void Fields::read(const char* name, bool& out) {
  if (const json* value = any(name)) {
    if (value->is_boolean()) {
      out = value->get<bool>();
    } else {
      findings_.problem(path_of(name), "must be true or false");
    }
  }
}

void Fields::read(const char* name, std::int64_t& out) {
  if (const json* value = any(name)) {
    if (value->is_number_unsigned() && value->get<std::uint64_t>() > std::uint64_t{INT64_MAX}) {
      findings_.problem(path_of(name), "is too large");
    } else if (value->is_number_integer()) {
      out = value->get<std::int64_t>();
    } else {
      findings_.problem(path_of(name), "must be a whole number");
    }
  }
}

void Fields::read(const char* name, std::vector<std::string>& out) {
  const json* value = any(name);
  if (value == nullptr) {
    return;
  }
  if (!value->is_array()) {
    findings_.problem(path_of(name), "must be a list of strings");
    return;
  }
  if (value->size() > kListItemsMax) {
    findings_.problem(path_of(name), fmt::format("has more than {} items", kListItemsMax));
    return;
  }
  out.clear();
  for (const json& item : *value) {
    if (!item.is_string()) {
      findings_.problem(fmt::format("{}[{}]", path_of(name), out.size()), "must be a string");
      return;
    }
    out.push_back(item.get_ref<const std::string&>());
  }
}

void Fields::read_duration(const char* name, Duration& out, Duration number_unit) {
  const json* value = any(name);
  if (value == nullptr) {
    return;
  }
  Duration duration{};
  if (value->is_string()) {
    Result<Duration> parsed = parse_go_duration(value->get_ref<const std::string&>());
    if (!parsed.ok()) {
      findings_.problem(path_of(name), parsed.error().message);
      return;
    }
    duration = *parsed;
  } else if (value->is_number_integer()) {
    std::int64_t most = Duration::max().count() / number_unit.count();
    bool past_signed =
        value->is_number_unsigned() && value->get<std::uint64_t>() > std::uint64_t{INT64_MAX};
    std::int64_t number = past_signed ? INT64_MAX : value->get<std::int64_t>();
    if (past_signed || number > most) {
      findings_.problem(path_of(name), "is too large");
      return;
    }
    duration = number < 0 ? Duration(-1) : number * number_unit;
  } else {
    findings_.problem(path_of(name), "must be a duration like \"1h\" or a whole number");
    return;
  }
  if (duration < Duration::zero()) {
    findings_.problem(path_of(name), "must not be negative");
    return;
  }
  out = duration;
}

}  // namespace steeple::controller
