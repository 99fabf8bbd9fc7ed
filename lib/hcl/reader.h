// SPDX-License-Identifier: Apache-2.0

// The weak typing of schema.h, one Reader per member type. Part of schema.h; not included alone
// by users. `text` is the default as the documentation shows it.

#pragma once

#include "lib/hcl/schema.h"

namespace steeple::hcl::detail {

using Values = std::vector<const Value*>;

#define STEEPLE_HCL_READER(Type, Name)                                            \
  template <>                                                                     \
  struct Reader<Type> {                                                           \
    static constexpr std::string_view kType = Name;                               \
    static void read(Type& into, const Values& values, const KeyOptions& options, \
                     Context& context);                                           \
    static std::string text(const Type& value);                                   \
  };

using StringMap = std::map<std::string, std::string>;

STEEPLE_HCL_READER(std::string, "string")
STEEPLE_HCL_READER(bool, "bool")
STEEPLE_HCL_READER(int, "number")
STEEPLE_HCL_READER(std::int64_t, "number")
STEEPLE_HCL_READER(std::uint64_t, "number")
STEEPLE_HCL_READER(double, "number")
STEEPLE_HCL_READER(Duration, "duration")
STEEPLE_HCL_READER(std::vector<std::string>, "list of strings")
STEEPLE_HCL_READER(StringMap, "map of strings")
STEEPLE_HCL_READER(SecretBytes, "string")
STEEPLE_HCL_READER(Value, "any")

#undef STEEPLE_HCL_READER

template <class M>
struct Reader<std::optional<M>> {
  static constexpr std::string_view kType = Reader<M>::kType;
  static void read(std::optional<M>& into, const Values& values, const KeyOptions& options,
                   Context& context) {
    std::size_t before = context.report.errors.size();
    M value{};
    Reader<M>::read(value, values, options, context);
    if (context.report.errors.size() == before) {
      into = std::move(value);
    }
  }
  static std::string text(const std::optional<M>& value) {
    return value ? Reader<M>::text(*value) : std::string();
  }
};

}  // namespace steeple::hcl::detail
