// SPDX-License-Identifier: Apache-2.0

#include "lib/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace steeple {

void check_failed(std::string_view what, std::string_view detail, std::source_location where) {
  std::fprintf(stderr, "%s:%u: CHECK failed: %.*s %.*s\n", where.file_name(), where.line(),
               static_cast<int>(what.size()), what.data(), static_cast<int>(detail.size()),
               detail.data());
  std::abort();
}

}  // namespace steeple
