// SPDX-License-Identifier: Apache-2.0

#include "lib/crypto/key_type.h"

#include <fmt/format.h>

namespace steeple::crypto {

Result<KeyType> parse_key_type(std::string_view name) {
  for (KeyType type : {KeyType::kEcP256, KeyType::kEcP384, KeyType::kRsa2048, KeyType::kRsa4096}) {
    if (name == key_type_name(type)) {
      return type;
    }
  }
  return invalid_argument(fmt::format(
      "key type \"{}\" is unknown; must be one of [rsa-2048, rsa-4096, ec-p256, ec-p384]", name));
}

std::string_view key_type_name(KeyType type) {
  switch (type) {
    case KeyType::kEcP256:
      return "ec-p256";
    case KeyType::kEcP384:
      return "ec-p384";
    case KeyType::kRsa2048:
      return "rsa-2048";
    case KeyType::kRsa4096:
      return "rsa-4096";
  }
  check_failed("bad KeyType");
}

SignatureAlgorithm default_algorithm(KeyType type) {
  switch (type) {
    case KeyType::kEcP256:
      return SignatureAlgorithm::kEcdsaSha256;
    case KeyType::kEcP384:
      return SignatureAlgorithm::kEcdsaSha384;
    case KeyType::kRsa2048:
    case KeyType::kRsa4096:
      return SignatureAlgorithm::kRsaPkcs1Sha256;
  }
  check_failed("bad KeyType");
}

}  // namespace steeple::crypto
