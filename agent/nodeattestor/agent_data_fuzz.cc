// SPDX-License-Identifier: Apache-2.0

// agent-data.json as an attacker of the disk might leave it: never a crash, and whatever is
// accepted survives being written and read again.

#include "agent/nodeattestor/agent_data.h"
#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/x509/fake_authority.h"

std::vector<std::string> steeple::fuzz_seeds() {
  const WallTime now = from_unix_seconds(1'893'456'000);
  x509::FakeAuthority authority("example.org", now);
  agent::AgentData data;
  data.svid = authority.issue("/spire/agent/x", now).chain;
  data.bundle = {authority.certificate()->der()};
  data.reattestable = true;
  return {agent::encode_agent_data({}), agent::encode_agent_data(data)};
}

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
