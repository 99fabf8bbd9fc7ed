// SPDX-License-Identifier: Apache-2.0

// The state of a Channel: its present connection, those being drained, the calls that wait for one,
// and the backoff. On the channel's loop.

#pragma once

#include <memory>
#include <set>
#include <vector>

#include "lib/rpc/client.h"
#include "lib/rpc/client_connection.h"

namespace steeple::rpc {

class ChannelCore : public std::enable_shared_from_this<ChannelCore> {
 public:
  ChannelCore(Channel::Deps deps, io::Endpoint endpoint,
              std::shared_ptr<const tls::ClientPolicy> policy, ChannelOptions options);

  // For a new call: as submit, but no callback runs inside.
  void begin(const std::shared_ptr<OutgoingCall>& call);
  // Starts the call, now or when connected.
  void submit(const std::shared_ptr<OutgoingCall>& call);
  // As submit, for a call that has to be sent again.
  void resubmit(const std::shared_ptr<OutgoingCall>& call);
  void reconnect();
  void close();
  std::shared_ptr<const io::Peer> peer() const;

  // --- from connections ---
  void connection_ready();
  // It takes no new calls any more.
  void retire(ClientConnection& connection);
  void connection_closed(ClientConnection& connection, bool was_ready, const Error& why);

  const Channel::Deps deps;
  const io::Endpoint endpoint;
  const ChannelOptions options;
  const std::string authority;

 private:
  void connect();
  void connected(std::uint64_t attempt, SteadyTime deadline,
                 Result<std::unique_ptr<io::Connection>> raw);
  void secured(std::uint64_t attempt, Result<std::unique_ptr<io::Connection>> secure);
  void adopt(std::unique_ptr<io::Connection> connection);
  void back_off(Error error);
  void fail_waiting(const Error& error);

  const std::shared_ptr<const tls::ClientPolicy> policy_;
  const std::shared_ptr<Scratch> scratch_ = std::make_shared<Scratch>();
  friend class ClientConnection;
  std::shared_ptr<ClientConnection> current_;
  std::set<std::shared_ptr<ClientConnection>> retired_;
  std::vector<std::shared_ptr<OutgoingCall>> waiting_;
  std::uint64_t attempt_ = 0;
  bool connecting_ = false;
  bool closed_ = false;
  Duration backoff_{};
  SteadyTime retry_at_ = SteadyTime::min();
  Error last_error_;
};

}  // namespace steeple::rpc
