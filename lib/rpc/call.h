// SPDX-License-Identifier: Apache-2.0

// What a handler knows of the call it answers.

#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/io/connection.h"

namespace steeple::rpc {

using Metadata = std::vector<std::pair<std::string, std::string>>;  // lower-case names

// Lives as long as the call and is shared with the worker that serves it. `peer` belongs to the
// connection object, which the call keeps alive.
struct CallContext {
  std::string method;  // "/spire.api.server.entry.v1.Entry/CountEntries"
  std::shared_ptr<const io::Peer> peer;
  Metadata metadata;
  SteadyTime deadline = SteadyTime::max();
  std::atomic<bool> cancelled = false;  // client gone, reset, or deadline passed

  // What the authorize hook found out about the caller, for the handler; its type is theirs.
  std::shared_ptr<void> caller;

  // Every value of a header, in order of arrival.
  std::vector<std::string> values(std::string_view name) const;
};

}  // namespace steeple::rpc
