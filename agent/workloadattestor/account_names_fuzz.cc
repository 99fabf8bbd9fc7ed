// SPDX-License-Identifier: Apache-2.0

// Goal: no account file makes its reader misbehave.

#include "agent/workloadattestor/account_names.h"
#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:\n", "wheel:x:10:a,b\n+nis\n#c\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  steeple::ByteView input(reinterpret_cast<const char*>(data), size);
  for (const auto& [id, name] : steeple::agent::parse_account_file(input)) {
    CHECK(!name.empty() && name.find_first_of(":\n") == std::string::npos);
  }
  return 0;
}
