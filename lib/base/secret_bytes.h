// SPDX-License-Identifier: Apache-2.0

// Bytes that are wiped when they go, and that nothing prints: private keys, join tokens.
// Move only; `reveal` names every place that looks.

#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "lib/base/bytes.h"

namespace steeple {

class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(ByteView bytes);
  // Takes the content and wipes the source.
  static SecretBytes absorb(Bytes&& bytes);
  ~SecretBytes();
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;

  SecretBytes copy() const { return SecretBytes(reveal()); }
  ByteView reveal() const { return {data_.get(), size_}; }
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

 private:
  void wipe();

  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
};

// Overwrites the string's memory and empties it.
void wipe(Bytes& bytes);

}  // namespace steeple
