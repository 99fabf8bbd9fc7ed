// SPDX-License-Identifier: Apache-2.0

// A trust domain name, checked: SPIFFE-ID section 2.1: [a-z0-9.-_]+, at most 255 bytes.

#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace spiffe {

class SpiffeId;

class TrustDomain {
 public:
  // Accepts a bare name ("example.org") or a SPIFFE ID, whose trust domain it takes.
  static steeple::Result<TrustDomain> parse(std::string_view name_or_id);

  const std::string& name() const { return name_; }
  std::string id_string() const { return "spiffe://" + name_; }
  SpiffeId id() const;

  friend auto operator<=>(const TrustDomain&, const TrustDomain&) = default;

 private:
  friend class SpiffeId;
  explicit TrustDomain(std::string name) : name_(std::move(name)) {}
  std::string name_;
};

}  // namespace spiffe
