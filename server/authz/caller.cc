// SPDX-License-Identifier: Apache-2.0

#include "server/authz/caller.h"

namespace steeple::server {

std::string Caller::host() const {
  const std::string& address = peer_->address;
  std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    return host.substr(1, host.size() - 2);
  }
  return host;
}

const Logger& Caller::log() {
  if (!log_) {
    Logger log = base_.with({"method", method_}).with({"request_id", random_.uuid()});
    log = log.with({"authorized_as", authorized_as}).with({"authorized_via", authorized_via});
    if (local()) {
      log = log.with({"caller_uid", peer_->process->uid}).with({"caller_gid", peer_->process->gid});
    } else {
      log = log.with({"caller_addr", peer_->address});
    }
    if (id()) {
      log = log.with({"caller_id", id()->text()});
    }
    log_ = std::move(log);
  }
  return *log_;
}

}  // namespace steeple::server
