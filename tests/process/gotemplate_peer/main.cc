// SPDX-License-Identifier: Apache-2.0

// Runs templates for tests/interop/gotemplate, which compares with Go's text/template. One JSON
// object per line in, one out: {"template" (base64), "data", "missing", "sprig"} gives {"output" or
// "error" (base64)}. Data is a tree of {"k": kind, "v": value}; "pod" is a pointer to a struct,
// "meta" a struct.

#include <fmt/core.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "lib/base/bytes.h"
#include "lib/gotemplate/json.h"
#include "lib/gotemplate/sprig.h"
#include "lib/gotemplate/template.h"

namespace steeple::gotemplate {
namespace {

using Json = nlohmann::json;

TypeRef meta_type() {
  static const TypeRef type = types::structure(
      "gotemplate_test.Meta",
      {{"Name", "name", types::string},
       {"UID", "uid", [] { return types::named("gotemplate_test.UID", types::string()); }},
       {"Labels", "labels", [] { return types::map_of(types::string()); }},
       {"Finalizers", "finalizers", [] { return types::list_of(types::string()); }},
       {"Generation", "generation", types::integer64},
       {"Deadline", "deadline", [] { return types::pointer_to(types::integer64()); }},
       {"Extra", "extra", [] { return kAnyElement; }}});
  return type;
}

TypeRef pod_type() {
  static const TypeRef type = types::structure(
      "gotemplate_test.Pod", {{"Meta", "meta", [] { return types::pointer_to(meta_type()); }},
                              {"Other", "other", [] { return types::pointer_to(meta_type()); }},
                              {"Plain", "plain", meta_type},
                              {"TrustDomain", "trustDomain", types::string}});
  return type;
}

Result<Value> decode(const Json& json) {
  const std::string& kind = json.at("k").get_ref<const std::string&>();
  if (kind == "nil") {
    return Value();
  }
  const Json& value = json.at("v");
  if (kind == "bool") {
    return Value(value.get<bool>());
  }
  if (kind == "int") {
    return Value::of(types::integer(), value.get<std::int64_t>());
  }
  if (kind == "int64") {
    return Value(value.get<std::int64_t>());
  }
  if (kind == "uint64") {
    return Value(value.get<std::uint64_t>());
  }
  if (kind == "float") {
    return Value(value.get<double>());
  }
  if (kind == "string") {
    return Value(value.get<std::string>());
  }
  if (kind == "strings") {
    auto items = value.get<std::vector<std::string>>();
    return Value::strings(items);
  }
  if (kind == "smap") {
    return from_json(value, types::map_of(types::string()));
  }
  if (kind == "pod") {
    return Value::pointer(TRY(from_json(value, pod_type())));
  }
  if (kind == "meta") {
    return from_json(value, meta_type());
  }
  if (kind == "list") {
    Value::List items;
    for (const Json& item : value) {
      items.push_back(TRY(decode(item)));
    }
    return Value::list(std::move(items));
  }
  Value::Map entries;
  for (const auto& [key, entry] : value.items()) {
    entries.emplace(key, TRY(decode(entry)));
  }
  return Value::map(std::move(entries));
}

Result<std::string> run(const Json& request) {
  Functions functions;
  if (request.value("sprig", false)) {
    functions = sprig({.random = &system_random()});
  }
  Options options;
  if (request.value("missing", "") == "error") {
    options.missing_key = MissingKey::kError;
  } else if (request.value("missing", "") == "zero") {
    options.missing_key = MissingKey::kZero;
  }
  std::string text = TRY(base64_decode(request.at("template").get<std::string>()));
  Template parsed = TRY(Template::parse("t", text, std::move(functions), options));
  return parsed.execute(TRY(decode(request.at("data"))));
}

void serve() {
  std::string line;
  while (std::getline(std::cin, line)) {
    Result<std::string> result = run(Json::parse(line));
    Json answer;
    if (result.ok()) {
      answer["output"] = base64_encode(*result);
    } else {
      answer["error"] = base64_encode(result.error().message);
      answer["limit"] = result.error().code == Code::kResourceExhausted;
    }
    fmt::print("{}\n", answer.dump());
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace steeple::gotemplate

int main() {
  steeple::gotemplate::serve();
  return 0;
}
