// SPDX-License-Identifier: Apache-2.0

// The Workload API client. Fetches block up to a timeout; watches tell of every change and come
// back by themselves with backoff when the agent is away. One client has one connection and one
// thread of its own, and may be used from any thread.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "spiffe/svid/jwt_svid.h"
#include "spiffe/workloadapi/context.h"

namespace spiffe {

struct ClientOptions {
  std::string address = {};  // empty: SPIFFE_ENDPOINT_SOCKET
  steeple::Duration backoff_first = std::chrono::milliseconds(100);
  steeple::Duration backoff_max = std::chrono::seconds(30);
  // So long after an end a watch tries each `backoff_first`, and only then more seldom: an agent
  // that starts again is away for a second.
  steeple::Duration quick_for = std::chrono::seconds(5);
};

struct JwtParams {
  std::vector<std::string> audience;     // at least one
  std::optional<SpiffeId> subject = {};  // nothing: every identity of the workload
};

// Callbacks of a watch: on the client's thread, one at a time; they must not block, nor destroy
// their watch. An error does not end a watch (the identity may come yet), but for
// kInvalidArgument, which no later try can mend.
template <class T>
struct Watcher {
  std::function<void(std::shared_ptr<const T>)> on_update;
  std::function<void(const steeple::Error&)> on_error = {};
};

// Ends the watch when destroyed; then no callback is under way any more.
class [[nodiscard]] WatchHandle {
 public:
  virtual ~WatchHandle() = default;
};

class Client {
 public:
  // Connects with the first call. kInvalidArgument for a bad address.
  static steeple::Result<std::shared_ptr<Client>> make(ClientOptions options = {});
  class Core;
  explicit Client(std::unique_ptr<Core> core);  // for `make`
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  steeple::Result<X509Context> fetch_x509_context(steeple::Duration timeout);
  steeple::Result<BundleSet> fetch_x509_bundles(steeple::Duration timeout);
  steeple::Result<BundleSet> fetch_jwt_bundles(steeple::Duration timeout);
  // At least one, the default identity's first.
  steeple::Result<std::vector<JwtSvid>> fetch_jwt_svids(const JwtParams& params,
                                                        steeple::Duration timeout);
  // The agent checks the token.
  steeple::Result<JwtSvid> validate_jwt_svid(const std::string& token, const std::string& audience,
                                             steeple::Duration timeout);

  std::unique_ptr<WatchHandle> watch_x509_context(Watcher<X509Context> watcher);
  std::unique_ptr<WatchHandle> watch_x509_bundles(Watcher<BundleSet> watcher);
  std::unique_ptr<WatchHandle> watch_jwt_bundles(Watcher<BundleSet> watcher);

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace spiffe
