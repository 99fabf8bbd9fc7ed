// SPDX-License-Identifier: Apache-2.0

// The operator: calls the server's APIs over the admin socket, one call at a time, and writes down
// in the oracle what was asked and what was acknowledged. A call whose answer never came (the
// server was killed) is unknown until `reconcile` has read back what became of it. Runs between
// events; each call lets the simulation go on until its answer is there.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "lib/base/fake_random.h"
#include "lib/io/fake_network.h"
#include "lib/rpc/client.h"
#include "spire/api/types/agent.pb.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/trace.h"

namespace steeple::simulation {

class Operator {
 public:
  struct Deps {
    io::SimScheduler& scheduler;
    io::SimSwitch& wires;
    Oracle& oracle;
    Trace& trace;
  };

  Operator(std::uint64_t seed, Deps deps);
  ~Operator();

  // What happens in the middle of the next call.
  void during_next_call(std::function<void()> act) { during_ = std::move(act); }

  // False: the outcome is unknown.
  bool create(const std::string& id, EntryVersion version);
  bool update(const std::string& id, EntryVersion version);
  bool remove(const std::string& id);
  bool set_federated(Bytes root);
  // Fixed things of the start; must work.
  void create_group(const std::string& path, const std::set<std::size_t>& nodes);
  void create_node_alias(std::size_t node, const std::string& common_name);
  std::optional<std::string> create_token(std::size_t node);
  bool ban(const std::string& agent_id);
  bool evict(const std::string& agent_id);

  // Reads everything back: nothing acknowledged may be missing, nothing may be there that nobody
  // asked for. Settles what was unknown. False when the server did not answer.
  bool reconcile();
  // The server's bundle: it may only grow, and shrink by the rule of expiry.
  bool read_bundle(WallTime wall);
  std::optional<std::vector<spire::api::types::Agent>> agents();

  const std::set<Bytes>& published_roots() const { return all_roots_; }
  const std::set<std::string>& published_keys() const { return all_keys_; }
  std::uint64_t acknowledged() const { return acknowledged_; }

 private:
  std::optional<Bytes> call(const std::string& method, const std::string& request,
                            std::set<Code> allowed = {});
  SteadyTime now() const { return deps_.scheduler.clock().steady(); }
  bool put(const std::string& id, EntryVersion version, const char* method);
  void settle_entry(const std::string& id, const std::string& found);

  Deps deps_;
  SeededRandom random_;
  io::SimLoop loop_;
  std::unique_ptr<io::Network> network_;
  std::unique_ptr<rpc::Channel> channel_;
  std::function<void()> during_;
  std::map<Bytes, WallTime> roots_;       // DER and end, last seen
  std::map<std::string, WallTime> keys_;  // JWT
  std::set<Bytes> all_roots_;
  std::set<std::string> all_keys_;
  std::uint64_t acknowledged_ = 0;
};

}  // namespace steeple::simulation
