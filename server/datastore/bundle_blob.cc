// SPDX-License-Identifier: Apache-2.0

#include "server/datastore/bundle_blob.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/limits.h"
#include "lib/x509/certificate.h"
#include "server/datastore/sql_tx.h"

namespace steeple::server {
namespace {

using spire::common::Certificate;
using spire::common::PublicKey;

// A root may hold several certificates, one after the other.
Result<std::vector<Bytes>> certificates_of(const Certificate& root) {
  auto split = x509::split_concatenated(root.der_bytes(), limits::kChainCertificatesMax);
  if (!split.ok()) {
    return internal(fmt::format("failed to parse root CA: {}", split.error().message));
  }
  return split;
}

Result<std::string> subject_key_id_of(const Certificate& root) {
  auto parts = TRY(certificates_of(root));
  if (parts.empty()) {
    return internal("failed to parse root CA: no certificate");
  }
  auto parsed = x509::Certificate::parse(parts.front());
  if (!parsed.ok()) {
    return internal(fmt::format("failed to parse root CA: {}", parsed.error().message));
  }
  return hex_encode((*parsed)->subject_key_id());
}

Result<bool> ended(const Certificate& root, std::int64_t before) {
  for (const Bytes& der : TRY(certificates_of(root))) {
    auto parsed = x509::Certificate::parse(der);
    if (!parsed.ok()) {
      return internal(fmt::format("cannot parse certificates: {}", parsed.error().message));
    }
    if (to_unix_seconds((*parsed)->not_after()) <= before) {
      return true;
    }
  }
  return false;
}

PublicKey* find_key(std::string_view kid, spire::common::Bundle& blob) {
  for (PublicKey& key : *blob.mutable_jwt_signing_keys()) {
    if (key.kid() == kid) {
      return &key;
    }
  }
  return nullptr;
}

void append_key(const jose::JwtAuthority& from, spire::common::Bundle& to) {
  PublicKey& key = *to.add_jwt_signing_keys();
  key.set_pkix_bytes(from.spki_der);
  key.set_kid(from.key_id);
  key.set_not_after(to_unix_seconds(from.expires_at));
  key.set_tainted_key(from.tainted);
}

void append_root(const jose::X509Authority& from, spire::common::Bundle& to) {
  Certificate& root = *to.add_root_cas();
  root.set_der_bytes(from.der);
  root.set_tainted_key(from.tainted);
}

// Removes the keys that ended; false when that would be all of them.
bool prune_keys(std::int64_t before, google::protobuf::RepeatedPtrField<PublicKey>& keys,
                bool& changed) {
  int had = keys.size();
  auto end = std::remove_if(keys.begin(), keys.end(),
                            [before](const PublicKey& key) { return key.not_after() <= before; });
  keys.erase(end, keys.end());
  changed = changed || keys.size() != had;
  return had == 0 || !keys.empty();
}

}  // namespace

Result<spire::common::Bundle> parse_bundle_blob(std::string_view domain_id, std::string_view data) {
  spire::common::Bundle blob;
  if (data.size() > limits::kBundleBytesMax) {
    return corrupt_row("bundle of", domain_id, "too large");
  }
  if (!blob.ParseFromArray(data.data(), static_cast<int>(data.size()))) {
    return corrupt_row("bundle of", domain_id, "not a protobuf message");
  }
  blob.set_trust_domain_id(std::string(domain_id));
  return blob;
}

Result<jose::Bundle> bundle_from_blob(const spire::common::Bundle& blob) {
  auto domain = spiffe::TrustDomain::parse(blob.trust_domain_id());
  if (!domain.ok()) {
    return corrupt_row("bundle of", blob.trust_domain_id(), domain.error().message);
  }
  jose::Bundle bundle{.trust_domain = std::move(domain).take()};
  for (const Certificate& root : blob.root_cas()) {
    auto parts = x509::split_concatenated(root.der_bytes(), limits::kChainCertificatesMax);
    if (!parts.ok()) {
      return corrupt_row("root CA in the bundle of", blob.trust_domain_id(), parts.error().message);
    }
    for (Bytes& der : *parts) {
      bundle.x509_authorities.push_back({std::move(der), root.tainted_key()});
    }
  }
  for (const PublicKey& key : blob.jwt_signing_keys()) {
    bundle.jwt_authorities.push_back(
        {key.pkix_bytes(), key.kid(), from_unix_seconds(key.not_after()), key.tainted_key()});
  }
  bundle.sequence_number = blob.sequence_number();
  bundle.refresh_hint = seconds_within_limits(blob.refresh_hint());
  return bundle;
}

void apply_bundle(const jose::Bundle& from, const BundleMask& mask, spire::common::Bundle& to) {
  if (mask.refresh_hint) {
    to.set_refresh_hint(
        std::chrono::duration_cast<std::chrono::seconds>(from.refresh_hint).count());
  }
  if (mask.x509_authorities) {
    to.clear_root_cas();
    for (const auto& authority : from.x509_authorities) {
      append_root(authority, to);
    }
  }
  if (mask.jwt_authorities) {
    to.clear_jwt_signing_keys();
    for (const auto& authority : from.jwt_authorities) {
      append_key(authority, to);
    }
  }
  if (mask.sequence_number) {
    to.set_sequence_number(from.sequence_number);
  }
}

bool merge_bundle(const jose::Bundle& from, spire::common::Bundle& to) {
  bool changed = false;
  for (const auto& authority : from.x509_authorities) {
    bool there = std::any_of(
        to.root_cas().begin(), to.root_cas().end(),
        [&authority](const Certificate& root) { return root.der_bytes() == authority.der; });
    if (!there) {
      append_root(authority, to);
      changed = true;
    }
  }
  for (const auto& authority : from.jwt_authorities) {
    bool there = std::any_of(to.jwt_signing_keys().begin(), to.jwt_signing_keys().end(),
                             [&authority](const PublicKey& key) {
                               return key.kid() == authority.key_id &&
                                      key.pkix_bytes() == authority.spki_der;
                             });
    if (!there) {
      append_key(authority, to);
      changed = true;
    }
  }
  return changed;
}

Result<bool> prune_bundle_blob(std::int64_t expires_before, spire::common::Bundle& blob) {
  google::protobuf::RepeatedPtrField<Certificate> roots;
  for (const Certificate& root : blob.root_cas()) {
    if (!TRY(ended(root, expires_before))) {
      *roots.Add() = root;
    }
  }
  if (roots.empty()) {
    return failed_precondition("would prune all certificates");
  }
  bool changed = roots.size() != blob.root_cas().size();
  *blob.mutable_root_cas() = std::move(roots);
  if (!prune_keys(expires_before, *blob.mutable_jwt_signing_keys(), changed)) {
    return failed_precondition("would prune all JWT signing keys");
  }
  if (!prune_keys(expires_before, *blob.mutable_wit_signing_keys(), changed)) {
    return failed_precondition("would prune all WIT signing keys");
  }
  return changed;
}

Result<void> taint_x509(std::string_view subject_key_id, spire::common::Bundle& blob) {
  bool found = false;
  for (Certificate& root : *blob.mutable_root_cas()) {
    if (TRY(subject_key_id_of(root)) != subject_key_id) {
      continue;
    }
    if (root.tainted_key()) {
      return invalid_argument("root CA is already tainted");
    }
    root.set_tainted_key(true);
    found = true;
  }
  if (!found) {
    return not_found("no ca found with provided subject key ID");
  }
  return {};
}

Result<void> revoke_x509(std::string_view subject_key_id, spire::common::Bundle& blob) {
  google::protobuf::RepeatedPtrField<Certificate> kept;
  for (const Certificate& root : blob.root_cas()) {
    if (TRY(subject_key_id_of(root)) != subject_key_id) {
      *kept.Add() = root;
    } else if (!root.tainted_key()) {
      return invalid_argument("it is not possible to revoke an untainted root CA");
    }
  }
  if (kept.size() == blob.root_cas().size()) {
    return not_found("no root CA found with provided subject key ID");
  }
  *blob.mutable_root_cas() = std::move(kept);
  return {};
}

Result<void> taint_jwt(std::string_view kid, spire::common::Bundle& blob) {
  PublicKey* key = find_key(kid, blob);
  if (key == nullptr) {
    return not_found("no JWT Key found with provided key ID");
  }
  if (key->tainted_key()) {
    return invalid_argument("key is already tainted");
  }
  key->set_tainted_key(true);
  return {};
}

Result<void> revoke_jwt(std::string_view kid, spire::common::Bundle& blob) {
  PublicKey* key = find_key(kid, blob);
  if (key == nullptr) {
    return not_found("no JWT Key found with provided key ID");
  }
  if (!key->tainted_key()) {
    return invalid_argument("it is not possible to revoke an untainted key");
  }
  auto& keys = *blob.mutable_jwt_signing_keys();
  keys.erase(std::remove_if(keys.begin(), keys.end(),
                            [kid](const PublicKey& one) { return one.kid() == kid; }),
             keys.end());
  return {};
}

}  // namespace steeple::server
