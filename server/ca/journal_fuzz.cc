// SPDX-License-Identifier: Apache-2.0

// Fuzz target: a journal row from the database. What parses must say the same after a round trip.

#include <cstddef>
#include <cstdint>

#include "lib/base/check.h"
#include "server/ca/journal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  auto entries = server::parse_journal({reinterpret_cast<const char*>(data), size});
  if (entries.ok()) {
    auto again = server::parse_journal(server::serialize_journal(*entries));
    CHECK(again.ok() && *again == *entries);
  }
  return 0;
}
