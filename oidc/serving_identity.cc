// SPDX-License-Identifier: Apache-2.0

#include "oidc/serving_identity.h"

#include <fmt/format.h>

#include "lib/base/secret_bytes.h"
#include "lib/io/directory.h"
#include "lib/io/on_worker.h"
#include "lib/x509/certificate.h"

namespace steeple::oidc {
namespace {

constexpr std::size_t kPemBytesMax = std::size_t{1} << 20;

}  // namespace

Result<std::shared_ptr<const tls::Identity>> load_certificate(const std::string& cert_path,
                                                              const std::string& key_path) {
  Bytes cert_pem = TRY(io::read_file(cert_path, kPemBytesMax));
  SecretBytes key_pem = SecretBytes::absorb(TRY(io::read_file(key_path, kPemBytesMax)));
  auto chain = TRY(x509::parse_pem_certificates(cert_pem).during(cert_path));
  if (chain.empty()) {
    return invalid_argument(fmt::format("{}: no certificate", cert_path));
  }
  auto key = TRY(crypto::PrivateKey::from_pem(key_pem.reveal()).during(key_path));
  if (chain.front()->public_key() != key->public_key()) {
    return invalid_argument("private key does not match public key");
  }
  tls::Identity identity{.chain = {}, .key = std::move(key)};
  for (const auto& certificate : chain) {
    identity.chain.emplace_back(certificate->der());
  }
  return std::make_shared<const tls::Identity>(std::move(identity));
}

FileIdentity::FileIdentity(const ServingCertFileConfig& config, io::Loop& loop,
                           io::Workers& workers, Logger log)
    : config_(config), loop_(loop), workers_(workers), log_(std::move(log)), timer_(loop) {}

Result<void> FileIdentity::start() {
  auto loaded = load_certificate(config_.cert_file_path, config_.key_file_path);
  identity_ = TRY(std::move(loaded).during("failed to load certificate"));
  LOG_INFO(log_, "Started watching certificate files",
           {"interval", format_go_duration(config_.file_sync_interval)});
  timer_.start(config_.file_sync_interval, [this] { read_again(); });
  return {};
}

void FileIdentity::read_again() {
  io::on_worker(
      workers_, loop_, alive_,
      [cert = config_.cert_file_path, key = config_.key_file_path] {
        return load_certificate(cert, key);
      },
      [this](Result<std::shared_ptr<const tls::Identity>> loaded) {
        taken(std::move(loaded));
        timer_.start(config_.file_sync_interval, [this] { read_again(); });
      });
}

void FileIdentity::taken(Result<std::shared_ptr<const tls::Identity>> loaded) {
  if (!loaded.ok()) {
    LOG_ERROR(log_, "Failed to load certificate", {"error", loaded.error()});
    return;
  }
  // The same certificate is of the same key.
  if ((*loaded)->chain != identity_->chain) {
    identity_ = std::move(*loaded);
    LOG_INFO(log_, "Loaded provided certificate with success");
  }
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
