// SPDX-License-Identifier: Apache-2.0

// A fact about a workload, as an attestor states it: type = the attestor's name, value =
// "key:value". Registration entries name selectors; a workload gets the entries whose selectors it
// has all of.

#pragma once

#include <compare>
#include <string>

namespace steeple::agent {

struct Selector {
  std::string type;
  std::string value;

  friend auto operator<=>(const Selector&, const Selector&) = default;
};

}  // namespace steeple::agent
