// SPDX-License-Identifier: Apache-2.0

// The agent's end of steeple.server.push.v1: keeps one WatchChanges stream open and tells what it
// says. A stream that ends is opened again, with backoff; a server without the RPC is asked again
// every few minutes, in case it is replaced by one that has it. On the loop.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/sync/server_api.h"
#include "lib/base/random.h"
#include "lib/io/loop.h"
#include "lib/telemetry/log.h"

namespace steeple::agent {

inline constexpr auto kPushRetryFirst = std::chrono::milliseconds(100);
inline constexpr auto kPushRetryMax = std::chrono::seconds(30);
inline constexpr auto kPushAskAgain = std::chrono::minutes(5);

// Where in the server's count of changes we are.
struct PushRevision {
  std::uint64_t revision = 0;
  std::string server_instance = {};
};

class PushStream {
 public:
  struct Hooks {
    // Something changed, or may have (both true). A sync must follow; one that starts after this
    // call covers `announced()`.
    std::function<void(bool entries, bool bundles)> changed;
    // The stream lives (its first response is here), or it does not: then poll.
    std::function<void(bool live)> live;
    // A denial or another refusal of the server.
    std::function<void(const Error&)> failed;
  };
  struct Deps {
    io::Loop& loop;
    Random& random;
    ServerApi& server;
    Logger log;
  };
  PushStream(Deps deps, Hooks hooks);
  ~PushStream();
  PushStream(const PushStream&) = delete;
  PushStream& operator=(const PushStream&) = delete;

  // Opens it, or closes it and opens another (a new identity, a new connection).
  void open();
  bool live() const;
  const PushRevision& announced() const;
  // A sync that covers this has completed.
  void synced(const PushRevision& revision);

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace steeple::agent
