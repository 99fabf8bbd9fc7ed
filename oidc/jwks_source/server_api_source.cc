// SPDX-License-Identifier: Apache-2.0

#include "oidc/jwks_source/server_api_source.h"

#include <algorithm>

#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/types/bundle.pb.h"

namespace steeple::oidc {
namespace {

constexpr const char* kGetBundle = "/spire.api.server.bundle.v1.Bundle/GetBundle";
constexpr Duration kCallTimeout = std::chrono::seconds(10);

// A server that came back is asked at the next poll, and not later.
rpc::ChannelOptions channel_options(Duration poll_interval) {
  rpc::ChannelOptions options;
  options.backoff_max = std::min(options.backoff_max, poll_interval);
  options.backoff_first = std::min(options.backoff_first, options.backoff_max);
  return options;
}

}  // namespace

ServerApiSource::ServerApiSource(const ServerApiConfig& config, io::Loop& loop,
                                 io::Network& network, Random& random, Logger log)
    : poll_interval_(config.poll_interval),
      loop_(loop),
      log_(std::move(log)),
      newest_(loop.clock()),
      timer_(loop),
      channel_({.loop = loop, .network = network, .tls = nullptr, .random = random},
               io::Endpoint::unix_socket(config.socket_path), nullptr,
               channel_options(config.poll_interval)) {}

void ServerApiSource::poll() {
  ::spire::api::server::bundle::v1::GetBundleRequest request;
  request.mutable_output_mask()->set_jwt_authorities(true);
  call_ = channel_.unary(kGetBundle, request.SerializeAsString(), {.timeout = kCallTimeout},
                         [this](Result<Bytes> raw) { answered(std::move(raw)); });
}

void ServerApiSource::answered(Result<Bytes> raw) {
  Result<void> taken = raw.ok() ? take(*raw) : Result<void>(std::move(raw.error()));
  if (taken.ok()) {
    last_success_ = loop_.clock().steady();
  } else {
    LOG_WARN(log_, "Failed to fetch bundle", {"error", taken.error()});
  }
  timer_.start(poll_interval_, [this] { poll(); });
}

Result<void> ServerApiSource::take(ByteView raw) {
  ::spire::api::types::Bundle bundle;
  if (!bundle.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
    return internal("the server's answer is not a bundle");
  }
  std::vector<jose::Jwk> keys;
  for (const auto& authority : bundle.jwt_authorities()) {
    auto key = crypto::PublicKey::from_spki(authority.public_key());
    if (!key.ok()) {
      LOG_WARN(log_, "Malformed public key in bundle", {"kid", authority.key_id()},
               {"error", key.error()});
      continue;
    }
    keys.push_back({.key = std::move(*key), .key_id = authority.key_id()});
  }
  newest_.put(std::move(keys));
  return {};
}

}  // namespace steeple::oidc
