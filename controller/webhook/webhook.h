// SPDX-License-Identifier: Apache-2.0

// The validating webhook: an HTTPS server whose certificate the SPIRE server mints (names: the
// services that the ValidatingWebhookConfiguration points to), and whose trust anchors we keep in
// that configuration. The key lives in memory only. A failed renewal leaves the old certificate in
// use. Every replica serves, leader or not. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controller/reconcile/spire_api.h"
#include "lib/base/random.h"
#include "lib/http/server.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/kube/backoff.h"
#include "lib/kube/informer.h"
#include "lib/telemetry/log.h"
#include "lib/tls/handshake.h"
#include "spiffe/spiffe_id.h"
#include "spire/api/server/svid/v1/svid.pb.h"
#include "spire/api/types/bundle.pb.h"

namespace steeple::controller {

inline constexpr auto kWebhookSvidTtl = std::chrono::hours(24);
inline constexpr auto kWebhookBundleInterval = std::chrono::seconds(30);

class Webhook {
 public:
  struct Options {
    spiffe::TrustDomain trust_domain;
    std::string configuration;  // the ValidatingWebhookConfiguration's name
    io::Endpoint listen;
  };
  struct Deps {
    io::Loop& loop;
    io::Network& network;
    tls::Handshake& handshake;
    kube::Client& client;
    SpireApi& spire;
    Random& random;
    Logger log;
  };

  Webhook(Deps deps, Options options);
  ~Webhook();
  Webhook(const Webhook&) = delete;
  Webhook& operator=(const Webhook&) = delete;

  Result<void> start();
  // It can answer: it has a certificate.
  bool serving() const { return identity_ != nullptr; }
  std::vector<io::Endpoint> endpoints() const { return server_->endpoints(); }

 private:
  // One entry of the configuration's list.
  struct Hook {
    std::string name;
    std::string dns_name;   // of its service; empty: it has none
    std::string ca_bundle;  // base64, as it stands
  };
  using Hooks = std::vector<Hook>;
  using MintResponse = ::spire::api::server::svid::v1::MintX509SVIDResponse;
  using Bundle = ::spire::api::types::Bundle;

  void add_route(const std::string& path, const char* kind);
  static Hooks decode(const nlohmann::json& object);
  void configuration_changed(const Hooks& hooks);
  void mint();
  void minted(Result<MintResponse> answer, std::shared_ptr<const crypto::PrivateKey> key,
              const std::vector<std::string>& dns_names);
  void renew_in(Duration wait);
  void ask_bundle();
  void got_bundle(Result<Bundle> answer);
  void patch();

  Deps deps_;
  const Options options_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<kube::Informer<Hooks>> configuration_;
  bool known_ = false;  // the configuration was seen
  Hooks hooks_;
  std::vector<std::string> dns_names_;
  std::shared_ptr<const tls::Identity> identity_;
  std::vector<std::string> identity_names_;
  std::string ca_bundle_;  // base64 of PEM
  bool minting_ = false;
  bool patching_ = false;
  SpireApi::Handle mint_call_;
  SpireApi::Handle bundle_call_;
  kube::CallPtr patch_call_;
  kube::Backoff mint_backoff_;
  kube::Backoff bundle_backoff_;
  kube::Backoff patch_backoff_;
  io::Timer mint_timer_;
  io::Timer bundle_timer_;
  io::Timer patch_timer_;
};

}  // namespace steeple::controller
