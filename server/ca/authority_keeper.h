// SPDX-License-Identifier: Apache-2.0

// Keeps the server's authorities alive: loads the journal, prepares and activates X.509 CAs and JWT
// keys in time (rotation.h), publishes them in the bundle before their first use, follows the
// upstream's roots, prunes bundle and journals, and carries out forced rotation. The keeper has no
// thread and no timer: `tick` does what is due, on a worker, every kTickInterval; a simulation
// calls it as it likes.
//
// Threads: any; operations that change something run one after the other and block (datastore,
// key manager, upstream). `states` and `health` never wait for them.

#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/guarded.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/base/watch.h"
#include "lib/crypto/key_type.h"
#include "lib/jose/bundle.h"
#include "lib/keymanager/keymanager.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "server/ca/ca.h"
#include "server/ca/upstream_authority.h"
#include "server/datastore/datastore.h"

namespace steeple::server {

// What the LocalAuthority API tells of one authority.
struct AuthorityState {
  std::string authority_id;
  std::string upstream_authority_id = {};
  WallTime expires_at{};
};

struct AuthorityStates {
  std::optional<AuthorityState> active, prepared, old;
};

class AuthorityKeeper {
 public:
  static constexpr auto kTickInterval = std::chrono::seconds(10);
  static constexpr auto kPruneBundleInterval = std::chrono::hours(6);
  static constexpr auto kPruneJournalsInterval = std::chrono::hours(8);
  static constexpr auto kBundleSafety = std::chrono::hours(24);        // kept after expiry
  static constexpr auto kJournalSafety = std::chrono::hours(14 * 24);  // kept after expiry
  static constexpr std::uint64_t kFailedRotationsMax = 10;             // more: not healthy

  struct Options {
    crypto::KeyType ca_key_type = crypto::KeyType::kEcP256;
    crypto::KeyType jwt_key_type = crypto::KeyType::kEcP256;
    bool disable_jwt_svids = false;
  };
  struct Deps {
    Clock& clock;
    Random& random;
    Datastore& datastore;
    keymanager::KeyManager& keys;
    UpstreamAuthority* upstream = nullptr;  // null: self-signed CAs
    Ca& ca;
    Logger log;
    Metrics& metrics;
  };

  // Refuses a database of another trust domain, loads the journal and takes over what is valid, so
  // that `ca` can sign again at once. Follow with a first `tick`, whose error stops the start.
  static Result<std::unique_ptr<AuthorityKeeper>> open(Options options, Deps deps);
  ~AuthorityKeeper();
  AuthorityKeeper(const AuthorityKeeper&) = delete;
  AuthorityKeeper& operator=(const AuthorityKeeper&) = delete;

  // Everything that is due. An error was logged already; the authorities in use stay.
  Result<void> tick();

  // kUnavailable after more than kFailedRotationsMax failures in a row.
  Result<void> health() const;

  bool jwt_svids_disabled() const { return options_.disable_jwt_svids; }
  bool has_upstream() const { return deps_.upstream != nullptr; }

  // --- forced rotation (surface 5.4), with the reference's codes and texts ----------------------
  Result<AuthorityStates> x509_states() const;
  Result<AuthorityState> prepare_x509();
  Result<AuthorityState> activate_x509(const std::string& authority_id);
  Result<AuthorityState> taint_x509(const std::string& authority_id);
  Result<AuthorityState> revoke_x509(const std::string& authority_id);
  Result<void> taint_upstream(const std::string& subject_key_id);
  Result<void> revoke_upstream(const std::string& subject_key_id);
  Result<AuthorityStates> jwt_states() const;
  Result<AuthorityState> prepare_jwt();
  Result<AuthorityState> activate_jwt(const std::string& authority_id);
  Result<AuthorityState> taint_jwt(const std::string& authority_id);
  Result<AuthorityState> revoke_jwt(const std::string& authority_id);

  // Puts a key (ours, or a downstream server's) into the upstream's bundle, or ours; gives the
  // bundle's keys.
  Result<std::vector<jose::JwtAuthority>> publish_jwt_key(const jose::JwtAuthority& key);

 private:
  struct Work;  // what one operation at a time may touch

  AuthorityKeeper(Options options, Deps deps);
  Result<void> restore(Work& work);
  Result<void> rotate(Work& work);
  void follow_upstream(Work& work);
  Result<void> move_off_tainted(Work& work);
  void prune(Work& work);
  void publish_states(Work& work);
  Result<std::vector<jose::JwtAuthority>> publish_jwt_key(Work& work,
                                                          const jose::JwtAuthority& key);
  Result<void> tell_tainted(const std::string& subject_key_id);

  Options options_;
  Deps deps_;
  Watch<AuthorityStates> x509_states_, jwt_states_;
  std::atomic<std::uint64_t> failed_rotations_ = 0;
  // Held for the length of an operation, on purpose: it is what makes them take turns.
  Guarded<std::unique_ptr<Work>> work_;
};

}  // namespace steeple::server
