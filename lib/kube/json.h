// SPDX-License-Identifier: Apache-2.0

// JSON as the API server and the kubelet send it: strict parsing with limits, and short ways to
// reach members. Only .cc files include nlohmann/json.hpp.

#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/kube/selector.h"

namespace steeple::kube {

inline constexpr std::size_t kJsonDepthMax = 64;
// etcd takes 1.5 MiB per object; managed fields and the JSON form come on top.
inline constexpr std::size_t kObjectBytesMax = std::size_t{8} << 20;

// A parsed object on its way through callbacks. Not null.
using ObjectPtr = std::shared_ptr<const nlohmann::json>;

// One JSON object. Refuses duplicate members, deep nesting, broken UTF-8 and text behind the value.
// metadata.managedFields is left out when `keep_managed_fields` is false: nobody here reads it and
// it is often the larger half.
Result<nlohmann::json> parse_object(std::string_view text, std::size_t bytes_max = kObjectBytesMax,
                                    bool keep_managed_fields = true);

using JsonPath = std::initializer_list<const char*>;
// The member below, or null.
const nlohmann::json* find(const nlohmann::json& object, JsonPath path);
// Empty when absent or something else than a string.
std::string string_at(const nlohmann::json& object, JsonPath path);
std::string_view view_at(const nlohmann::json& object, JsonPath path);
std::int64_t integer_at(const nlohmann::json& object, JsonPath path, std::int64_t otherwise = 0);
bool bool_at(const nlohmann::json& object, JsonPath path, bool otherwise = false);
// The members of an object that are strings (labels, annotations).
Labels string_map_at(const nlohmann::json& object, JsonPath path);

// "namespace/name", or "name" for what has no namespace: the key of stores.
std::string object_key(const nlohmann::json& object);

}  // namespace steeple::kube
