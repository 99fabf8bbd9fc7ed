// SPDX-License-Identifier: Apache-2.0

// One HTTP/1.1 connection of a Server: reads a request, lets its handler answer, writes the
// response, and so on. Inner part of server.cc; on the loop.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "lib/http/server.h"

namespace steeple::http {

struct Server::State : std::enable_shared_from_this<Server::State> {
  State(io::Loop& on, ServerOptions with) : loop(on), options(std::move(with)) {}

  void serve(std::unique_ptr<io::Connection> connection);
  void secure(std::unique_ptr<io::Connection> connection, tls::Handshake& handshake,
              std::shared_ptr<const tls::ServerPolicy> policy);
  void forget(std::uint64_t id);
  void stop(Duration graceful, io::Task done);
  void close();
  void finish_if_empty();

  io::Loop& loop;
  const ServerOptions options;
  std::map<std::string, Handler> routes;
  std::vector<std::unique_ptr<io::Listener>> listeners;
  std::map<std::uint64_t, std::shared_ptr<Session>> sessions;
  std::size_t handshakes = 0;  // under way
  std::uint64_t last_id = 0;
  bool stopping = false;
  io::Task stopped;
  io::Timer deadline{loop};
};

class Server::Session : public std::enable_shared_from_this<Server::Session> {
 public:
  Session(const std::shared_ptr<State>& server, std::uint64_t id,
          std::unique_ptr<io::Connection> connection);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  // Ends after the response under way, or at once when there is none.
  void drain();
  void close();

 private:
  class Parser;
  enum class Phase : std::uint8_t { kReading, kHandling, kWriting, kLingering, kClosed };

  void run();
  bool read_some();
  bool parse_some();
  bool write_some();
  void next_request();
  void dispatch();
  void hand_over(const Handler& handler, Request request);
  void answer(std::uint64_t number, Response response);
  void refuse(int status, std::vector<Header> headers = {});
  void linger();
  void set_interest();

  std::weak_ptr<State> server_;
  io::Loop& loop_;
  const ServerOptions& options_;  // of the state, which outlives its sessions' open time
  const std::uint64_t id_;
  std::unique_ptr<io::Connection> connection_;
  std::unique_ptr<Parser> parser_;
  std::string input_;   // read, not yet parsed
  std::string output_;  // not yet written
  std::size_t written_ = 0;
  std::size_t lingered_ = 0;
  Phase phase_ = Phase::kReading;
  std::uint64_t number_ = 0;  // of the request
  bool head_ = false;
  bool keep_alive_ = false;
  bool running_ = false;
  bool draining_ = false;
  io::Timer timer_;
};

}  // namespace steeple::http
