// SPDX-License-Identifier: Apache-2.0

// Who may call what: one table of RPC × caller class, the default policy of SPIRE. A method that is
// not in the table is denied to everybody, so that a new RPC starts closed. Const data, any thread.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace steeple::server {

enum class CallerClass : std::uint8_t {
  kAny = 1,         // everybody, unauthenticated TLS clients included
  kLocal = 2,       // on the admin Unix socket
  kAdmin = 4,       // SVID named in admin_ids, or of an entry with admin = true
  kAgent = 8,       // SVID of an attested, not banned, not expired agent; serial current or new
  kDownstream = 16  // SVID of an entry with downstream = true
};

using CallerClasses = std::uint8_t;

constexpr bool allows(CallerClasses classes, CallerClass one) {
  return (classes & static_cast<CallerClasses>(one)) != 0;
}

struct PolicyRule {
  std::string_view method;  // "/package.Service/Method"
  CallerClasses classes;
};

// Null when the table does not know it.
const PolicyRule* find_rule(std::string_view method);
// The classes that may call the method; 0 = nobody.
CallerClasses classes_allowed(std::string_view method);
// The whole table, sorted by method.
std::span<const PolicyRule> policy_rules();

}  // namespace steeple::server
