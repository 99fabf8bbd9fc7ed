// SPDX-License-Identifier: Apache-2.0

// agent-data.json: what the agent keeps between runs, in SPIRE's format, both ways:
//   {"svid":[base64 of PEM, ...],"bundle":[...],"reattestable":false,"bootstrap_use":0,
//    "bootstrap_start_time":"0001-01-01T00:00:00Z","connection_attempts":0}
// AgentStore is the file behind the disk seam; its calls block (worker) and are thread safe.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/guarded.h"
#include "lib/base/result.h"
#include "lib/io/directory.h"

namespace steeple::agent {

inline constexpr std::string_view kAgentDataFile = "agent-data.json";
inline constexpr std::size_t kAgentDataBytesMax = std::size_t{16} << 20;

// bootstrap_use in SPIRE's numbers.
enum class BootstrapUse : int { kUnspecified = 0, kBootstrap = 1, kRebootstrap = 2 };

struct AgentData {
  std::vector<Bytes> svid;    // DER, leaf first
  std::vector<Bytes> bundle;  // DER, the trust domain's X.509 authorities
  bool reattestable = false;
  // Rebootstrapping is not built; its fields are carried along for SPIRE's agent.
  int bootstrap_use = 0;
  std::string bootstrap_start_time = "0001-01-01T00:00:00Z";
  int connection_attempts = 0;

  friend bool operator==(const AgentData&, const AgentData&) = default;
};

// Unknown members are ignored, as in the reference; wrong types and broken certificates are not.
Result<AgentData> parse_agent_data(std::string_view json);
std::string encode_agent_data(const AgentData& data);

class AgentStore {
 public:
  // A missing file is an empty store; a damaged one is an error and is left alone.
  static Result<std::shared_ptr<AgentStore>> open(std::shared_ptr<io::Directory> directory);
  AgentStore(std::shared_ptr<io::Directory> directory, AgentData data)
      : directory_(std::move(directory)), data_(std::move(data)) {}

  AgentData data() const;
  // Changes what is stored, durably before it answers; writes nothing when nothing changed.
  Result<void> update(const std::function<void(AgentData&)>& change);

 private:
  std::shared_ptr<io::Directory> directory_;
  // Held while writing, so that the file is always the newest state.
  mutable Guarded<AgentData> data_;
};

}  // namespace steeple::agent
