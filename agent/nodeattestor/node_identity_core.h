// SPDX-License-Identifier: Apache-2.0

// The inside of NodeIdentity: node_identity_start.cc finds or makes the first SVID,
// node_identity_renew.cc keeps it fresh and answers denials.
//
// A new SVID is stored before it is used: the first connection that presents it makes the server
// forget the old one, so a crash in between must not leave us with the old one on disk.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/config/backoff.h"
#include "agent/nodeattestor/attestation.h"
#include "agent/nodeattestor/bootstrap.h"
#include "agent/nodeattestor/node_identity.h"
#include "lib/telemetry/metrics.h"

namespace steeple::agent {

inline constexpr auto kAttestRetryFirst = std::chrono::seconds(5);
// While the server cannot be reached: both often start at the same time.
inline constexpr auto kReachRetryFirst = std::chrono::milliseconds(500);
inline constexpr auto kAttestRetryMax = std::chrono::seconds(30);
inline constexpr auto kAttestRetryTotal = std::chrono::minutes(1);
inline constexpr auto kRenewRetryFirst = std::chrono::seconds(5);
inline constexpr auto kRenewRetryMax = std::chrono::minutes(2);
// The wall clock may jump: the renewal time is looked at again at least this often.
inline constexpr auto kRenewCheckMax = std::chrono::minutes(1);
inline constexpr auto kRenewTimeout = std::chrono::seconds(30);

class NodeIdentity::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Options options, Deps deps);

  void start(std::move_only_function<void(Result<void>)> ready);
  AgentSvidPtr svid() const { return svid_; }
  rpc::Channel& channel();
  void set_bundle(const std::vector<Bytes>& authorities);
  x509::AuthoritiesPtr authorities() const { return authorities_; }
  void taint(const std::vector<Bytes>& subject_key_ids);
  bool handle_denial(const Error& error);
  Watch<AgentSvid>::Subscription changed(Watch<AgentSvid>::Callback callback) const {
    return watch_.subscribe(std::move(callback));
  }

 private:
  // What the disk and the configuration give at start.
  struct Stored {
    std::vector<x509::CertificatePtr> svid;  // empty: none
    std::shared_ptr<const crypto::PrivateKey> key;
    std::string key_id;
    bool reattestable = false;
    bool any_key = false;
    std::optional<std::vector<Bytes>> bundle;  // nothing: insecure bootstrap
  };
  struct NewKey {
    std::string id;
    std::shared_ptr<const crypto::PrivateKey> key;
    Bytes csr;
  };

  // --- start ---
  void try_to_start();
  void started(Result<Stored> stored);
  bool usable(const Stored& stored);
  void attest_first(const Stored& stored);
  void first_failed(Error error);
  void ready(Result<void> result);

  // --- attesting and adopting ---
  // The slot that `present` is not in.
  static std::string other_slot(const std::string& present);
  static Result<NewKey> make_key(keymanager::KeyManager& keys, const std::string& id);
  void attest(NewKey key, std::move_only_function<void(Result<Attested>)> done);
  static Result<AgentSvidPtr> make_svid(const std::vector<Bytes>& chain,
                                        const std::shared_ptr<const crypto::PrivateKey>& key,
                                        std::string key_id, bool reattestable,
                                        const spiffe::TrustDomain& domain);
  // Stores, then uses.
  void adopt(AgentSvidPtr svid, std::move_only_function<void(Result<void>)> done);
  void use(AgentSvidPtr svid);
  void trust(const std::vector<Bytes>& authorities);
  void store_bundle();
  std::shared_ptr<const tls::ClientPolicy> policy(bool with_identity, bool insecure);

  // --- renewal ---
  void schedule_renewal();
  void check_renewal();
  void renew();
  void reattest(const std::string& key_id);
  void renew_by_rpc(const std::string& key_id);
  void renewed(Result<AgentSvidPtr> svid);
  void report_bootstrap(bool done);
  void renewal_failed(const Error& error);
  bool fall_back(const Error& error);
  void give_up(Error error);

  Options options_;
  Deps deps_;
  std::vector<Bytes> bundle_;
  x509::AuthoritiesPtr authorities_;
  AgentSvidPtr svid_;
  // The one before, while it may be the one that the server still counts with.
  AgentSvidPtr previous_;
  bool falling_back_ = false;
  Watch<AgentSvid> watch_;
  std::unique_ptr<rpc::Channel> channel_;

  std::move_only_function<void(Result<void>)> ready_;
  int attempts_ = 0;
  std::optional<CallCounter> renewal_;  // of the renewal under way
  SteadyTime first_attempt_{};
  WallTime first_attempt_wall_{};
  Backoff attest_backoff_{kAttestRetryFirst, kAttestRetryMax};
  Backoff reach_backoff_{kReachRetryFirst, kAttestRetryMax};
  std::unique_ptr<Attestation> attestation_;

  WallTime renew_at_{};
  bool renewing_ = false;
  bool must_reattest_ = false;  // the server said so
  bool tainted_ = false;
  Backoff renew_backoff_{kRenewRetryFirst, kRenewRetryMax};
  std::unique_ptr<rpc::ClientCall> renew_call_;
  bool storing_bundle_ = false;
  bool bundle_changed_ = false;
  bool stopped_ = false;
  io::Timer timer_;
};

}  // namespace steeple::agent
