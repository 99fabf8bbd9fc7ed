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

namespace steeple::agent {

class AccountNames {
 public:
  virtual ~AccountNames() = default;
  virtual std::optional<std::string> user(uid_t uid) = 0;
  virtual std::optional<std::string> group(gid_t gid) = 0;
};

std::unique_ptr<AccountNames> account_names(std::string passwd_path = "/etc/passwd",
                                            std::string group_path = "/etc/group");

}  // namespace steeple::agent
