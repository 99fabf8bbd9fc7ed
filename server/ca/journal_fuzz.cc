// SPDX-License-Identifier: Apache-2.0

// Fuzz target: a journal row from the database. What parses must say the same after a round trip.

#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "server/ca/journal.h"

std::vector<std::string> steeple::fuzz_seeds() {
  google::protobuf::SetLogHandler(nullptr);
  server::JournalEntry x509{.slot_id = "A",
                            .issued_at = 1,
                            .not_after = 2,
                            .status = server::SlotStatus::kActive,
                            .authority_id = "aa",
                            .certificate = "der",
                            .upstream_chain = {"u"}};
  server::JournalEntry jwt{.slot_id = "B", .authority_id = "bb", .key_id = "k", .public_key = "p"};
  return {server::serialize_journal({.x509_cas = {x509, x509}, .jwt_keys = {jwt}, .wit_keys = {}})};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  auto entries = server::parse_journal({reinterpret_cast<const char*>(data), size});
  if (entries.ok()) {
    auto again = server::parse_journal(server::serialize_journal(*entries));
    CHECK(again.ok() && *again == *entries);
  }
  return 0;
}
