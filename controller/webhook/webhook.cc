// SPDX-License-Identifier: Apache-2.0

#include "controller/webhook/webhook.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "controller/webhook/admission.h"
#include "lib/crypto/pem.h"
#include "lib/kube/json.h"
#include "lib/x509/csr.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"

namespace steeple::controller {

using nlohmann::json;

namespace {

constexpr kube::BackoffOptions kBackoff{
    .first = std::chrono::seconds(1), .most = std::chrono::minutes(1), .jitter = 0.2};

http::Response text_response(int status, std::string text) {
  return {.status = status, .content_type = "text/plain; charset=utf-8", .body = std::move(text)};
}

}  // namespace

Webhook::Webhook(Deps deps, Options options)
    : deps_(std::move(deps)),
      options_(std::move(options)),
      mint_backoff_(deps_.random, kBackoff),
      bundle_backoff_(deps_.random, kBackoff),
      patch_backoff_(deps_.random, kBackoff),
      mint_timer_(deps_.loop),
      bundle_timer_(deps_.loop),
      patch_timer_(deps_.loop) {
  http::ServerOptions server;
  server.body_bytes_max = kReviewBytesMax;
  server.methods = {"POST"};
  server_ = std::make_unique<http::Server>(deps_.loop, std::move(server));
  add_route("/validate-spire-spiffe-io-v1alpha1-clusterspiffeid", "ClusterSPIFFEID");
  add_route("/validate-spire-spiffe-io-v1alpha1-clusterfederatedtrustdomain",
            "ClusterFederatedTrustDomain");
  add_route("/validate-spire-spiffe-io-v1alpha1-clusterstaticentry", "ClusterStaticEntry");
}

Webhook::~Webhook() = default;

void Webhook::add_route(const std::string& path, const char* kind) {
  Validate validate = std::string_view(kind) == "ClusterSPIFFEID" ? validate_cluster_spiffe_id
                      : std::string_view(kind) == "ClusterStaticEntry"
                          ? validate_cluster_static_entry
                          : validate_cluster_federated_trust_domain;
  server_->route(path, [this, validate = std::move(validate), kind](const http::Request& request,
                                                                    http::Respond respond) {
    Result<Bytes> answer = answer_review(request.body, validate);
    if (!answer.ok()) {
      LOG_WARN(deps_.log, "Admission review not understood", {"kind", kind},
               {"error", answer.error()});
      respond(text_response(400, answer.error().message + "\n"));
      return;
    }
    respond({.status = 200, .content_type = "application/json", .body = std::move(*answer)});
  });
}

Result<void> Webhook::start() {
  auto policy = std::make_shared<tls::ServerPolicy>();
  policy->identity = [this] { return identity_; };
  policy->alpn = {"http/1.1"};
  TRY(server_->listen(deps_.network, options_.listen, {}, &deps_.handshake, std::move(policy))
          .during("listen for the webhook"));
  kube::InformerHandlers<Hooks> on;
  on.added = [this](const std::string&, const Hooks& now) { configuration_changed(now); };
  on.changed = [this](const std::string&, const Hooks&, const Hooks& now) {
    configuration_changed(now);
  };
  on.deleted = [this](const std::string&, const Hooks&) {
    LOG_WARN(deps_.log, "The webhook configuration was deleted", {"name", options_.configuration});
    hooks_.clear();
  };
  on.synced = [this] {
    if (!known_) {
      LOG_WARN(deps_.log, "There is no webhook configuration yet",
               {"name", options_.configuration});
    }
  };
  on.troubled = [this](const Error& error, Duration wait) {
    LOG_WARN(deps_.log, "Watching the webhook configuration failed", {"error", error},
             {"retry_in", format_go_duration(wait)});
  };
  configuration_ = std::make_unique<kube::Informer<Hooks>>(
      kube::Reflector::Deps{deps_.client, deps_.random},
      kube::Target{.resource = kube::kValidatingWebhooks},
      kube::InformerOptions{
          .reflector = {.field_selector = "metadata.name=" + options_.configuration}},
      [this](const json& object) -> std::optional<Hooks> {
        if (kube::view_at(object, {"metadata", "name"}) != options_.configuration) {
          return {};
        }
        return decode(object);
      },
      std::move(on));
  configuration_->start();
  ask_bundle();
  return {};
}

Webhook::Hooks Webhook::decode(const json& object) {
  Hooks out;
  const json* list = kube::find(object, {"webhooks"});
  if (list == nullptr || !list->is_array()) {
    return out;
  }
  for (const json& item : *list) {
    Hook hook{.name = kube::string_at(item, {"name"}),
              .dns_name = {},
              .ca_bundle = kube::string_at(item, {"clientConfig", "caBundle"})};
    std::string service = kube::string_at(item, {"clientConfig", "service", "name"});
    std::string space = kube::string_at(item, {"clientConfig", "service", "namespace"});
    if (!service.empty() && !space.empty()) {
      hook.dns_name = fmt::format("{}.{}.svc", service, space);
    }
    out.push_back(std::move(hook));
  }
  return out;
}

void Webhook::configuration_changed(const Hooks& hooks) {
  known_ = true;
  hooks_ = hooks;
  std::set<std::string> names;
  for (const Hook& hook : hooks_) {
    if (!hook.dns_name.empty()) {
      names.insert(hook.dns_name);
    }
  }
  dns_names_.assign(names.begin(), names.end());
  if (!identity_ || dns_names_ != identity_names_) {
    renew_in(Duration::zero());
  }
  patch_timer_.start(Duration::zero(), [this] { patch(); });
}

// --- certificate -------------------------------------------------------------------------------

void Webhook::renew_in(Duration wait) {
  if (!minting_) {
    mint_timer_.start(wait, [this] { mint(); });
  }
}

void Webhook::mint() {
  auto id = spiffe::SpiffeId::make(options_.trust_domain, "/spire-controller-manager-webhook");
  auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256);
  Result<Bytes> csr = key.ok() ? x509::build_csr(**key, {.uri_sans = {id.ok() ? id->text() : ""},
                                                         .dns_sans = dns_names_})
                               : Result<Bytes>(key.error());
  if (!csr.ok()) {
    LOG_ERROR(deps_.log, "Failed to mint X509-SVID", {"error", csr.error()});
    renew_in(mint_backoff_.next());
    return;
  }
  minting_ = true;
  ::spire::api::server::svid::v1::MintX509SVIDRequest request;
  request.set_csr(*csr);
  request.set_ttl(static_cast<std::int32_t>(std::chrono::seconds(kWebhookSvidTtl).count()));
  LOG_INFO(deps_.log, "Minting webhook certificate",
           {"dnsNames", fmt::format("[{}]", fmt::join(dns_names_, " "))});
  mint_call_ = deps_.spire.call<MintResponse>(
      method::kMintX509Svid, request,
      [this, key = *key, names = dns_names_](Result<MintResponse> answer) mutable {
        minted(std::move(answer), std::move(key), names);
      });
}

