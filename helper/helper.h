// SPDX-License-Identifier: Apache-2.0

// The helper as a daemon: follows the Workload API and keeps the files equal to what it says, and
// tells the command. What is written stays there whatever happens to the Workload API afterwards.
//
// Lives on one loop. Watches call on the client's thread and hand on; files are written, and tokens
// fetched, on workers.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "helper/config/helper_config.h"
#include "helper/files/render.h"
#include "helper/notifier.h"
#include "helper/statuses.h"
#include "helper/writer.h"
#include "lib/http/server.h"
#include "lib/io/network.h"
#include "lib/telemetry/log.h"
#include "spiffe/workloadapi/client.h"

namespace steeple::helper {

inline constexpr const char* kVersion = "0.11.0";  // the release of spiffe-helper that this matches

struct HelperTimes {
  RetryTimes retry;  // of writes, and of tokens that were not given
  NotifierTimes notifier;
  Duration fetch_timeout = std::chrono::seconds(10);
  // One-shot mode, while the identity is not registered yet.
  Duration not_yet_first = std::chrono::milliseconds(10);
};

// What both modes need. Deps outlive their users; workers end before the loop does.
struct HelperDeps {
  io::AsioLoop& loop;
  io::Workers& workers;
  io::Network& network;
  std::shared_ptr<spiffe::Client> client;
  Logger log;
};

// The files of one answer; on a worker.
Result<std::vector<FileContent>> x509_files(const HelperConfig& config,
                                            const spiffe::X509Context& context, WallTime now);
std::vector<FileContent> jwt_bundle_files(const HelperConfig& config,
                                          const spiffe::BundleSet& bundles);
std::vector<FileContent> jwt_svid_files(const HelperConfig& config, const JwtSvidConfig& jwt,
                                        const spiffe::JwtSvid& svid);
spiffe::JwtParams jwt_params(const JwtSvidConfig& jwt);
void remove_leftovers(const HelperConfig& config);

class Helper {
 public:
  using Ended = std::move_only_function<void(Result<void>)>;

  Helper(const HelperConfig& config, HelperDeps deps, HelperTimes times, Ended ended);
  ~Helper();
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  // An error: the health page cannot be served.
  Result<void> start();
  // Ends the command with the same signal, then us.
  void stop(int signal);
  void forward(int signal) { notifier_.forward(signal); }

  const Statuses& statuses() const { return statuses_; }
  pid_t child_pid() const { return notifier_.child_pid(); }
  // Of the health page; empty when there is none.
  std::vector<io::Endpoint> health_endpoints() const;

 private:
  struct Token;  // one JWT-SVID that is kept fresh

  Result<void> serve_health();
  void watch_x509();
  void watch_jwt_bundles();
  void on_x509(std::shared_ptr<const spiffe::X509Context> context);
  void fetch(Token& token);
  void fetched(Token& token, Result<std::vector<spiffe::JwtSvid>> svids);
  void retry(Token& token);
  void jwt_written(const std::string& path, const Result<void>& result, std::string_view failure,
                   std::string_view success);
  // Runs on the loop, unless we have gone by then. Any thread.
  void hand_on(std::function<void()> task);

  const HelperConfig& config_;
  const HelperDeps deps_;
  const HelperTimes times_;
  Ended ended_;
  Statuses statuses_;
  Notifier notifier_;
  std::unique_ptr<http::Server> health_;
  std::unique_ptr<Writer> x509_writer_, jwt_bundle_writer_;
  std::vector<std::unique_ptr<Token>> tokens_;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
  // Last, so that no callback is under way when the rest goes.
  std::unique_ptr<spiffe::WatchHandle> x509_watch_, jwt_watch_;
};

}  // namespace steeple::helper
