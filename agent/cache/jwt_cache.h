// SPDX-License-Identifier: Apache-2.0

// JWT-SVIDs by SPIFFE ID and audiences (in any order), least recently used out first, with a hard
// limit. It only remembers; agent/sync decides when to ask for a new one. On the loop.

#pragma once

#include <list>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/config/rotation.h"
#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "spiffe/spiffe_id.h"

namespace steeple::agent {

struct JwtSvid {
  std::string token;
  std::string key_id;  // of the token's header, for tainting
  WallTime issued_at{};
  WallTime expires_at{};
  WallTime refresh_at{};  // half-life with jitter

  bool expired(WallTime now) const { return now >= expires_at; }
  bool should_refresh(WallTime now) const { return now >= refresh_at || expired(now); }
};
using JwtSvidPtr = std::shared_ptr<const JwtSvid>;

class JwtCache {
 public:
  JwtCache(std::size_t tokens_max, Logger log, Metrics& metrics);

  static std::string key(const spiffe::SpiffeId& id, const std::vector<std::string>& audience);

  // Null when there is none. Expired ones are given too.
  JwtSvidPtr find(const std::string& key);
  void put(const std::string& key, JwtSvidPtr svid);
  // Forgets what these keys signed.
  void taint(const std::set<std::string>& key_ids);
  std::size_t size() const { return tokens_.size(); }

 private:
  struct Token {
    std::string key;
    JwtSvidPtr svid;
  };
  void report_size();

  std::size_t tokens_max_;
  Logger log_;
  Metrics& metrics_;
  std::list<Token> order_;  // most recently used first
  std::unordered_map<std::string, std::list<Token>::iterator> tokens_;
};

}  // namespace steeple::agent
