// SPDX-License-Identifier: Apache-2.0

// What all connections of one Server share. Inner part of lib/rpc; on the server's loop, except
// Registry, which is constant once connections exist and therefore read by workers too.

#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/rpc/h2_session.h"
#include "lib/rpc/server.h"

namespace steeple::rpc {

class ServerConnection;

struct Method {
  std::string path;
  Where where = Where::kLoop;
  UnaryHandler unary;  // one of the two is set
  StreamHandler stream;
};

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};

struct Registry {
  std::unordered_map<std::string, Method, TextHash, std::equal_to<>> methods;
  std::set<std::string, std::less<>> services;
  std::vector<const google::protobuf::ServiceDescriptor*> described;
  ServerHooks hooks;
};

class ServerCore : public std::enable_shared_from_this<ServerCore> {
 public:
  ServerCore(Server::Deps deps, ServerOptions chosen, ServerHooks hooks);

  void add(Method method);
  void serve(std::unique_ptr<io::Connection> connection);
  void shutdown(Duration grace, io::Task done);
  void close_all();
  void forget(ServerConnection& connection);

  io::Loop& loop;
  io::Workers& workers;
  Random& random;
  const ServerOptions options;
  const std::shared_ptr<Registry> registry = std::make_shared<Registry>();
  const std::shared_ptr<Scratch> scratch = std::make_shared<Scratch>();
  // By number, so that whoever walks over them does so in the same order in every simulated run.
  std::map<std::uint64_t, std::shared_ptr<ServerConnection>> connections;

 private:
  bool admit(const io::Peer& peer);
  void trim_memory_later();

  std::map<uid_t, std::size_t> per_uid_;
  std::uint64_t next_number_ = 1;
  bool serving_ = true;
  std::vector<io::Task> when_empty_;
  std::size_t closed_since_trim_ = 0;
  io::Timer trim_;
};

}  // namespace steeple::rpc
