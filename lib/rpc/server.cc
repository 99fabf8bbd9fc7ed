// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/server.h"

#include <fmt/format.h>
#include <malloc.h>

#include "lib/rpc/server_connection.h"
#include "lib/rpc/server_core.h"

namespace steeple::rpc {
namespace {

// glibc keeps what many closed connections freed, until it is asked to give it back.
constexpr std::size_t kClosesBeforeTrim = 256;
constexpr auto kTrimDelay = std::chrono::seconds(2);

}  // namespace

ServerCore::ServerCore(Server::Deps deps, ServerOptions chosen, ServerHooks hooks)
    : loop(deps.loop),
      workers(deps.workers),
      random(deps.random),
      options(chosen),
      trim_(deps.loop) {
  registry->hooks = std::move(hooks);
}

void ServerCore::add(Method method) {
  CHECK(connections.empty());
  std::size_t slash = method.path.rfind('/');
  CHECK(method.path.starts_with('/') && slash > 0);
  registry->services.insert(method.path.substr(1, slash - 1));
  std::string path = method.path;
  CHECK(registry->methods.emplace(std::move(path), std::move(method)).second);
}

bool ServerCore::admit(const io::Peer& peer) {
  if (!serving_ || connections.size() >= options.connections_max) {
    return false;
  }
  if (!peer.process) {
    return true;
  }
  auto found = per_uid_.find(peer.process->uid);
  return found == per_uid_.end() || found->second < options.connections_per_uid_max;
}

void ServerCore::serve(std::unique_ptr<io::Connection> connection) {
  CHECK(loop.on_loop());
  std::shared_ptr<const io::Peer> peer = connection->peer();
  if (!admit(*peer)) {
    return;  // closes it
  }
  if (peer->process) {
    ++per_uid_[peer->process->uid];
  }
  auto served = std::make_shared<ServerConnection>(*this, next_number_++, std::move(connection));
  connections.emplace(served->number(), served);
  served->begin();
}

void ServerCore::forget(ServerConnection& connection) {
  if (connection.peer()->process) {
    auto found = per_uid_.find(connection.peer()->process->uid);
    if (found != per_uid_.end() && --found->second == 0) {
      per_uid_.erase(found);
    }
  }
  connections.erase(connection.number());
  trim_memory_later();
  if (connections.empty()) {
    for (io::Task& done : std::exchange(when_empty_, {})) {
      loop.post(std::move(done));
    }
  }
}

void ServerCore::trim_memory_later() {
  if (!options.malloc_trim_after_bursts || ++closed_since_trim_ < kClosesBeforeTrim ||
      trim_.pending()) {
    return;
  }
  trim_.start(kTrimDelay, [this] {
    closed_since_trim_ = 0;
    ::malloc_trim(0);
    scratch->pages.trim();
  });
}

void ServerCore::shutdown(Duration grace, io::Task done) {
  CHECK(loop.on_loop());
  serving_ = false;
  if (connections.empty()) {
    loop.post(std::move(done));
    return;
  }
  when_empty_.push_back(std::move(done));
  auto all = connections;
  for (auto& [key, connection] : all) {
    connection->drain(grace);
  }
}

void ServerCore::close_all() {
  serving_ = false;
  auto all = connections;
  for (auto& [key, connection] : all) {
    connection->disconnect(unavailable("server is gone"));
  }
}

Server::Server(Deps deps, ServerOptions options, ServerHooks hooks)
    : core_(std::make_shared<ServerCore>(deps, options, std::move(hooks))) {}

Server::~Server() {
  CHECK(core_->loop.on_loop());
  core_->close_all();
}

void Server::unary(std::string method, Where where, UnaryHandler handler) {
  core_->add(
      {.path = std::move(method), .where = where, .unary = std::move(handler), .stream = {}});
}

void Server::stream(std::string method, StreamHandler handler) {
  core_->add({.path = std::move(method),
              .where = Where::kLoop,
              .unary = {},
              .stream = std::move(handler)});
}

void Server::describe(const google::protobuf::ServiceDescriptor* service) {
  core_->registry->described.push_back(service);
}

void Server::serve(std::unique_ptr<io::Connection> connection) {
  core_->serve(std::move(connection));
}

void Server::shutdown(Duration grace, io::Task done) { core_->shutdown(grace, std::move(done)); }

std::size_t Server::connection_count() const { return core_->connections.size(); }

}  // namespace steeple::rpc
