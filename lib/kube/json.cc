// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace steeple::kube {
namespace {

using nlohmann::json;

// Builds the tree and refuses in the same pass: depth, and members given twice.
class Builder final : public nlohmann::json_sax<json> {
 public:
  explicit Builder(bool keep_managed_fields) : keep_managed_fields_(keep_managed_fields) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return open(json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (skipped_depth_ > 0) {
      return true;
    }
    Open& top = open_.back();
    if (!keep_managed_fields_ && top.is_metadata && name == "managedFields") {
      skip_next_ = true;
      return true;
    }
    next_is_metadata_ = name == "metadata";
    auto& members = top.value->get_ref<json::object_t&>();
    auto [slot, fresh] = members.try_emplace(std::move(name));
    if (!fresh) {
      why_ = fmt::format("duplicate member \"{}\"", slot->first);
      return false;
    }
    slot_ = &slot->second;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    if (why_.empty()) {
      why_ = fmt::format("syntax error at byte {}", position);
    }
    return false;
  }

  json& root() { return root_; }
  const std::string& why() const { return why_; }

 private:
  struct Open {
    json* value;
    bool is_metadata;
  };

  json* place(json&& value) {
    next_is_metadata_ = std::exchange(next_is_metadata_, false) && value.is_object();
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    json& parent = *open_.back().value;
    if (parent.is_array()) {
      return &parent.get_ref<json::array_t&>().emplace_back(std::move(value));
    }
    *slot_ = std::move(value);
    return slot_;
  }
  bool add(json value) {
    if (skipped_depth_ == 0 && !std::exchange(skip_next_, false)) {
      place(std::move(value));
    }
    return true;
  }
  bool open(json empty) {
    if (open_.size() + skipped_depth_ >= kJsonDepthMax) {
      why_ = "nested too deep";
      return false;
    }
    if (skipped_depth_ > 0 || std::exchange(skip_next_, false)) {
      ++skipped_depth_;
      return true;
    }
    json* placed = place(std::move(empty));
    open_.push_back({placed, std::exchange(next_is_metadata_, false)});
    return true;
  }
  bool close() {
    if (skipped_depth_ > 0) {
      --skipped_depth_;
    } else {
      open_.pop_back();
    }
    return true;
  }

  const bool keep_managed_fields_;
  json root_;
  std::vector<Open> open_;
  json* slot_ = nullptr;  // of the last key
  bool next_is_metadata_ = false;
  bool skip_next_ = false;
  std::size_t skipped_depth_ = 0;
  std::string why_;
};

}  // namespace

Result<json> parse_object(std::string_view text, std::size_t bytes_max, bool keep_managed_fields) {
  if (text.size() > bytes_max) {
    return resource_exhausted(fmt::format("JSON text is larger than {} bytes", bytes_max));
  }
  try {
    Builder builder(keep_managed_fields);
    if (!json::sax_parse(text, &builder)) {
      return invalid_argument("malformed JSON: " + builder.why());
    }
    if (!builder.root().is_object()) {
      return invalid_argument("malformed JSON: expected an object");
    }
    return std::move(builder.root());
  } catch (const std::exception& error) {
    return invalid_argument(fmt::format("malformed JSON: {}", error.what()));
  }
}

const json* find(const json& object, JsonPath path) {
  const json* at = &object;
  for (const char* name : path) {
    if (!at->is_object()) {
      return nullptr;
    }
    auto member = at->find(name);
    if (member == at->end()) {
      return nullptr;
    }
    at = &*member;
  }
  return at;
}

std::string_view view_at(const json& object, JsonPath path) {
  const json* found = find(object, path);
  if (found == nullptr || !found->is_string()) {
    return {};
  }
  return found->get_ref<const std::string&>();
}

std::string string_at(const json& object, JsonPath path) {
  return std::string(view_at(object, path));
}

std::int64_t integer_at(const json& object, JsonPath path, std::int64_t otherwise) {
  const json* found = find(object, path);
  if (found == nullptr || !found->is_number_integer() ||
      (found->is_number_unsigned() && !std::in_range<std::int64_t>(found->get<std::uint64_t>()))) {
    return otherwise;
  }
  return found->get<std::int64_t>();
}

bool bool_at(const json& object, JsonPath path, bool otherwise) {
  const json* found = find(object, path);
  return found != nullptr && found->is_boolean() ? found->get<bool>() : otherwise;
}

Labels string_map_at(const json& object, JsonPath path) {
  Labels out;
  const json* found = find(object, path);
  if (found != nullptr && found->is_object()) {
    for (const auto& [name, value] : found->items()) {
      if (value.is_string()) {
        out.emplace(name, value.get_ref<const std::string&>());
      }
    }
  }
  return out;
}

std::string object_key(const json& object) {
  std::string_view name_space = view_at(object, {"metadata", "namespace"});
  std::string_view name = view_at(object, {"metadata", "name"});
  std::string key;
  key.reserve(name_space.size() + 1 + name.size());
  if (!name_space.empty()) {
    key.append(name_space).push_back('/');
  }
  key.append(name);
  return key;
}

}  // namespace steeple::kube
