// SPDX-License-Identifier: Apache-2.0

// A digest of what comes in pieces, e.g. a file that must not be held in memory. One thread at a
// time.

#pragma once

#include <memory>

#include "lib/base/bytes.h"
#include "lib/crypto/hash.h"

namespace steeple::crypto {

class HashStream {
 public:
  explicit HashStream(Hash hash);
  ~HashStream();
  HashStream(const HashStream&) = delete;
  HashStream& operator=(const HashStream&) = delete;

  void update(ByteView piece);
  // Once, at the end.
  Bytes finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace steeple::crypto
