// SPDX-License-Identifier: Apache-2.0

// Result<T>: a value or an Error, and dropping one is a compile error. TRY(x) unwraps or returns
// the error of the enclosing function; `.during("load key")` adds context on the way up.
// TRY is a statement expression: never use it inside a lambda's capture list or a coroutine.

#pragma once

#include <expected>
#include <string_view>
#include <type_traits>
#include <utility>

#include "lib/base/check.h"
#include "lib/base/error.h"

namespace steeple {

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
  using Base = std::expected<T, Error>;

 public:
  using Base::Base;
  Result()
    requires std::is_default_constructible_v<T> || std::is_void_v<T>
  = default;
  Result(Error error) : Base(std::unexpect, std::move(error)) {}

  bool ok() const { return this->has_value(); }
  Result during(std::string_view doing) && {
    if (!this->has_value()) {
      this->error() = std::move(this->error()).during(doing);
    }
    return std::move(*this);
  }
  // The value; CHECKs that there is one.
  T take() && {
    if (!this->has_value()) [[unlikely]] {
      check_failed("take() of an error", this->error().message);
    }
    return std::move(**this);
  }
};

template <>
class [[nodiscard]] Result<void> : public std::expected<void, Error> {
  using Base = std::expected<void, Error>;

 public:
  using Base::Base;
  Result() = default;
  Result(Error error) : Base(std::unexpect, std::move(error)) {}

  bool ok() const { return has_value(); }
  Result during(std::string_view doing) && {
    if (!has_value()) {
      error() = std::move(error()).during(doing);
    }
    return std::move(*this);
  }
  void take() && {
    if (!has_value()) [[unlikely]] {
      check_failed("take() of an error", error().message);
    }
  }
};

}  // namespace steeple

// The value of a Result, or return its error from this function. May be nested, and stand among the
// arguments of a call, but not inside the braces of an initialiser: g++ 12 does not destroy the
// members before it (tools/tidy.py finds such).
#define TRY(...) STEEPLE_TRY_NUMBERED(__COUNTER__, __VA_ARGS__)
#define STEEPLE_TRY_NUMBERED(number, ...) STEEPLE_TRY_NAMED(number, __VA_ARGS__)
#define STEEPLE_TRY_NAMED(number, ...)            \
  __extension__({                                 \
    auto&& try_##number = (__VA_ARGS__);          \
    if (!try_##number.has_value()) [[unlikely]] { \
      return std::move(try_##number).error();     \
    }                                             \
    std::move(try_##number).take();               \
  })
