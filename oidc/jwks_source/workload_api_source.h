// SPDX-License-Identifier: Apache-2.0

// Keys from the Workload API: a stream that tells of every change, so nothing is polled. As long as
// it stands its last message is the truth; `last_success` is then now, and afterwards the moment
// when it broke. On the loop; the stream's news come from the client's thread.

#pragma once

#include <memory>

#include "lib/io/loop.h"
#include "lib/telemetry/log.h"
#include "oidc/jwks_source/jwks_source.h"
#include "spiffe/workloadapi/client.h"

namespace steeple::oidc {

class WorkloadApiSource final : public JwksSource {
 public:
  WorkloadApiSource(spiffe::TrustDomain trust_domain, io::Loop& loop,
                    std::shared_ptr<spiffe::Client> client, Logger log);
  WorkloadApiSource(const WorkloadApiSource&) = delete;
  WorkloadApiSource& operator=(const WorkloadApiSource&) = delete;

  void start() override;
  std::shared_ptr<const KeySet> keys() const override { return newest_.get(); }
  std::optional<SteadyTime> last_success() const override;

 private:
  void hand_on(std::function<void()> task);
  void on_update(const spiffe::BundleSet& bundles);
  Result<void> take(const spiffe::BundleSet& bundles);
  void on_error(const Error& error);
  void outdated();

  const spiffe::TrustDomain trust_domain_;
  io::Loop& loop_;
  const std::shared_ptr<spiffe::Client> client_;
  const Logger log_;
  NewestKeys newest_;
  bool current_ = false;
  std::optional<SteadyTime> current_until_;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
  // Last, so that no callback is under way when the rest goes.
  std::unique_ptr<spiffe::WatchHandle> watch_;
};

}  // namespace steeple::oidc