void Webhook::minted(Result<MintResponse> answer, std::shared_ptr<const crypto::PrivateKey> key,
                     const std::vector<std::string>& dns_names) {
  minting_ = false;
  if (answer.ok() && answer->svid().cert_chain().empty()) {
    answer = internal("the server answered without a certificate");
  }
  if (!answer.ok()) {
    Duration wait = mint_backoff_.next();
    LOG_ERROR(deps_.log, "Failed to mint X509-SVID", {"error", answer.error()},
              {"retry_in", format_go_duration(wait)});
    renew_in(wait);
    return;
  }
  mint_backoff_.reset();
  auto identity = std::make_shared<tls::Identity>();
  for (const std::string& der : answer->svid().cert_chain()) {
    identity->chain.push_back(der);
  }
  identity->key = std::move(key);
  identity_ = std::move(identity);
  identity_names_ = dns_names;
  Duration life = from_unix_seconds(answer->svid().expires_at()) - deps_.loop.clock().now();
  LOG_INFO(deps_.log, "Minted webhook certificate", {"lifetime", format_go_duration(life)});
  bool stale = identity_names_ != dns_names_;
  renew_in(stale ? Duration::zero() : std::max<Duration>(life / 2, std::chrono::seconds(1)));
}

// --- trust anchors -------------------------------------------------------------------------------

void Webhook::ask_bundle() {
  ::spire::api::server::bundle::v1::GetBundleRequest request;
  request.mutable_output_mask()->set_x509_authorities(true);
  bundle_call_ =
      deps_.spire.call<Bundle>(method::kGetBundle, request,
                               [this](Result<Bundle> answer) { got_bundle(std::move(answer)); });
}

void Webhook::got_bundle(Result<Bundle> answer) {
  if (!answer.ok() || answer->x509_authorities().empty()) {
    Duration wait = bundle_backoff_.next();
    LOG_ERROR(
        deps_.log, "Failed to refresh bundle",
        {"error", answer.ok() ? std::string("it has no authorities") : answer.error().message},
        {"retry_in", format_go_duration(wait)});
    bundle_timer_.start(wait, [this] { ask_bundle(); });
    return;
  }
  bundle_backoff_.reset();
  std::string pem;
  for (const auto& authority : answer->x509_authorities()) {
    pem += crypto::pem_encode("CERTIFICATE", authority.asn1());
  }
  ca_bundle_ = base64_encode(pem);
  bundle_timer_.start(kWebhookBundleInterval, [this] { ask_bundle(); });
  patch();
}

void Webhook::patch() {
  if (patching_ || ca_bundle_.empty()) {
    return;
  }
  json hooks = json::array();
  for (const Hook& hook : hooks_) {
    if (hook.ca_bundle != ca_bundle_) {
      hooks.push_back({{"name", hook.name}, {"clientConfig", {{"caBundle", ca_bundle_}}}});
    }
  }
  if (hooks.empty()) {
    return;
  }
  patching_ = true;
  patch_call_ = deps_.client.patch(
      {.resource = kube::kValidatingWebhooks, .name = options_.configuration},
      json{{"webhooks", std::move(hooks)}}, {.type = kube::PatchType::kStrategic},
      [this](Result<kube::ObjectPtr> answer) {
        patching_ = false;
        if (answer.ok()) {
          patch_backoff_.reset();
          hooks_ = decode(**answer);
          LOG_INFO(deps_.log, "Webhook configuration patched with CABundle");
          return;
        }
        Duration wait = patch_backoff_.next();
        LOG_ERROR(deps_.log, "Failed to patch webhook configuration", {"error", answer.error()},
                  {"retry_in", format_go_duration(wait)});
        patch_timer_.start(wait, [this] { patch(); });
      });
}

}  // namespace steeple::controller
