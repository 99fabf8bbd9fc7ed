// SPDX-License-Identifier: Apache-2.0

#include "lib/base/secret_bytes.h"

#include <cstring>
#include <utility>

namespace steeple {

SecretBytes::SecretBytes(ByteView bytes)
    : data_(std::make_unique_for_overwrite<char[]>(bytes.size())), size_(bytes.size()) {
  std::memcpy(data_.get(), bytes.data(), bytes.size());
}

SecretBytes SecretBytes::absorb(Bytes&& bytes) {
  SecretBytes secret(bytes);
  steeple::wipe(bytes);
  return secret;
}

SecretBytes::~SecretBytes() { wipe(); }

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    wipe();
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void SecretBytes::wipe() {
  if (data_) {
    explicit_bzero(data_.get(), size_);
    data_.reset();
  }
  size_ = 0;
}

void wipe(Bytes& bytes) {
  if (!bytes.empty()) {
    explicit_bzero(bytes.data(), bytes.size());
  }
  bytes.clear();
}

}  // namespace steeple
