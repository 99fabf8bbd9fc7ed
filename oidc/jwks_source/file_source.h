// SPDX-License-Identifier: Apache-2.0

// Keys from a SPIFFE bundle document in a file, read at an interval on a worker. On the loop.

#pragma once

#include <memory>

#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/telemetry/log.h"
#include "oidc/config/provider_config.h"
#include "oidc/jwks_source/jwks_source.h"

namespace steeple::oidc {

class FileSource final : public JwksSource {
 public:
  FileSource(const FileConfig& config, io::Loop& loop, io::Workers& workers, Logger log);
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  void start() override { poll(); }
  std::shared_ptr<const KeySet> keys() const override { return newest_.get(); }
  std::optional<SteadyTime> last_success() const override { return last_success_; }

 private:
  void poll();

  const FileConfig config_;
  io::Loop& loop_;
  io::Workers& workers_;
  const Logger log_;
  NewestKeys newest_;
  std::optional<SteadyTime> last_success_;
  io::Timer timer_;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

// The jwt-svid keys of a bundle document, in order of their key ids.
Result<std::vector<jose::Jwk>> jwt_keys_of_document(std::string_view json);

}  // namespace steeple::oidc
