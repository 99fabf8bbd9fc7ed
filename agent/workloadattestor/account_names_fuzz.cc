// SPDX-License-Identifier: Apache-2.0

// Goal: no account file makes its reader misbehave.

#include "agent/workloadattestor/account_names.h"
#include "lib/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  steeple::ByteView input(reinterpret_cast<const char*>(data), size);
  for (const auto& [id, name] : steeple::agent::parse_account_file(input)) {
    CHECK(!name.empty() && name.find_first_of(":\n") == std::string::npos);
  }
  return 0;
}
