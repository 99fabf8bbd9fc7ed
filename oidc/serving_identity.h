// SPDX-License-Identifier: Apache-2.0

// The certificate that the provider serves with, and that changes while it does: from files, or its
// own X509-SVID. A certificate that works is never given up for one that does not. On the loop.

#pragma once

#include <memory>

#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/telemetry/log.h"
#include "lib/tls/file_identity.h"
#include "lib/tls/handshake.h"
#include "oidc/config/provider_config.h"
#include "spiffe/workloadapi/client.h"

namespace steeple::oidc {

class ServingIdentity {
 public:
  virtual ~ServingIdentity() = default;
  virtual Result<void> start() = 0;
  // Null while there is none yet.
  virtual std::shared_ptr<const tls::Identity> get() const = 0;
};

// The files are read again at an interval (lib/tls/file_identity.h).
class FileIdentity final : public ServingIdentity {
 public:
  FileIdentity(const ServingCertFileConfig& config, io::Loop& loop, io::Workers& workers,
               Logger log);

  // Reads here and now: an error is one of the configuration.
  Result<void> start() override;
  std::shared_ptr<const tls::Identity> get() const override {
    return files_ ? files_->get() : nullptr;
  }

 private:
  const ServingCertFileConfig config_;
  io::Loop& loop_;
  io::Workers& workers_;
  const Logger log_;
  std::shared_ptr<tls::FileIdentity> files_;
};

// Follows the Workload API: a renewed SVID is shown from the next handshake on.
class SvidIdentity final : public ServingIdentity {
 public:
  SvidIdentity(io::Loop& loop, std::shared_ptr<spiffe::Client> client, Logger log);
  SvidIdentity(const SvidIdentity&) = delete;
  SvidIdentity& operator=(const SvidIdentity&) = delete;

  Result<void> start() override;
  std::shared_ptr<const tls::Identity> get() const override { return identity_; }

 private:
  void hand_on(std::function<void()> task);
  void take(const spiffe::X509Svid& svid);

  io::Loop& loop_;
  const std::shared_ptr<spiffe::Client> client_;
  const Logger log_;
  std::shared_ptr<const tls::Identity> identity_;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
  // Last, so that no callback is under way when the rest goes.
  std::unique_ptr<spiffe::WatchHandle> watch_;
};

}  // namespace steeple::oidc
