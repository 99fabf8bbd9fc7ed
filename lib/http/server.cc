// SPDX-License-Identifier: Apache-2.0

#include "lib/http/server.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/http/session.h"

namespace steeple::http {

std::string_view reason_phrase(int status) {
  static constexpr std::pair<int, std::string_view> kReasons[] = {
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {304, "Not Modified"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {413, "Payload Too Large"},
      {415, "Unsupported Media Type"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
  };
  for (const auto& [code, reason] : kReasons) {
    if (code == status) {
      return reason;
    }
  }
  return "Status";
}

std::string_view Request::header(std::string_view name) const {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (const Header& candidate : headers) {
    if (std::equal(candidate.name.begin(), candidate.name.end(), name.begin(), name.end(),
                   [&](char a, char b) { return lower(a) == lower(b); })) {
      return candidate.value;
    }
  }
  return {};
}

Server::Server(io::Loop& loop, ServerOptions options)
    : state_(std::make_shared<State>(loop, std::move(options))) {}

Server::~Server() { state_->close(); }

void Server::route(std::string path, Handler handler) {
  state_->routes[std::move(path)] = std::move(handler);
}

Result<void> Server::listen(io::Network& network, const io::Endpoint& at, io::ListenOptions options,
                            tls::Handshake* handshake,
                            std::shared_ptr<const tls::ServerPolicy> policy) {
  std::weak_ptr<State> weak = state_;
  auto accept = [weak, handshake,
                 policy = std::move(policy)](std::unique_ptr<io::Connection> connection) {
    auto state = weak.lock();
    if (!state) {
      return;
    }
    if (handshake == nullptr) {
      state->serve(std::move(connection));
    } else {
      state->secure(std::move(connection), *handshake, policy);
    }
  };
  state_->listeners.push_back(TRY(network.listen(state_->loop, at, options, std::move(accept))));
  return {};
}

std::vector<io::Endpoint> Server::endpoints() const {
  std::vector<io::Endpoint> out;
  for (const auto& listener : state_->listeners) {
    out.push_back(listener->endpoint());
  }
  return out;
}

void Server::serve(std::unique_ptr<io::Connection> connection) {
  state_->serve(std::move(connection));
}

void Server::stop(Duration graceful, io::Task done) { state_->stop(graceful, std::move(done)); }

std::size_t Server::connections() const { return state_->sessions.size() + state_->handshakes; }

// --- state -------------------------------------------------------------------------------------

void Server::State::serve(std::unique_ptr<io::Connection> connection) {
  if (stopping || sessions.size() + handshakes >= options.connections_max) {
    return;  // closes it
  }
  std::uint64_t id = ++last_id;
  auto session = std::make_shared<Session>(shared_from_this(), id, std::move(connection));
  sessions.emplace(id, session);
  session->start();
}

void Server::State::secure(std::unique_ptr<io::Connection> connection, tls::Handshake& handshake,
                           std::shared_ptr<const tls::ServerPolicy> policy) {
  if (stopping || sessions.size() + handshakes >= options.connections_max) {
    return;
  }
  ++handshakes;
  std::weak_ptr<State> weak = weak_from_this();
  handshake.accept(loop, std::move(connection), std::move(policy), limits::kHandshakeTimeout,
                   [weak](Result<std::unique_ptr<io::Connection>> secured) {
                     auto state = weak.lock();
                     if (!state) {
                       return;
                     }
                     --state->handshakes;
                     if (secured.ok()) {
                       state->serve(std::move(secured).take());
                     }
                     state->finish_if_empty();
                   });
}

void Server::State::forget(std::uint64_t id) {
  sessions.erase(id);
  finish_if_empty();
}

void Server::State::finish_if_empty() {
  if (stopping && sessions.empty() && handshakes == 0 && stopped) {
    deadline.cancel();
    loop.post(std::exchange(stopped, nullptr));
  }
}

void Server::State::stop(Duration graceful, io::Task done) {
  listeners.clear();
  stopping = true;
  stopped = std::move(done);
  auto all = sessions;  // ending a session takes it out of the map
  for (const auto& [id, session] : all) {
    session->drain();
  }
  deadline.start(graceful, [this] { close(); });
  finish_if_empty();
}

void Server::State::close() {
  listeners.clear();
  stopping = true;
  handshakes = 0;  // those under way find `stopping` set
  auto all = std::exchange(sessions, {});
  for (const auto& [id, session] : all) {
    session->close();
  }
  finish_if_empty();
}

}  // namespace steeple::http
