// SPDX-License-Identifier: Apache-2.0

// A fact about a workload, as an attestor states it: type = the attestor's name, value =
// "key:value". Registration entries name selectors; a workload gets the entries whose selectors it
// has all of.

#pragma once

#include <compare>
#include <memory>
#include <string>

namespace steeple::agent {

struct Selector {
  std::string type;
  std::string value;

  friend auto operator<=>(const Selector&, const Selector&) = default;
};

// Some facts about a workload are known only a while after it started (what the kubelet says of a
// container). While no registration entry asks for such a fact, a workload is not made to wait for
// them; when the first one does, open streams are attested again. On the loop.
struct LateSelectors {
  bool wanted = true;  // until the entries are known
};
// Whether this one is a late fact.
bool is_late(const Selector& selector);

}  // namespace steeple::agent
