// SPDX-License-Identifier: Apache-2.0

// A SPIFFE ID, parsed once and strict (SPIFFE-ID section 2): lower-case scheme and trust domain, no
// port, user, query, fragment or percent encoding; path segments [a-zA-Z0-9.-_]+, none empty, "."
// or ".."; at most 2048 bytes. Error texts are go-spiffe's. Held as one string: an id costs its
// text and a length.

#pragma once

#include <compare>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "spiffe/trust_domain.h"

namespace spiffe {

class SpiffeId {
 public:
  static steeple::Result<SpiffeId> parse(std::string_view text);
  // `path` is empty or begins with '/'.
  static steeple::Result<SpiffeId> make(const TrustDomain& domain, std::string_view path);

  const std::string& text() const { return text_; }
  std::string_view path() const { return std::string_view(text_).substr(path_at_); }
  std::string_view trust_domain_name() const {
    return std::string_view(text_).substr(kPrefix.size(), path_at_ - kPrefix.size());
  }
  TrustDomain trust_domain() const { return TrustDomain(std::string(trust_domain_name())); }
  bool member_of(const TrustDomain& domain) const { return trust_domain_name() == domain.name(); }

  friend bool operator==(const SpiffeId& a, const SpiffeId& b) { return a.text_ == b.text_; }
  friend auto operator<=>(const SpiffeId& a, const SpiffeId& b) { return a.text_ <=> b.text_; }

 private:
  friend class TrustDomain;
  static constexpr std::string_view kPrefix = "spiffe://";
  SpiffeId(std::string text, std::size_t path_at) : text_(std::move(text)), path_at_(path_at) {}

  std::string text_;
  std::size_t path_at_;
};

// SPIFFE-ID section 2.2, on its own for fields that hold only a path.
steeple::Result<void> validate_path(std::string_view path);

}  // namespace spiffe

template <>
struct std::hash<spiffe::SpiffeId> {
  std::size_t operator()(const spiffe::SpiffeId& id) const {
    return std::hash<std::string>()(id.text());
  }
};
template <>
struct std::hash<spiffe::TrustDomain> {
  std::size_t operator()(const spiffe::TrustDomain& domain) const {
    return std::hash<std::string>()(domain.name());
  }
};
