// SPDX-License-Identifier: Apache-2.0

// sprig's functions of dictionaries. `set`, `unset` and the merges write to their first map; the
// data of the caller is a copy then. Where Go's order is random (keys, values), ours is by key.

#include <fmt/format.h>

#include "lib/gotemplate/sprig_parts.h"
#include "lib/gotemplate/template.h"

namespace steeple::gotemplate {

namespace {

using Arguments = std::span<const Value>;
using Map = Value::Map;

Result<Value> dict(Arguments a, Budget& budget) {
  Map entries;
  for (std::size_t i = 0; i < a.size(); i += 2) {
    entries.insert_or_assign(TRY(sprig_text(a[i])), i + 1 < a.size() ? a[i + 1] : Value(""));
  }
  TRY(budget.spend(a.size()));
  return budget.keep(Value::map(std::move(entries)));
}

Result<Value> get(Arguments a, Budget&) {
  auto found = a[0].entries().find(a[1].text());
  return (found == a[0].entries().end() ? Value("") : found->second).in_interface();
}

Result<Value> set(Arguments a, Budget& budget) {
  auto entries = a[0].shared_entries();
  if (entries == nullptr) {
    return invalid_argument("assignment to entry in nil map");
  }
  TRY(budget.spend(1));
  entries->insert_or_assign(a[1].text(), a[2].in_interface());
  return a[0];
}

Result<Value> unset(Arguments a, Budget&) {
  if (auto entries = a[0].shared_entries()) {
    entries->erase(a[1].text());
  }
  return a[0];
}

Result<Value> has_key(Arguments a, Budget&) { return Value(a[0].entries().contains(a[1].text())); }

Result<Value> pluck(Arguments a, Budget& budget) {
  Value::List found;
  for (const Value& map : a.subspan(1)) {
    if (auto entry = map.entries().find(a[0].text()); entry != map.entries().end()) {
      found.push_back(entry->second);
    }
  }
  return budget.keep(Value::list(std::move(found)));
}

Result<Value> keys(Arguments a, Budget& budget) {
  std::vector<std::string> names;
  for (const Value& map : a) {
    TRY(budget.spend(map.entries().size()));
    for (const auto& [key, entry] : map.entries()) {
      names.push_back(key);
    }
  }
  return budget.keep(Value::strings(names));
}

Result<Value> values(Arguments a, Budget& budget) {
  Value::List found;
  TRY(budget.spend(a[0].entries().size()));
  for (const auto& [key, entry] : a[0].entries()) {
    found.push_back(entry);
  }
  return budget.keep(Value::list(std::move(found)));
}

Result<Value> filtered(Arguments a, Budget& budget, bool keep_named) {
  Map entries;
  TRY(budget.spend(a[0].entries().size() * a.size()));
  for (const auto& [key, entry] : a[0].entries()) {
    bool named = std::any_of(a.begin() + 1, a.end(),
                             [&key = key](const Value& name) { return name.text() == key; });
    if (named == keep_named) {
      entries.emplace(key, entry);
    }
  }
  return budget.keep(Value::map(std::move(entries)));
}

// Fills what is missing or empty in `into`, or with `overwrite` takes what is not empty; maps
// within maps are merged in turn.
Result<void> merge_maps(Map& into, const Map& from, bool overwrite, Budget& budget, int depth) {
  if (depth > kValueDepthMax) {
    return resource_exhausted("maps nested too deeply to merge");
  }
  const Map source = from;  // may be the same map
  for (const auto& [key, entry] : source) {
    TRY(budget.spend(1));
    auto old = into.find(key);
    if (!entry.from_interface().valid()) {
      if (overwrite) {
        into.insert_or_assign(key, entry);
      }
      continue;
    }
    bool missing = old == into.end();
    if (!missing && entry.dynamic_kind() == Kind::kMap &&
        old->second.dynamic_kind() == Kind::kMap && old->second.shared_entries() != nullptr) {
      TRY(merge_maps(*old->second.shared_entries(), entry.entries(), overwrite, budget, depth + 1));
      if (!sprig_empty(old->second)) {
        continue;
      }
    }
    if (missing || overwrite || sprig_empty(old->second)) {
      into.insert_or_assign(key, entry);
    }
  }
  return {};
}

Result<Value> merge(Arguments a, Budget& budget, bool overwrite) {
  auto into = a[0].shared_entries();
  if (into == nullptr) {
    return invalid_argument("assignment to entry in nil map");
  }
  for (const Value& source : a.subspan(1)) {
    TRY(merge_maps(*into, source.entries(), overwrite, budget, 0));
  }
  return a[0].in_interface();
}

Result<Value> dig(Arguments a, Budget&) {
  if (a.size() < 3) {
    return invalid_argument("dig needs at least three arguments");
  }
  Value step = a.back();
  for (const Value& key : a.first(a.size() - 2)) {
    if (!step.from_interface().valid() || step.dynamic_kind() != Kind::kMap ||
        step.type()->name != "map[string]interface {}") {
      Value inner = step.from_interface();
      return invalid_argument(
          fmt::format("interface conversion: interface {{}} is {}, not map[string]interface {{}}",
                      inner.valid() ? inner.type_name() : "nil"));
    }
    if (key.dynamic_kind() != Kind::kString || key.type_name() != "string") {
      return invalid_argument(fmt::format("interface conversion: interface {{}} is {}, not string",
                                          key.valid() ? key.type_name() : "nil"));
    }
    auto found = step.entries().find(key.text());
    if (found == step.entries().end()) {
      return a[a.size() - 2].in_interface();
    }
    Value next = found->second;
    step = std::move(next);
  }
  return step.in_interface();
}

Function writing(std::string_view signature, Call call) {
  Function function = sprig_function(signature, std::move(call));
  function.writes = true;
  return function;
}

}  // namespace

void add_sprig_maps(Functions& table) {
  table["dict"] = sprig_function("a+", dict);
  table["get"] = sprig_function("ms", get);
  table["set"] = writing("msa", set);
  table["unset"] = writing("ms", unset);
  table["hasKey"] = sprig_function("ms", has_key);
  table["pluck"] = sprig_function("sm+", pluck);
  table["keys"] = sprig_function("m+", keys);
  table["values"] = sprig_function("m", values);
  table["pick"] =
      sprig_function("ms+", [](Arguments a, Budget& budget) { return filtered(a, budget, true); });
  table["omit"] =
      sprig_function("ms+", [](Arguments a, Budget& budget) { return filtered(a, budget, false); });
  for (bool overwrite : {false, true}) {
    Function function = writing(
        "mm+", [overwrite](Arguments a, Budget& budget) { return merge(a, budget, overwrite); });
    table[overwrite ? "mergeOverwrite" : "merge"] = function;
    table[overwrite ? "mustMergeOverwrite" : "mustMerge"] = std::move(function);
  }
  table["dig"] = sprig_function("a+", dig);
}

}  // namespace steeple::gotemplate
