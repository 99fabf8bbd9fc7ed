// SPDX-License-Identifier: Apache-2.0

// sprig's functions of lists. Each makes a new list.

#include <fmt/format.h>

#include "lib/gotemplate/compare.h"
#include "lib/gotemplate/sprig_parts.h"

namespace steeple::gotemplate {

namespace {

using Arguments = std::span<const Value>;
using List = Value::List;

std::string_view kind_name(const Value& value) {
  switch (value.dynamic_kind()) {
    case Kind::kBool:
      return "bool";
    case Kind::kString:
      return "string";
    case Kind::kMap:
      return "map";
    case Kind::kPointer:
      return "ptr";
    case Kind::kStruct:
      return "struct";
    default:
      return value.valid() ? value.type_name() : std::string_view("invalid");
  }
}

// The items, or sprig's error, in which `doing` names the function.
Result<const List*> items_of(const Value& value, std::string_view doing) {
  if (value.dynamic_kind() == Kind::kList) {
    return &value.items();
  }
  if (!value.valid()) {
    return invalid_argument("runtime error: invalid memory address or nil pointer dereference");
  }
  return invalid_argument(fmt::format("{} {}", doing, kind_name(value)));
}

Result<Value> kept(Budget& budget, List items) {
  TRY(budget.spend(items.size()));
  return budget.keep(Value::list(std::move(items)));
}

Value nil_list() { return Value::nil_of(types::list_of_any()); }

Result<bool> contains(const List& items, const Value& needle, Budget& budget) {
  for (const Value& item : items) {
    if (TRY(deep_equal(needle, item, budget))) {
      return true;
    }
  }
  return false;
}

Result<Value> push(Arguments a, Budget& budget) {
  List items = *TRY(items_of(a[0], "Cannot push on type"));
  items.push_back(a[1]);
  return kept(budget, std::move(items));
}

Result<Value> prepend(Arguments a, Budget& budget) {
  List items = *TRY(items_of(a[0], "Cannot prepend on type"));
  items.insert(items.begin(), a[1]);
  return kept(budget, std::move(items));
}

Result<Value> first(Arguments a, Budget&) {
  const List& items = *TRY(items_of(a[0], "Cannot find first on type"));
  return (items.empty() ? Value() : items.front()).in_interface();
}

Result<Value> last(Arguments a, Budget&) {
  const List& items = *TRY(items_of(a[0], "Cannot find last on type"));
  return (items.empty() ? Value() : items.back()).in_interface();
}

Result<Value> rest(Arguments a, Budget& budget) {
  const List& items = *TRY(items_of(a[0], "Cannot find rest on type"));
  return items.empty() ? Result<Value>(nil_list())
                       : kept(budget, List(items.begin() + 1, items.end()));
}

Result<Value> initial(Arguments a, Budget& budget) {
  const List& items = *TRY(items_of(a[0], "Cannot find initial on type"));
  return items.empty() ? Result<Value>(nil_list())
                       : kept(budget, List(items.begin(), items.end() - 1));
}

Result<Value> reverse(Arguments a, Budget& budget) {
  const List& items = *TRY(items_of(a[0], "Cannot find reverse on type"));
  return kept(budget, List(items.rbegin(), items.rend()));
}

Result<Value> compact(Arguments a, Budget& budget) {
  List result;
  for (const Value& item : *TRY(items_of(a[0], "Cannot compact on type"))) {
    if (!sprig_empty(item)) {
      result.push_back(item);
    }
  }
  return kept(budget, std::move(result));
}

Result<Value> uniq(Arguments a, Budget& budget) {
  List result;
  for (const Value& item : *TRY(items_of(a[0], "Cannot find uniq on type"))) {
    if (!TRY(contains(result, item, budget))) {
      result.push_back(item);
    }
  }
  return kept(budget, std::move(result));
}

Result<Value> without(Arguments a, Budget& budget) {
  List omitted(a.begin() + 1, a.end());
  List result;
  for (const Value& item : *TRY(items_of(a[0], "Cannot find without on type"))) {
    if (!TRY(contains(omitted, item, budget))) {
      result.push_back(item);
    }
  }
  return kept(budget, std::move(result));
}

Result<Value> has(Arguments a, Budget& budget) {
  if (!a[1].valid()) {
    return Value(false);
  }
  return Value(TRY(contains(*TRY(items_of(a[1], "Cannot find has on type")), a[0], budget)));
}

Result<Value> slice(Arguments a, Budget& budget) {
  const List& items = *TRY(items_of(a[0], "list should be type of slice or array but"));
  if (items.empty()) {
    return Value::nil_interface();
  }
  auto size = static_cast<std::int64_t>(items.size());
  std::int64_t from = a.size() > 1 ? sprig_int(a[1]) : 0;
  std::int64_t to = a.size() > 2 ? sprig_int(a[2]) : size;
  if (from < 0 || to > size || from > to) {
    return invalid_argument("reflect.Value.Slice: slice index out of bounds");
  }
  TRY(budget.spend(static_cast<std::size_t>(to - from)));
  return budget.keep(Value::list(List(items.begin() + from, items.begin() + to), a[0].type()));
}

Result<Value> concat(Arguments a, Budget& budget) {
  List result;
  for (const Value& list : a) {
    if (list.valid() && list.dynamic_kind() != Kind::kList) {
      return invalid_argument(fmt::format("Cannot concat type {} as list", kind_name(list)));
    }
    const List& items = *TRY(items_of(list, "Cannot concat type"));
    TRY(budget.spend(items.size()));
    result.insert(result.end(), items.begin(), items.end());
  }
  return a.empty() || result.empty() ? Result<Value>(nil_list()) : kept(budget, std::move(result));
}

Result<Value> chunk(Arguments a, Budget& budget) {
  static const TypeRef type = types::list_of(types::list_of_any());
  const List& items = *TRY(items_of(a[1], "Cannot chunk type"));
  std::int64_t size = a[0].integer();
  if (size <= 0) {
    return invalid_argument("runtime error: makeslice: len out of range");
  }
  List chunks;
  auto step = static_cast<std::size_t>(size);
  for (std::size_t at = 0; at < items.size(); at += std::min(step, items.size())) {
    auto begin = items.begin() + static_cast<std::ptrdiff_t>(at);
    auto count = static_cast<std::ptrdiff_t>(std::min(step, items.size() - at));
    chunks.push_back(TRY(kept(budget, List(begin, begin + count))));
  }
  return budget.keep(Value::list(std::move(chunks), type));
}

Result<Value> sort_alpha(Arguments a, Budget& budget) {
  std::vector<std::string> texts = TRY(sprig_texts(a[0]));
  TRY(budget.spend(texts.size() * 8));
  std::sort(texts.begin(), texts.end());
  return budget.keep(Value::strings(texts));
}

}  // namespace

void add_sprig_lists(Functions& table) {
  Function list = sprig_function(
      "a+", [](Arguments a, Budget& budget) { return kept(budget, List(a.begin(), a.end())); });
  table["list"] = list;
  table["tuple"] = list;
  auto both = [&](std::string_view name, std::string_view signature, Call call) {
    Function function = sprig_function(signature, std::move(call));
    std::string must = "must" + std::string(name);
    must[4] = static_cast<char>(must[4] - 'a' + 'A');
    table[must] = function;
    table[std::string(name)] = std::move(function);
  };
  both("append", "aa", push);
  both("push", "aa", push);
  both("prepend", "aa", prepend);
  both("first", "a", first);
  both("last", "a", last);
  both("rest", "a", rest);
  both("initial", "a", initial);
  both("reverse", "a", reverse);
  both("compact", "a", compact);
  both("uniq", "a", uniq);
  both("without", "aa+", without);
  both("has", "aa", has);
  both("slice", "aa+", slice);
  both("chunk", "ia", chunk);
  table["concat"] = sprig_function("a+", concat);
  table["sortAlpha"] = sprig_function("a", sort_alpha);
}

}  // namespace steeple::gotemplate
