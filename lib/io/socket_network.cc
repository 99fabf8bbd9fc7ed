// SPDX-License-Identifier: Apache-2.0

// Connecting: resolve off the loop, try each address in turn, give up when the time is over.

#include "lib/io/socket_network.h"

#include <netinet/in.h>

#include <cerrno>
#include <thread>

#include "lib/base/guarded.h"
#include "lib/io/socket_connection.h"

namespace steeple::io {
namespace {

// Lookups under way; each is a thread because getaddrinfo(3) cannot be cancelled.
constexpr std::size_t kLookupsMax = 16;
// connect(2) on a Unix socket says EAGAIN while the backlog is full, and nothing tells when not.
constexpr auto kBacklogRetry = std::chrono::milliseconds(10);

using Addresses = Result<std::vector<SocketAddress>>;

}  // namespace

// Outlived by lookup threads, which then find `open` false and drop their answer.
struct SocketNetwork::State : std::enable_shared_from_this<SocketNetwork::State> {
  class Attempt;
  struct Shared {
    bool open = true;
    std::size_t lookups = 0;
    std::uint64_t next_id = 1;
    std::map<std::uint64_t, std::shared_ptr<Attempt>> attempts;
  };

  void look_up(AsioLoop& loop, const Endpoint& to, std::uint64_t id);
  void looked_up(std::uint64_t id, Addresses addresses);

  Guarded<Shared> shared;
};

// One connect call. Lives in the network's table until its handler was called.
class SocketNetwork::State::Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(std::weak_ptr<State> network, AsioLoop& loop, std::uint64_t id, Endpoint to,
          Duration timeout, ConnectHandler handler)
      : network_(std::move(network)),
        loop_(loop),
        id_(id),
        to_(std::move(to)),
        handler_(std::move(handler)),
        deadline_(timeout < Duration::max() - loop.clock().steady().time_since_epoch()
                      ? loop.clock().steady() + timeout
                      : SteadyTime::max()),
        overall_(loop),
        step_(loop) {
    if (deadline_ != SteadyTime::max()) {
      overall_.start(timeout,
                     [this] { finish(unavailable(fmt::format("{}: i/o timeout", doing()))); });
    }
  }

  void resolved(Addresses addresses) {
    if (!addresses.ok()) {
      finish(std::move(addresses.error()).during(to_.unix_path.empty() ? "dial tcp" : "dial unix"));
      return;
    }
    addresses_ = std::move(*addresses);
    try_next();
  }

 private:
  std::string doing() const {
    return fmt::format("dial {}",
                       to_.unix_path.empty() ? "tcp " + to_.text() : "unix " + to_.unix_path);
  }
  std::string doing_at() const {
    bool local = !to_.unix_path.empty();
    return fmt::format("dial {} {}: connect", local ? "unix" : "tcp", addresses_[next_ - 1].text());
  }

  void try_next() {
    watch_.reset();
    socket_.reset();
    if (next_ == addresses_.size()) {
      finish(std::move(last_error_));
      return;
    }
    ++next_;
    Result<FileDescriptor> socket = open_socket(addresses_[next_ - 1].family());
    if (!socket.ok()) {
      last_error_ = std::move(socket.error()).during(doing_at());
      try_next();
      return;
    }
    socket_ = std::move(*socket);
    limit_step();
    start_connect();
  }

  // A silent address may take only its share of the time while others are left.
  void limit_step() {
    std::size_t left = addresses_.size() - next_;
    if (left == 0 || deadline_ == SteadyTime::max()) {
      step_.cancel();
      return;
    }
    Duration share = (deadline_ - loop_.clock().steady()) / static_cast<std::int64_t>(left + 1);
    step_.start(share, [this] {
      last_error_ = errno_error(ETIMEDOUT, doing_at());
      try_next();
    });
  }

  void start_connect() {
    const SocketAddress& address = addresses_[next_ - 1];
    int failure = ::connect(socket_.get(), address.raw(), address.length) == 0 ? 0 : errno;
    if (failure == 0) {
      connected();
    } else if (failure == EINPROGRESS || failure == EINTR) {
      watch_ = loop_.watch(socket_.get());
      watch_->on_ready([this](bool, bool) { settled(); });
      watch_->interest(false, true);
    } else if (failure == EAGAIN) {
      retry_full_backlog();
    } else {
      last_error_ = errno_error(failure, doing_at());
      try_next();
    }
  }

  void retry_full_backlog() {
    step_.start(kBacklogRetry, [this] { start_connect(); });
  }

