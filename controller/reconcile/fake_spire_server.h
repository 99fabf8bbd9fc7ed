// SPDX-License-Identifier: Apache-2.0

// The entry, bundle, SVID and trust domain APIs of a SPIRE server in memory, on a real RPC server:
// what the controller manager sees of one. It can refuse, forget, lose answers and be edited behind
// the controller's back, and it counts its calls. For tests; on the loop.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/reconcile/entry.h"
#include "lib/base/fake_random.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/rpc/server.h"
#include "spire/api/types/federationrelationship.pb.h"

namespace steeple::controller {

class FakeSpireServer {
 public:
  struct Calls {
    int list = 0, count = 0, create = 0, update = 0, remove = 0, bundles = 0, relationships = 0;
    std::size_t created = 0, updated = 0, removed = 0;
  };

  FakeSpireServer(io::SimScheduler& scheduler, io::Network& network, std::string path);
  ~FakeSpireServer();
  FakeSpireServer(const FakeSpireServer&) = delete;
  FakeSpireServer& operator=(const FakeSpireServer&) = delete;

  void open();
  void close();

  // Adds an entry as an operator would; the id is made up unless it has one.
  std::string add(Entry entry);
  static Entry entry(const std::string& id_path, const std::string& parent_path,
                     const std::vector<std::string>& selectors);
  // Those with this SPIFFE ID path.
  std::vector<Entry> with_path(const std::string& path) const;

  std::map<std::string, Entry> entries;  // by id
  std::set<std::string> bundles;         // federated trust domains that have one
  std::map<std::string, ::spire::api::types::FederationRelationship> relationships;
  Calls calls;

  // --- how it fails ---
  std::function<std::optional<Error>(const Entry&)> refuse;  // a single create or update
  std::optional<Error> fail_writes;                          // whole calls
  bool lose_answers = false;                                 // writes happen, their answers do not
  bool forget_hints = false;  // an old server that does not know the field
  bool trust_domain_api = true;
  std::function<Result<Bytes>(const Bytes& csr)> mint;  // DER of the leaf
  std::vector<Bytes> authorities;                       // DER

 private:
  class Impl;

  io::SimLoop loop_;
  io::SimWorkers workers_;
  SeededRandom random_{7};
  io::Network& network_;
  const std::string path_;
  std::uint64_t next_id_ = 1;
  std::unique_ptr<Impl> impl_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<io::Listener> listener_;
};

}  // namespace steeple::controller
