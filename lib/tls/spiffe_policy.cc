// SPDX-License-Identifier: Apache-2.0

#include "lib/tls/spiffe_policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace steeple::tls {
namespace {

using Verdict = Result<std::optional<spiffe::SpiffeId>>;

// x509::refusal_of calls this kOther: an identity that is genuine but not wanted here.
Error unexpected(std::string message) { return permission_denied(std::move(message)); }

}  // namespace

x509::AuthoritiesOf authorities_from(std::shared_ptr<const Watch<BundleSet>> bundles) {
  return [bundles = std::move(bundles)](const spiffe::TrustDomain& domain) -> x509::AuthoritiesPtr {
    auto newest = bundles->get();
    if (!newest) {
      return nullptr;
    }
    auto found = newest->find(domain);
    return found == newest->end() ? nullptr : found->second;
  };
}

VerifyPeer verify_member_or_admin(spiffe::TrustDomain own, std::vector<spiffe::SpiffeId> admin_ids,
                                  x509::AuthoritiesOf authorities, const Clock& clock) {
  std::ranges::sort(admin_ids);
  return [own = std::move(own), admin_ids = std::move(admin_ids),
          authorities = std::move(authorities),
          &clock](const std::vector<Bytes>& chain) -> Verdict {
    auto verified = TRY(x509::verify_svid(chain, authorities, clock.now()));
    if (!verified.id.member_of(own) && !std::ranges::binary_search(admin_ids, verified.id)) {
      return unexpected(fmt::format("unexpected trust domain in ID \"{}\"", verified.id.text()));
    }
    return std::optional(std::move(verified.id));
  };
}

VerifyPeer verify_one_of(std::vector<spiffe::SpiffeId> ids, x509::AuthoritiesOf authorities,
                         const Clock& clock) {
  std::ranges::sort(ids);
  return [ids = std::move(ids), authorities = std::move(authorities),
          &clock](const std::vector<Bytes>& chain) -> Verdict {
    auto verified = TRY(x509::verify_svid(chain, authorities, clock.now()));
    if (!std::ranges::binary_search(ids, verified.id)) {
      return unexpected(fmt::format("unexpected ID \"{}\"", verified.id.text()));
    }
    return std::optional(std::move(verified.id));
  };
}

VerifyPeer verify_id(spiffe::SpiffeId expected, x509::AuthoritiesOf authorities,
                     const Clock& clock) {
  return verify_one_of({std::move(expected)}, std::move(authorities), clock);
}

VerifyPeer verify_spire_server(const spiffe::TrustDomain& own, x509::AuthoritiesOf authorities,
                               const Clock& clock) {
  return verify_id(spire_server_id(own), std::move(authorities), clock);
}

VerifyPeer insecure_bootstrap(const spiffe::TrustDomain& own) {
  return [expected = spire_server_id(own)](const std::vector<Bytes>& chain) -> Verdict {
    if (chain.empty()) {
      return invalid_argument("server chain is unexpectedly empty");
    }
    auto leaf = TRY(x509::Certificate::parse(chain.front()));
    const auto& uris = leaf->uri_sans();
    if (uris.size() != 1 || uris.front() != expected.text()) {
      return unexpected(fmt::format("expected server SPIFFE ID \"{}\"; got [{}]", expected.text(),
                                    fmt::join(uris, " ")));
    }
    return std::optional(expected);
  };
}

spiffe::SpiffeId spire_server_id(const spiffe::TrustDomain& own) {
  return spiffe::SpiffeId::make(own, "/spire/server").take();
}

}  // namespace steeple::tls
