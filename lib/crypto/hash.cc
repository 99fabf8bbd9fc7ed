// SPDX-License-Identifier: Apache-2.0

#define OPENSSL_SUPPRESS_DEPRECATED
#include "lib/crypto/hash.h"

#include <array>

#include "lib/base/check.h"
#include "lib/crypto/openssl.h"

namespace steeple::crypto {
namespace {

constexpr std::size_t kHashes = 4;

EVP_MD* fetch(const char* name) {
  EVP_MD* md = EVP_MD_fetch(nullptr, name, nullptr);
  if (md == nullptr) {
    check_failed("OpenSSL has no such digest", name);
  }
  return md;
}

}  // namespace

const EVP_MD* fetched_md(Hash hash) {
  static const std::array<const EVP_MD*, kHashes> kDigests = {fetch("SHA1"), fetch("SHA256"),
                                                              fetch("SHA384"), fetch("SHA512")};
  return kDigests[static_cast<std::size_t>(hash)];
}

Bytes digest(Hash hash, ByteView data) {
  thread_local std::array<MdContext, kHashes> contexts;
  MdContext& context = contexts[static_cast<std::size_t>(hash)];
  if (!context) {
    context.reset(EVP_MD_CTX_new());
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  CHECK(context != nullptr && EVP_DigestInit_ex2(context.get(), fetched_md(hash), nullptr) == 1);
  CHECK(EVP_DigestUpdate(context.get(), data.data(), data.size()) == 1);
  CHECK(EVP_DigestFinal_ex(context.get(), out.data(), &size) == 1);
  return Bytes(reinterpret_cast<const char*>(out.data()), size);
}

Hash hash_of(SignatureAlgorithm algorithm) {
  switch (algorithm) {
    case SignatureAlgorithm::kEcdsaSha256:
    case SignatureAlgorithm::kRsaPkcs1Sha256:
    case SignatureAlgorithm::kRsaPssSha256:
      return Hash::kSha256;
    case SignatureAlgorithm::kEcdsaSha384:
    case SignatureAlgorithm::kRsaPkcs1Sha384:
    case SignatureAlgorithm::kRsaPssSha384:
      return Hash::kSha384;
    case SignatureAlgorithm::kEcdsaSha512:
    case SignatureAlgorithm::kRsaPkcs1Sha512:
    case SignatureAlgorithm::kRsaPssSha512:
      return Hash::kSha512;
  }
  check_failed("bad SignatureAlgorithm");
}

bool is_ecdsa(SignatureAlgorithm algorithm) {
  return algorithm == SignatureAlgorithm::kEcdsaSha256 ||
         algorithm == SignatureAlgorithm::kEcdsaSha384 ||
         algorithm == SignatureAlgorithm::kEcdsaSha512;
}

bool is_pss(SignatureAlgorithm algorithm) {
  return algorithm == SignatureAlgorithm::kRsaPssSha256 ||
         algorithm == SignatureAlgorithm::kRsaPssSha384 ||
         algorithm == SignatureAlgorithm::kRsaPssSha512;
}

}  // namespace steeple::crypto
