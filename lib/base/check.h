// SPDX-License-Identifier: Apache-2.0

// CHECK(x): x is true or we have a bug, and the process stops with file and line. Never for input.

#pragma once

#include <source_location>
#include <string_view>

namespace steeple {

[[noreturn]] void check_failed(std::string_view what, std::string_view detail = {},
                               std::source_location where = std::source_location::current());

}  // namespace steeple

#define CHECK(...)                           \
  do {                                       \
    if (!(__VA_ARGS__)) [[unlikely]] {       \
      ::steeple::check_failed(#__VA_ARGS__); \
    }                                        \
  } while (false)
