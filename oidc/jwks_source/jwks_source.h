// SPDX-License-Identifier: Apache-2.0

// Where the JWT authorities that the provider serves come from. A source is never emptied by an
// outage: what it has stays until it is told something newer, and `last_success` gets old. On the
// loop.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/jose/jwk.h"

namespace steeple::oidc {

// Immutable.
struct KeySet {
  std::vector<jose::Jwk> keys;  // with key ids, without `use` and `alg`; may be empty
  WallTime changed;
};

class JwksSource {
 public:
  virtual ~JwksSource() = default;
  virtual void start() = 0;
  // Null before the first answer. The same object for as long as nothing changes.
  virtual std::shared_ptr<const KeySet> keys() const = 0;
  // When `keys` was last known to be what the source says.
  virtual std::optional<SteadyTime> last_success() const = 0;
};

// What the sources share: the newest keys, and when they became different.
class NewestKeys {
 public:
  explicit NewestKeys(const Clock& clock) : clock_(clock) {}

  void put(std::vector<jose::Jwk> keys);
  const std::shared_ptr<const KeySet>& get() const { return newest_; }

 private:
  const Clock& clock_;
  std::shared_ptr<const KeySet> newest_;
  std::string text_;  // of `newest_`, to compare with
};

}  // namespace steeple::oidc
