// SPDX-License-Identifier: Apache-2.0

#include "lib/jose/bundle_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "lib/base/limits.h"
#include "lib/jose/json.h"
#include "lib/jose/jwk_json.h"
#include "lib/x509/certificate.h"

namespace steeple::jose {
namespace {

using nlohmann::json;

constexpr std::string_view kX509Use = "x509-svid";
constexpr std::string_view kJwtUse = "jwt-svid";
// Year 2262 is where Duration ends; nobody refreshes every 290 years.
constexpr std::int64_t kRefreshHintSecondsMax = 9'000'000'000;

Result<std::vector<Jwk>> x509_keys(const Bundle& bundle, bool with_use) {
  std::vector<Jwk> keys;
  for (const X509Authority& authority : bundle.x509_authorities) {
    auto certificate = x509::Certificate::parse(authority.der);
    if (!certificate.ok()) {
      return internal(fmt::format("X.509 authority: {}", certificate.error().message));
    }
    keys.push_back(Jwk{.key = (*certificate)->public_key(),
                       .use = with_use ? std::string(kX509Use) : "",
                       .certificates = {authority.der}});
  }
  return keys;
}

Result<std::vector<Jwk>> jwt_keys(const Bundle& bundle, bool with_use) {
  std::vector<Jwk> keys;
  for (const JwtAuthority& authority : bundle.jwt_authorities) {
    auto key = crypto::PublicKey::from_spki(authority.spki_der);
    if (!key.ok()) {
      return internal(
          fmt::format("JWT authority \"{}\": {}", authority.key_id, key.error().message));
    }
    keys.push_back(Jwk{.key = std::move(*key),
                       .key_id = authority.key_id,
                       .use = with_use ? std::string(kJwtUse) : ""});
  }
  std::stable_sort(keys.begin(), keys.end(),
                   [](const Jwk& a, const Jwk& b) { return a.key_id < b.key_id; });
  return keys;
}

// Go's integers: no fraction, in range. Zero when absent.
Result<std::uint64_t> integer_member(const json& object, const char* name, std::uint64_t max) {
  auto found = object.find(name);
  if (found == object.end() || found->is_null()) {
    return std::uint64_t{0};
  }
  if (!found->is_number_unsigned() || found->get<std::uint64_t>() > max) {
    return invalid_argument(fmt::format("unable to parse JWKS: bad \"{}\"", name));
  }
  return found->get<std::uint64_t>();
}

Result<void> add_key(Bundle& bundle, const Jwk& jwk, std::size_t index) {
  if (jwk.use == kX509Use && !jwk.certificates.empty()) {
    X509Authority authority{jwk.certificates.front()};
    auto& all = bundle.x509_authorities;
    if (std::find(all.begin(), all.end(), authority) == all.end()) {
      all.push_back(std::move(authority));
    }
  } else if (jwk.use == kJwtUse) {
    if (jwk.key_id.empty()) {
      return invalid_argument(
          fmt::format("error adding authority {} of JWKS: keyID cannot be empty", index));
    }
    JwtAuthority authority{jwk.key.spki(), jwk.key_id};
    auto& all = bundle.jwt_authorities;
    auto same = std::find_if(all.begin(), all.end(), [&](const JwtAuthority& known) {
      return known.key_id == authority.key_id;
    });
    if (same != all.end()) {
      *same = std::move(authority);  // the last one counts, as in a map
    } else {
      all.push_back(std::move(authority));
    }
  }
  return {};
}

Result<Bundle> parse(const spiffe::TrustDomain& domain, std::string_view text) {
  json object = TRY(parse_object(text, limits::kBundleBytesMax).during("unable to parse JWKS"));
  std::vector<Jwk> keys = TRY(read_jwks(object));
  Bundle bundle{domain};
  bundle.sequence_number = TRY(integer_member(object, "spiffe_sequence", UINT64_MAX));
  std::uint64_t hint = TRY(integer_member(object, "spiffe_refresh_hint", kRefreshHintSecondsMax));
  bundle.refresh_hint = std::chrono::seconds(static_cast<std::int64_t>(hint));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    TRY(add_key(bundle, keys[i], i));
  }
  return bundle;
}

}  // namespace

Result<std::string> encode_bundle_document(const Bundle& bundle, const DocumentOptions& options) {
  std::vector<Jwk> keys;
  if (options.x509_keys) {
    keys = TRY(x509_keys(bundle, !options.plain_jwks));
  }
  if (options.jwt_keys) {
    std::vector<Jwk> more = TRY(jwt_keys(bundle, !options.plain_jwks));
    keys.insert(keys.end(), std::make_move_iterator(more.begin()),
                std::make_move_iterator(more.end()));
  }
  std::string out = '{' + encode_keys_member(keys);
  auto hint = std::chrono::floor<std::chrono::seconds>(bundle.refresh_hint).count();
  if (!options.plain_jwks && bundle.sequence_number != 0) {
    out += fmt::format(",\"spiffe_sequence\":{}", bundle.sequence_number);
  }
  if (!options.plain_jwks && hint != 0) {
    out += fmt::format(",\"spiffe_refresh_hint\":{}", hint);
  }
  out += '}';
  return options.style == JsonStyle::kCompact ? out : indent_json(out);
}

Result<std::string> encode_jwt_bundle(const Bundle& bundle) {
  return encode_bundle_document(bundle, {.x509_keys = false, .plain_jwks = true});
}

Result<Bundle> parse_bundle_document(const spiffe::TrustDomain& domain, std::string_view text) {
  return parse(domain, text).during("spiffebundle");
}

}  // namespace steeple::jose
