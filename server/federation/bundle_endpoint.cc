// SPDX-License-Identifier: Apache-2.0

#include "server/federation/bundle_endpoint.h"

#include "lib/jose/bundle_document.h"

namespace steeple::server {

BundleEndpoint::BundleEndpoint(Duration refresh_hint, Deps deps)
    : refresh_hint_(refresh_hint),
      deps_(std::move(deps)),
      server_(deps_.loop, {.methods = {"GET"}}) {
  for (const char* path : {"/", "/bundle"}) {
    server_.route(path, [this](const http::Request&, http::Respond respond) { respond(answer()); });
  }
}

Result<std::unique_ptr<BundleEndpoint>> BundleEndpoint::start(const BundleEndpointConfig& config,
                                                              Deps deps) {
  auto endpoint = std::make_unique<BundleEndpoint>(config.refresh_hint, std::move(deps));
  auto policy = std::make_shared<tls::ServerPolicy>();
  policy->identity = endpoint->deps_.identity;
  policy->alpn = {};  // clients that name no protocol are served, too
  auto at = io::Endpoint::tcp(config.address, static_cast<std::uint16_t>(config.port));
  TRY(endpoint->server_
          .listen(endpoint->deps_.network, at, {}, &endpoint->deps_.handshake, std::move(policy))
          .during("bundle endpoint"));
  LOG_INFO(endpoint->deps_.log, "Serving bundle endpoint", {"addr", endpoint->endpoint().text()},
           {"refresh_hint", format_go_duration(config.refresh_hint)});
  return endpoint;
}

http::Response BundleEndpoint::answer() {
  auto bundle = deps_.bundle();
  if (bundle == nullptr) {
    LOG_ERROR(deps_.log, "Unable to retrieve local bundle");
    return {.status = 500,
            .content_type = "text/plain",
            .body = "500 unable to retrieve local bundle\n"};
  }
  if (bundle != written_) {
    jose::Bundle shown = *bundle;
    shown.refresh_hint = refresh_hint_;
    auto document = jose::encode_bundle_document(shown, {});
    if (!document.ok()) {
      LOG_ERROR(deps_.log, "Unable to marshal local bundle", {"error", document.error()});
      return {.status = 500,
              .content_type = "text/plain",
              .body = "500 unable to marshal local bundle\n"};
    }
    document_ = std::move(*document);
    written_ = std::move(bundle);
  }
  return {.content_type = "application/json", .body = document_};
}

}  // namespace steeple::server
