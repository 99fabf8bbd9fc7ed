// SPDX-License-Identifier: Apache-2.0

// Keys from a server on the same machine: its Bundle API, asked at an interval. On the loop.

#pragma once

#include <memory>

#include "lib/io/network.h"
#include "lib/rpc/client.h"
#include "lib/telemetry/log.h"
#include "oidc/config/provider_config.h"
#include "oidc/jwks_source/jwks_source.h"

namespace steeple::oidc {

class ServerApiSource final : public JwksSource {
 public:
  ServerApiSource(const ServerApiConfig& config, io::Loop& loop, io::Network& network,
                  Random& random, Logger log);
  ServerApiSource(const ServerApiSource&) = delete;
  ServerApiSource& operator=(const ServerApiSource&) = delete;

  void start() override { poll(); }
  std::shared_ptr<const KeySet> keys() const override { return newest_.get(); }
  std::optional<SteadyTime> last_success() const override { return last_success_; }

 private:
  void poll();
  void answered(Result<Bytes> raw);
  Result<void> take(ByteView raw);

  const Duration poll_interval_;
  io::Loop& loop_;
  const Logger log_;
  NewestKeys newest_;
  std::optional<SteadyTime> last_success_;
  io::Timer timer_;
  rpc::Channel channel_;
  std::unique_ptr<rpc::ClientCall> call_;
};

}  // namespace steeple::oidc
