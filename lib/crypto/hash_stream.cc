// SPDX-License-Identifier: Apache-2.0

#include "lib/crypto/hash_stream.h"

#include <array>

#include "lib/base/check.h"
#include "lib/crypto/openssl.h"

namespace steeple::crypto {

struct HashStream::State {
  MdContext context;
};

HashStream::HashStream(Hash hash) : state_(std::make_unique<State>()) {
  state_->context.reset(EVP_MD_CTX_new());
  CHECK(state_->context != nullptr &&
        EVP_DigestInit_ex2(state_->context.get(), fetched_md(hash), nullptr) == 1);
}

HashStream::~HashStream() = default;

void HashStream::update(ByteView piece) {
  CHECK(EVP_DigestUpdate(state_->context.get(), piece.data(), piece.size()) == 1);
}

Bytes HashStream::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  CHECK(EVP_DigestFinal_ex(state_->context.get(), out.data(), &size) == 1);
  return Bytes(reinterpret_cast<const char*>(out.data()), size);
}

}  // namespace steeple::crypto
