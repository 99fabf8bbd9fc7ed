// SPDX-License-Identifier: Apache-2.0

#include "oidc/serving_identity.h"

namespace steeple::oidc {
FileIdentity::FileIdentity(const ServingCertFileConfig& config, io::Loop& loop,
                           io::Workers& workers, Logger log)
    : config_(config), loop_(loop), workers_(workers), log_(std::move(log)) {}

Result<void> FileIdentity::start() {
  auto started = tls::FileIdentity::start(
      {.cert_path = config_.cert_file_path,
       .key_path = config_.key_file_path,
       .interval = config_.file_sync_interval},
      loop_, workers_, [log = log_](const Result<void>& how) {
        if (how.ok()) {
          LOG_INFO(log, "Loaded provided certificate with success");
        } else {
          LOG_ERROR(log, "Failed to load certificate", {"error", how.error()});
        }
      });
  files_ = TRY(std::move(started).during("failed to load certificate"));
  LOG_INFO(log_, "Started watching certificate files",
           {"interval", format_go_duration(config_.file_sync_interval)});
  return {};
}

SvidIdentity::SvidIdentity(io::Loop& loop, std::shared_ptr<spiffe::Client> client, Logger log)
    : loop_(loop), client_(std::move(client)), log_(std::move(log)) {}

void SvidIdentity::hand_on(std::function<void()> task) {
  loop_.post([task = std::move(task), alive = std::weak_ptr<const bool>(alive_)] {
    if (alive.lock()) {
      task();
    }
  });
}

Result<void> SvidIdentity::start() {
  watch_ = client_->watch_x509_context(
      {.on_update =
           [this](std::shared_ptr<const spiffe::X509Context> context) {
             hand_on([this, context = std::move(context)] { take(context->default_svid()); });
           },
       .on_error =
           [log = log_](const Error& error) {
             LOG_WARN(log, "Failed to fetch an X509-SVID from the Workload API", {"error", error});
           }});
  return {};
}

void SvidIdentity::take(const spiffe::X509Svid& svid) {
  identity_ = std::make_shared<const tls::Identity>(tls::Identity{svid.chain_der(), svid.key()});
  LOG_INFO(log_, "Serving with an X509-SVID", {"spiffe_id", svid.id().text()},
           {"expires_at", format_rfc3339(svid.not_after())});
}

}  // namespace steeple::oidc
