// SPDX-License-Identifier: Apache-2.0

// A SPIRE server in memory, as an agent sees one: attestation by join token (with or without a
// challenge), renewal, authorized entries by both RPCs, bundles, X509- and JWT-SVIDs, push. It
// keeps the server's rules about which of an agent's serial numbers is valid, and counts its calls.
// For tests on simulated loops and networks; on the loop.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/base/fake_random.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/io/workers.h"
#include "lib/jose/bundle.h"
#include "lib/rpc/server.h"
#include "lib/tls/handshake.h"
#include "lib/x509/fake_authority.h"
#include "spire/api/types/entry.pb.h"

namespace steeple::agent {

class FakeServer {
 public:
  struct Options {
    bool push = true;
    bool sync_rpc = true;
    bool post_status = true;
    bool reattestable = false;
    bool on_workers = false;  // unary calls wait for a worker
    bool challenge = false;   // AttestAgent asks "?" and wants "!"
    std::size_t page = 500;   // entries in one message; more come as revisions
    Duration agent_ttl = std::chrono::hours(1);
    Duration svid_ttl = std::chrono::hours(1);
    Duration jwt_ttl = std::chrono::minutes(5);
  };
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    io::Network& network;
    tls::Handshake& handshake;
    Random& random;
  };

  FakeServer(Options options, Deps deps);
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  // Opens and closes its port (8081 on its host).
  void listen();
  void close();

  // --- what operators do ---
  void add_join_token(const std::string& token) { tokens_.insert(token); }
  // The revision counts up. Selectors are of the type "unix", or of the one that stands before a
  // '/': "k8s/ns:default".
  void put_entry(const std::string& id, const std::string& path,
                 const std::vector<std::string>& selectors);
  void put_entry(spire::api::types::Entry entry);
  void remove_entry(const std::string& id);
  void set_federated(const std::string& domain, x509::FakeAuthority& authority);
  void ban() { banned_ = true; }
  void evict() { attested_ = false; }
  // A new CA signs from now on; the old one stays in the bundle.
  void rotate_ca();
  void taint_old_ca();
  void rotate_jwt_key();
  void taint_old_jwt_key();

  // --- how it fails ---
  std::optional<Error> svid_error;        // of BatchNewX509SVID as a whole
  std::set<std::string> refused_entries;  // of single entries
  std::optional<Error> jwt_error;
  std::optional<Error> sync_error;
  bool overtake_renewals = false;  // a renewal of before is carried out after the answer
  bool forget_renewals = false;    // RenewAgent works, its answer is lost

  struct Calls {
    int attest = 0, renew = 0, sync = 0, get_entries = 0, bundle = 0, batch = 0, jwt = 0, push = 0,
        post_status = 0;
    std::size_t svids = 0;
    std::size_t batch_largest = 0;
    std::size_t full_entries = 0;  // sent
  };
  Calls calls;
  Options options;
  x509::FakeAuthority& authority() { return authorities_.back(); }
  const std::string& agent_id() const { return agent_id_; }

 private:
  class Impl;
  friend class Impl;
  void changed(bool entries, bool bundles);

  Deps deps_;
  spiffe::TrustDomain domain_;
  std::vector<x509::FakeAuthority> authorities_;  // the last one signs
  std::set<Bytes> tainted_;                       // DER
  struct JwtKey {
    std::string id;
    std::shared_ptr<const crypto::PrivateKey> key;
    bool tainted = false;
  };
  std::vector<JwtKey> jwt_keys_;
  std::uint64_t sequence_ = 1;
  std::map<std::string, spire::api::types::Entry> entries_;
  std::map<std::string, Bytes> federated_;
  std::set<std::string> tokens_;
  std::string agent_id_;
  bool attested_ = false;
  bool banned_ = false;
  Bytes serial_, new_serial_;
  std::uint64_t revision_ = 1;
  std::string instance_;
  std::shared_ptr<Impl> handlers_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<io::Listener> listener_;
  std::shared_ptr<const tls::ServerPolicy> policy_;
  std::vector<std::shared_ptr<rpc::ServerStream>> watchers_;
};

}  // namespace steeple::agent
