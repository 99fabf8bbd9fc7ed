// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/entry.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lib/crypto/hash.h"

namespace steeple::controller {

namespace {

// Each part with its length before it, so that no two lists of parts read the same.
void append(std::string& out, std::string_view part) {
  out += fmt::format("{}:", part.size());
  out += part;
}

template <class List>
void append_set(std::string& out, const List& list) {
  std::set<std::string_view> sorted(list.begin(), list.end());
  out += fmt::format("[{}]", sorted.size());
  for (std::string_view item : sorted) {
    append(out, item);
  }
}

}  // namespace

EntryKey entry_key(const Entry& entry) {
  std::set<std::pair<std::string_view, std::string_view>> selectors;
  for (const auto& selector : entry.selectors()) {
    selectors.emplace(selector.type(), selector.value());
  }
  std::string text;
  append(text, entry.spiffe_id().trust_domain());
  append(text, entry.spiffe_id().path());
  append(text, entry.parent_id().trust_domain());
  append(text, entry.parent_id().path());
  for (const auto& [type, value] : selectors) {
    append(text, type);
    append(text, value);
  }
  Bytes digest = crypto::sha256(text);
  EntryKey key;
  std::memcpy(key.bytes.data(), digest.data(), key.bytes.size());
  return key;
}

ContentDigest entry_content(const Entry& entry) {
  std::string text = fmt::format("{},{},{},{},{},", entry.x509_svid_ttl(), entry.jwt_svid_ttl(),
                                 entry.admin(), entry.downstream(), entry.store_svid());
  append(text, entry.hint());
  append_set(text, entry.federates_with());
  append_set(text, entry.dns_names());
  Bytes digest = crypto::sha256(text);
  ContentDigest content;
  std::memcpy(content.bytes.data(), digest.data(), content.bytes.size());
  return content;
}

bool is_join_token_alias(const Entry& entry) {
  return entry.parent_id().path().starts_with("/spire/agent/join_token/") &&
         std::ranges::any_of(entry.selectors(),
                             [](const auto& selector) { return selector.type() == "spiffe_id"; });
}

bool is_for_pod(const Entry& entry) {
  return std::ranges::any_of(entry.selectors(), [](const auto& selector) {
    return selector.type() == "k8s" && selector.value().starts_with("pod-uid:");
  });
}

std::string spiffe_id_text(const ::spire::api::types::SPIFFEID& id) {
  return fmt::format("spiffe://{}{}", id.trust_domain(), id.path());
}

std::string describe(const Entry& entry) {
  std::vector<std::string> selectors;
  for (const auto& selector : entry.selectors()) {
    selectors.push_back(fmt::format("{}:{}", selector.type(), selector.value()));
  }
  std::string out = fmt::format("{} parent {} selectors [{}]", spiffe_id_text(entry.spiffe_id()),
                                spiffe_id_text(entry.parent_id()), fmt::join(selectors, ","));
  auto add = [&out](std::string_view name, const auto& value) {
    out += fmt::format(" {} {}", name, value);
  };
  if (entry.x509_svid_ttl() != 0) {
    add("x509SVIDTTL", entry.x509_svid_ttl());
  }
  if (entry.jwt_svid_ttl() != 0) {
    add("jwtSVIDTTL", entry.jwt_svid_ttl());
  }
  if (!entry.federates_with().empty()) {
    add("federatesWith", fmt::format("[{}]", fmt::join(entry.federates_with(), ",")));
  }
  if (!entry.dns_names().empty()) {
    add("dnsNames", fmt::format("[{}]", fmt::join(entry.dns_names(), ",")));
  }
  if (!entry.hint().empty()) {
    add("hint", entry.hint());
  }
  if (entry.admin()) {
    out += " admin";
  }
  if (entry.downstream()) {
    out += " downstream";
  }
  if (entry.store_svid()) {
    out += " storeSVID";
  }
  return out;
}

}  // namespace steeple::controller