  void settled() {
    int failure = 0;
    socklen_t length = sizeof failure;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &failure, &length);
    if (failure == 0) {
      connected();
      return;
    }
    last_error_ = errno_error(failure, doing_at());
    try_next();
  }

  void connected() {
    watch_.reset();
    auto peer = std::make_shared<Peer>();
    if (to_.unix_path.empty()) {
      set_no_delay(socket_.get());
      peer->address = addresses_[next_ - 1].text();
    }
    finish(std::unique_ptr<Connection>(
        std::make_unique<SocketConnection>(loop_, std::move(socket_), std::move(peer))));
  }

  void finish(Result<std::unique_ptr<Connection>> result) {
    std::shared_ptr<Attempt> self = shared_from_this();
    overall_.cancel();
    step_.cancel();
    watch_.reset();
    ConnectHandler handler = std::move(handler_);
    if (std::shared_ptr<State> network = network_.lock()) {
      network->shared.lock()->attempts.erase(id_);
    }
    handler(std::move(result));
  }

  const std::weak_ptr<State> network_;
  AsioLoop& loop_;
  const std::uint64_t id_;
  const Endpoint to_;
  ConnectHandler handler_;
  const SteadyTime deadline_;
  Timer overall_;
  Timer step_;
  std::vector<SocketAddress> addresses_;
  std::size_t next_ = 0;  // the one after the address being tried
  FileDescriptor socket_;
  std::unique_ptr<FdWatch> watch_;
  Error last_error_;
};

void SocketNetwork::State::look_up(AsioLoop& loop, const Endpoint& to, std::uint64_t id) {
  {
    auto state = shared.lock();
    if (state->lookups >= kLookupsMax) {
      loop.post([weak = weak_from_this(), id] {
        if (auto self = weak.lock()) {
          self->looked_up(id, unavailable("too many name lookups under way"));
        }
      });
      return;
    }
    ++state->lookups;
  }
  std::thread([self = shared_from_this(), &loop, host = to.host, port = to.port, id] {
    Addresses found = resolve(host, port, false, false);
    // While the network is open its loop lives; the lock keeps it open during the post.
    auto state = self->shared.lock();
    --state->lookups;
    if (state->open) {
      loop.post([weak = std::weak_ptr<State>(self), id, found = std::move(found)]() mutable {
        if (auto network = weak.lock()) {
          network->looked_up(id, std::move(found));
        }
      });
    }
  }).detach();
}

void SocketNetwork::State::looked_up(std::uint64_t id, Addresses addresses) {
  std::shared_ptr<Attempt> attempt;
  {
    auto state = shared.lock();
    auto found = state->attempts.find(id);
    if (found == state->attempts.end()) {
      return;  // timed out meanwhile
    }
    attempt = found->second;
  }
  attempt->resolved(std::move(addresses));
}

SocketNetwork::SocketNetwork() : state_(std::make_shared<State>()) {}

SocketNetwork::~SocketNetwork() {
  std::map<std::uint64_t, std::shared_ptr<State::Attempt>> gone;
  auto state = state_->shared.lock();
  state->open = false;
  gone.swap(state->attempts);
}

Result<std::unique_ptr<Listener>> SocketNetwork::listen(Loop& loop, const Endpoint& at,
                                                        ListenOptions options,
                                                        AcceptHandler on_accept) {
  return listen_on(asio_loop(loop), at, options, std::move(on_accept));
}

void SocketNetwork::connect(Loop& loop, const Endpoint& to, Duration timeout,
                            ConnectHandler handler) {
  AsioLoop& real = asio_loop(loop);
  std::uint64_t id = 0;
  {
    auto state = state_->shared.lock();
    id = state->next_id++;
    state->attempts.emplace(
        id, std::make_shared<State::Attempt>(state_, real, id, to, timeout, std::move(handler)));
  }
  std::optional<Addresses> known;
  if (!to.unix_path.empty()) {
    Result<SocketAddress> address = unix_address(to.unix_path);
    known = address.ok() ? Addresses(std::vector{*address}) : Addresses(address.error());
  } else {
    Addresses numeric = resolve(to.host.empty() ? "localhost" : to.host, to.port, true, false);
    if (numeric.ok()) {
      known = std::move(numeric);
    }
  }
  if (!known) {
    state_->look_up(real, to, id);
    return;
  }
  // Later, so that the handler never runs inside connect.
  real.post([weak = std::weak_ptr<State>(state_), id, found = std::move(*known)]() mutable {
    if (auto network = weak.lock()) {
      network->looked_up(id, std::move(found));
    }
  });
}

}  // namespace steeple::io
