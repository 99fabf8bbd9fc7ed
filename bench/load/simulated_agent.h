// SPDX-License-Identifier: Apache-2.0

// The other side of the server's agent API: join tokens and entries through the admin socket, then
// agents that attest over TLS and keep the identity they were given. Many live in one process, on
// one loop.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/load/world.h"
#include "lib/crypto/private_key.h"
#include "lib/x509/verify.h"
#include "spire/api/server/entry/v1/entry.pb.h"

namespace steeple::bench {

// The server as its operator sees it.
class Admin {
 public:
  Admin(World& world, const std::string& socket, const std::string& trust_domain);

  rpc::Channel& channel() { return *channel_; }
  const spiffe::TrustDomain& trust_domain() const { return trust_domain_; }
  x509::AuthoritiesPtr bundle();
  std::string join_token();
  // One request with `count` entries "/PREFIX/service-N", each with its own selector.
  spire::api::server::entry::v1::BatchCreateEntryRequest batch(const std::string& prefix,
                                                               const std::string& parent_path,
                                                               int first, int count) const;
  // Sends it, checks every result and gives the ids.
  std::vector<std::string> create(
      const spire::api::server::entry::v1::BatchCreateEntryRequest& request);

 private:
  World& world_;
  spiffe::TrustDomain trust_domain_;
  std::unique_ptr<rpc::Channel> channel_;
};

// Where agents find their server and how they know it.
struct ServerSide {
  io::Endpoint address;
  spiffe::TrustDomain trust_domain;
  x509::AuthoritiesPtr bundle;

  std::shared_ptr<const tls::ClientPolicy> policy(std::shared_ptr<const tls::Identity> own) const;
};

class SimulatedAgent {
 public:
  SimulatedAgent(std::string token, Bytes csr, std::shared_ptr<const crypto::PrivateKey> key)
      : token_(std::move(token)), csr_(std::move(csr)), key_(std::move(key)) {}

  // Connects without a certificate, sends token and CSR, closes once the SVID is here.
  void attest(World& world, const ServerSide& server, Done done);
  std::string path() const { return "/spire/agent/join_token/" + token_; }
  // With the identity got by `attest`; stays open.
  rpc::Channel& channel(World& world, const ServerSide& server);

 private:
  std::string token_;
  Bytes csr_;
  std::shared_ptr<const crypto::PrivateKey> key_;
  std::shared_ptr<const tls::Identity> identity_;
  std::unique_ptr<rpc::Channel> channel_;
  std::unique_ptr<rpc::ClientCall> call_;
};

}  // namespace steeple::bench
