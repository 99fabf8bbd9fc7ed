// SPDX-License-Identifier: Apache-2.0

// Fuzz target: PEM, private keys and public keys from foreign bytes. What is accepted is written
// again to what was read.

#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/crypto/pem.h"
#include "lib/crypto/private_key.h"

std::vector<std::string> steeple::fuzz_seeds() {
  std::vector<std::string> out;
  for (crypto::KeyType type : {crypto::KeyType::kEcP256, crypto::KeyType::kRsa2048}) {
    auto key = crypto::PrivateKey::generate(type).take();
    Bytes pkcs8(key->to_pkcs8().reveal());
    out.push_back(crypto::pem_encode("PRIVATE KEY", pkcs8));
    out.push_back(std::move(pkcs8));
    out.push_back(key->public_key().spki());
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto blocks = crypto::pem_decode(text); blocks.ok()) {
    for (const crypto::PemBlock& block : *blocks) {
      auto again = crypto::pem_decode(crypto::pem_encode(block.label, block.der));
      CHECK(again.ok() && again->size() == 1 && again->front().der == block.der);
    }
  }
  (void)crypto::PrivateKey::from_pem(text);
  if (auto key = crypto::PrivateKey::from_pkcs8(text); key.ok()) {
    CHECK(crypto::PrivateKey::from_pkcs8((*key)->to_pkcs8().reveal()).ok());
  }
  if (auto key = crypto::PublicKey::from_spki(text); key.ok()) {
    CHECK(key->spki() == text);
  }
  return 0;
}
