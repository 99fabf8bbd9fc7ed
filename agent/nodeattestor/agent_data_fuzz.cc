// SPDX-License-Identifier: Apache-2.0

// agent-data.json as an attacker of the disk might leave it: never a crash, and whatever is
// accepted survives being written and read again.

#include "agent/nodeattestor/agent_data.h"
#include "lib/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  auto parsed = agent::parse_agent_data({reinterpret_cast<const char*>(data), size});
  if (parsed.ok()) {
    auto again = agent::parse_agent_data(agent::encode_agent_data(*parsed));
    CHECK(again.ok());
    CHECK(again->svid == parsed->svid && again->bundle == parsed->bundle);
  }
  return 0;
}
