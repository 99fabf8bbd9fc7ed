// SPDX-License-Identifier: Apache-2.0

#include "oidc/documents.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lib/cli/socket_client.h"
#include "lib/http/date.h"

namespace steeple::oidc {
namespace {

constexpr const char* kJson = "application/json";
constexpr int kRsaBitsMin = 2048;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return out;
}

// The scheme that a proxy in front of us says it was asked with; empty when none does.
std::string forwarded_scheme(const http::Request& request) {
  for (std::string_view name : {"X-Forwarded-Proto", "X-Forwarded-Scheme"}) {
    if (std::string_view value = request.header(name); !value.empty()) {
      return lower(value);
    }
  }
  // RFC 7239: proto=https anywhere in it.
  std::string forwarded = lower(request.header("Forwarded"));
  for (std::string_view scheme : {"https", "http"}) {
    if (forwarded.contains(fmt::format("proto={}", scheme))) {
      return std::string(scheme);
    }
  }
  return {};
}

std::string_view asked_host(const http::Request& request) {
  std::string_view forwarded = request.header("X-Forwarded-Host");
  return forwarded.empty() ? request.header("Host") : forwarded;
}

// Empty for keys that JWT-SVIDs are not signed with.
std::string_view algorithm_of(const crypto::PublicKey& key) {
  switch (key.kind()) {
    case crypto::KeyKind::kRsa:
      return key.bits() >= kRsaBitsMin ? "RS256" : "";
    case crypto::KeyKind::kEcP256:
      return "ES256";
    case crypto::KeyKind::kEcP384:
      return "ES384";
    case crypto::KeyKind::kEcP521:
      return "";
  }
  return "";
}

// As Go's encoder: two spaces, and what HTML would take for itself escaped.
std::string write_json(const nlohmann::ordered_json& document) {
  std::string out;
  for (char c : document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace)) {
    if (c == '<' || c == '>' || c == '&') {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

http::Response error_page(int status, std::string_view text) {
  return {.status = status,
          .content_type = "text/plain; charset=utf-8",
          .headers = {{"X-Content-Type-Options", "nosniff"}},
          .body = fmt::format("{}\n", text)};
}

std::vector<std::string> all_methods() {
  return {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"};
}

Documents::Documents(const ProviderConfig& config, const JwksSource& source, Logger log)
    : config_(config),
      source_(source),
      log_(std::move(log)),
      domains_(config.domains.begin(), config.domains.end()) {}

void Documents::add_to(http::Server& server) {
  server.route(
      join_path(config_.server_path_prefix, ".well-known/openid-configuration"),
      page([](Documents& self, const http::Request& request) { return self.discovery(request); }));
  server.route(
      join_path(config_.server_path_prefix, "keys"),
      page([](Documents& self, const http::Request& request) { return self.keys(request); }));
  server.route("", page([](Documents&, const http::Request&) {
                 return error_page(404, "404 page not found");
               }));
}

http::Handler Documents::page(http::Response (*answer)(Documents&, const http::Request&)) {
  return [this, answer](const http::Request& request, http::Respond respond) {
    if (config_.log_requests) {
      LOG_DEBUG(log_, "Incoming request", {"remote-addr", request.peer->address},
                {"method", request.method},
                {"url", request.query.empty() ? request.path
                                              : fmt::format("{}?{}", request.path, request.query)},
                {"user-agent", request.header("User-Agent")});
    }
    respond(answer(*this, request));
  };
}

Result<void> Documents::check_host(std::string_view host) const {
  std::string_view domain = host_of(host);
  TRY(check_domain(domain));
  if (!domains_.contains(domain)) {
    return permission_denied(fmt::format("domain {} is not allowed", cli::quote(domain)));
  }
  return {};
}

std::string Documents::issuer(const std::string& base) const {
  if (config_.jwt_issuer) {
    return config_.jwt_issuer->text;
  }
  return config_.server_path_prefix == "/" ? base : base + config_.server_path_prefix;
}

// An issuer of its own decides where the keys are, too, unless that is said apart.
std::string Documents::jwks_uri(const std::string& base) const {
  if (config_.jwks_uri) {
    return config_.jwks_uri->text;
  }
  if (config_.jwt_issuer) {
    const Url& url = *config_.jwt_issuer;
    return fmt::format("{}://{}{}", url.scheme, url.host, join_path(url.path, "keys"));
  }
  return base + join_path(config_.server_path_prefix, "keys");
}

http::Response Documents::discovery(const http::Request& request) const {
  if (request.method != "GET") {
    return error_page(405, "method not allowed");
  }
  std::string_view host = asked_host(request);
  if (Result<void> allowed = check_host(host); !allowed.ok()) {
    return error_page(400, allowed.error().message);
  }
  bool tls = request.peer != nullptr && request.peer->tls;
  bool plain = config_.allow_insecure_scheme && !tls && forwarded_scheme(request) != "https";
  std::string base = fmt::format("{}://{}", plain ? "http" : "https", host);
  nlohmann::ordered_json document;
  document["issuer"] = issuer(base);
  document["jwks_uri"] = jwks_uri(base);
  document["authorization_endpoint"] = "";
  document["response_types_supported"] = nlohmann::ordered_json::array({"id_token"});
  document["subject_types_supported"] = nlohmann::ordered_json::array({"public"});
  document["id_token_signing_alg_values_supported"] =
      nlohmann::ordered_json::array({"RS256", "ES256", "ES384"});
  return {.status = 200,
          .content_type = kJson,
          .headers = {{"Access-Control-Allow-Origin", "*"}},
          .body = write_json(document)};
}

std::string Documents::write(const KeySet& set) const {
  std::vector<jose::Jwk> keys = set.keys;
  for (jose::Jwk& key : keys) {
    key.use = config_.set_key_use ? "sig" : "";
    key.algorithm = algorithm_of(key.key);
    if (key.algorithm.empty()) {
      LOG_ERROR(log_, "Failed to get public key algorithm", {"kid", key.key_id},
                {"error", "unable to determine signature algorithm for public key"});
    }
  }
  return jose::encode_jwks(keys, jose::JsonStyle::kIndentedTwo);
}

http::Response Documents::keys(const http::Request& request) {
  if (request.method != "GET") {
    return error_page(405, "method not allowed");
  }
  std::shared_ptr<const KeySet> set = source_.keys();
  if (!set) {
    return error_page(500, "document not available");
  }
  if (set->keys.empty()) {
    return error_page(501, "jwt not supported/enabled in this service");
  }
  if (set != written_) {
    text_ = write(*set);
    written_ = set;
  }
  http::Response response{.status = 200,
                          .content_type = kJson,
                          .headers = {{"Cache-Control", "no-cache, no-store, must-revalidate"},
                                      {"Pragma", "no-cache"},
                                      {"Expires", "0"},
                                      {"Access-Control-Allow-Origin", "*"},
                                      {"Last-Modified", http::format_date(set->changed)}}};
  auto since = http::parse_date(request.header("If-Modified-Since"));
  if (since && truncate_to_seconds(set->changed) <= *since) {
    response.status = 304;
    response.content_type.clear();
  } else {
    response.body = text_;
  }
  return response;
}

}  // namespace steeple::oidc
