// SPDX-License-Identifier: Apache-2.0

#include "server/ca/server_svid.h"

#include <utility>

#include "lib/x509/verify.h"

namespace steeple::server {

ServerSvid::ServerSvid(crypto::KeyType key_type, Deps deps)
    : key_type_(key_type), deps_(std::move(deps)), tainted_seen_(deps_.ca.tainted().version()) {}

Result<void> ServerSvid::tick() {
  if (!due()) {
    return {};
  }
  CallCounter call(deps_.metrics, deps_.clock, "svid.rotate");
  auto renewed = renew();
  call.done(renewed);
  if (!renewed.ok()) {
    LOG_ERROR(deps_.log, "Could not rotate server SVID", {"error", renewed.error()});
  }
  return renewed;
}

bool ServerSvid::due() {
  if (chain_.empty()) {
    return true;
  }
  const std::uint64_t version = deps_.ca.tainted().version();
  if (version != tainted_seen_) {
    tainted_seen_ = version;
    if (chains_to(*deps_.ca.tainted().get())) {
      LOG_INFO(deps_.log,
               "Server SVID signed using a tainted authority, forcing rotation of the Server SVID");
      tainted_ = true;
    }
  }
  const x509::Certificate& leaf = *chain_.front();
  const WallTime half = leaf.not_before() + (leaf.not_after() - leaf.not_before()) / 2;
  const WallTime now = deps_.clock.now();
  // Before its time it is no better than after it: the clock went back.
  return tainted_ || now > half || now < leaf.not_before();
}

bool ServerSvid::chains_to(const x509::Authorities& roots) const {
  const std::vector<x509::CertificatePtr> intermediates(chain_.begin() + 1, chain_.end());
  return x509::verify_chain(chain_.front(), intermediates, roots, deps_.clock.now()).ok();
}

Result<void> ServerSvid::renew() {
  LOG_DEBUG(deps_.log, "Rotating server SVID");
  auto key = TRY(crypto::PrivateKey::generate(key_type_));
  auto svid = TRY(deps_.ca.sign_server_x509_svid(key->public_key()));
  auto chain = TRY(x509::parse_chain(svid.chain));
  LOG_DEBUG(deps_.log, "Signed X509 SVID", {"expiration", format_rfc3339(svid.leaf->not_after())},
            {"spiffe_id", server_id(deps_.ca.options().trust_domain).text()});
  chain_ = std::move(chain);
  tainted_ = false;
  identity_.publish({.chain = std::move(svid.chain), .key = std::move(key)});
  return {};
}

}  // namespace steeple::server
