// SPDX-License-Identifier: Apache-2.0

// A workload: a process on a node with open FetchX509SVID and FetchJWTBundles streams that asks for
// a JWT-SVID now and then and lets another workload validate it. It checks all that it is given
// against the oracle, the moment it gets it, and remembers it as a real one would. On the
// simulation's thread, its callbacks as events of its loop.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/peer/fake_proc_fs.h"
#include "lib/base/fake_random.h"
#include "lib/io/fake_network.h"
#include "lib/rpc/client.h"
#include "lib/x509/verify.h"
#include "tests/simulation/host_clock.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/trace.h"

namespace steeple::simulation {

// Verifies chains, each with the same roots once: signatures do not change, only time passes.
class Verifier {
 public:
  Result<spiffe::SpiffeId> verify(const std::vector<x509::CertificatePtr>& chain,
                                  const x509::AuthoritiesPtr& roots, WallTime wall);

 private:
  std::map<Bytes, spiffe::SpiffeId> good_;  // by the hash of chain and roots
};

class Workload {
 public:
  struct Options {
    std::size_t node = 0;
    std::string name;
    uid_t uid = 0;
    gid_t gid = 0;
    Duration token_every{};
    std::uint64_t seed = 0;
  };
  struct Deps {
    io::SimSwitch& wires;
    io::SimLoop& loop;
    HostClock& clock;
    agent::FakeProcFs& procs;
    Oracle& oracle;
    Trace& trace;
    Verifier& verifier;
    // Who may validate a token of ours; null: nobody right now.
    std::function<Workload*(Random&)> peer;
  };
  static constexpr const char* kSocket = "/run/agent/api.sock";
  static std::string host(std::size_t node);

  struct Held {
    std::vector<x509::CertificatePtr> chain;
    WallTime not_before{}, not_after{};
    std::string hint;
    Bytes verified;  // what was looked at already: chain, key and bundle as they came
  };
  using HeldMap = std::map<std::string, Held>;  // by path

  Workload(Options options, Deps deps);
  ~Workload();
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  // A new process: it holds nothing and asks.
  void start(pid_t pid);
  void exit();
  // Between events: has it what it must have, fresh enough?
  void check();
  // After everything healed: exactly what the oracle says.
  void check_converged();
  // Does this one accept the other's identities?
  void check_peer(const Workload& other);

  const Options& options() const { return options_; }
  const SelectorSet& selectors() const { return selectors_; }
  const HeldMap& held() const { return held_; }
  // Every X.509 authority it was ever given, DER.
  std::set<Bytes>& seen_roots() { return seen_roots_; }
  std::set<std::string>& seen_keys() { return seen_keys_; }
  std::uint64_t updates() const { return updates_; }
  std::uint64_t tokens() const { return tokens_; }

 private:
  struct Stream {
    explicit Stream(io::Loop& loop) : retry(loop) {}
    std::unique_ptr<rpc::ClientCall> call;
    io::Timer retry;
    Duration backoff = std::chrono::seconds(1);
    bool live = false;  // it has given something, and has not ended
  };

  SteadyTime now() const { return deps_.clock.steady(); }
  void open(Stream& stream, const char* method, std::function<void(ByteView)> on_message);
  void open_x509();
  void open_jwt_bundles();
  void ended(Stream& stream, const char* method, const Result<void>& status,
             std::function<void()> again);
  void got_x509(ByteView raw);
  void check_svid_set(const HeldMap& given);
  bool excused(const std::string& path) const;
  void got_jwt_bundles(ByteView raw);
  void ask_token();
  void got_token(Result<Bytes> raw, bool was_quiet, std::set<std::string> must);
  void check_token(const std::string& path, const std::string& token);
  void validate_for(const Workload& owner, const std::string& token, const std::string& path,
                    bool must);

  const Options options_;
  Deps deps_;
  const SelectorSet selectors_;
  SeededRandom random_;
  pid_t pid_ = 0;
  bool running_ = false;
  std::unique_ptr<io::Network> network_;
  std::unique_ptr<rpc::Channel> channel_;
  std::unique_ptr<Stream> x509_, jwt_;
  io::Timer token_timer_;
  std::unique_ptr<rpc::ClientCall> token_call_, validate_call_;

  HeldMap held_;
  x509::AuthoritiesPtr roots_;
  std::map<std::string, std::shared_ptr<const crypto::PublicKey>> jwt_keys_;
  SteadyTime started_{};
  std::set<Bytes> seen_roots_;
  std::set<std::string> seen_keys_;
  std::uint64_t updates_ = 0;
  std::uint64_t tokens_ = 0;
};

}  // namespace steeple::simulation
