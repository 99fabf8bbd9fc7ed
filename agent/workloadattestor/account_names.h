// SPDX-License-Identifier: Apache-2.0

// Names of numeric user and group ids, from /etc/passwd and /etc/group. Read by our own parser and
// not through NSS: that would load modules which may wait for the network, on the path of every
// identity. The files are read again when they changed; a missing file or id is no error.
// Thread safe.

#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"

namespace steeple::agent {

class AccountNames {
 public:
  virtual ~AccountNames() = default;
  virtual std::optional<std::string> user(uid_t uid) = 0;
  virtual std::optional<std::string> group(gid_t gid) = 0;
};

// Larger account files are not read: ids then have no names.
inline constexpr std::size_t kAccountFileBytesMax = std::size_t{16} << 20;

std::unique_ptr<AccountNames> account_names(const Clock& clock = system_clock(),
                                            std::string passwd_path = "/etc/passwd",
                                            std::string group_path = "/etc/group");

// "name:x:id:..." lines of passwd(5) and group(5); the first line of an id counts, others that are
// malformed are passed over.
std::unordered_map<std::uint32_t, std::string> parse_account_file(ByteView content);

}  // namespace steeple::agent
