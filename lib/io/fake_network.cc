// SPDX-License-Identifier: Apache-2.0

#include "lib/io/fake_network.h"

#include <algorithm>
#include <cerrno>

#include "lib/base/check.h"

namespace steeple::io {
namespace {

// The hosts in order, so that a link has one name.
using Link = std::pair<std::string, std::string>;
Link link_of(const std::string& a, const std::string& b) { return std::minmax(a, b); }

constexpr std::uint16_t kFirstFreePort = 49152;

struct End;

enum class Kind : std::uint8_t { kData, kFin, kReset };
struct Packet {
  SteadyTime due;
  Kind kind;
  std::string bytes;
};

// One direction of a connection: packets on their way to `to`.
struct Wire {
  std::deque<Packet> packets;
  SteadyTime last_due = SteadyTime::min();
  std::size_t bytes = 0;
};

}  // namespace

struct SimSwitch::State : std::enable_shared_from_this<SimSwitch::State> {
  State(SimScheduler& chosen, Options how) : scheduler(chosen), options(how) {}

  struct Listening {
    SimLoop* loop;
    AcceptHandler on_accept;
    Endpoint at;
  };

  Duration latency() {
    auto spread = static_cast<std::uint64_t>((options.latency_max - options.latency_min).count());
    return options.latency_min +
           Duration(static_cast<std::int64_t>(scheduler.random().below(spread + 1)));
  }
  bool is_cut(const std::string& a, const std::string& b) const {
    return a != b && cuts.contains(link_of(a, b));
  }
  std::string address_of(const std::string& host) {
    auto [found, fresh] = addresses.emplace(host, addresses.size() + 1);
    return fmt::format("10.77.{}.{}", found->second / 256, found->second % 256);
  }

  void send(const std::shared_ptr<End>& to, Kind kind, std::string bytes);
  void schedule(const std::shared_ptr<End>& to);
  void deliver(const std::shared_ptr<End>& to);

  SimScheduler& scheduler;
  const Options options;
  std::set<Link> cuts;
  std::map<std::string, std::size_t> addresses;
  // Host and "unix:/path" or "tcp:port".
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Listening>> listeners;
  std::uint16_t next_port = kFirstFreePort;
  std::uint64_t next_end = 1;
  // Ordered by number, so that a walk over them is the same in every run.
  std::map<std::uint64_t, std::weak_ptr<End>> ends;
};

namespace {

using State = SimSwitch::State;

// One side of a connection. Shared by its SimConnection and the events that go to it.
struct End : std::enable_shared_from_this<End> {
  std::shared_ptr<State> network;
  std::string host;
  SimLoop* loop = nullptr;
  std::weak_ptr<End> other;
  std::string other_host;
  Wire incoming;
  std::string inbox;
  std::shared_ptr<const Connection::ReadyHandler> handler;
  std::uint64_t number = 0;
  bool want_read = false;
  bool want_write = false;
  bool open = true;  // its SimConnection lives and its host has not vanished
  bool fin = false;  // the peer sends no more
  bool reset = false;
  bool fin_sent = false;
  bool check_posted = false;

  bool readable() const { return !inbox.empty() || fin || reset; }
  std::size_t room() const {
    std::shared_ptr<End> peer = other.lock();
    if (!peer) {
      return network->options.buffer_bytes;  // into the void, until a reset comes back
    }
    std::size_t used = peer->inbox.size() + peer->incoming.bytes;
    return network->options.buffer_bytes - std::min(used, network->options.buffer_bytes);
  }
  bool writable() const { return reset || room() > 0; }

  // Tells the handler on its loop, as long as interest and readiness last.
  void arm() {
    if (!open || check_posted || !handler ||
        !((want_read && readable()) || (want_write && writable()))) {
      return;
    }
    check_posted = true;
    loop->post([weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self) {
        return;
      }
      self->check_posted = false;
      bool read = self->want_read && self->readable();
      bool write = self->want_write && self->writable();
      if (self->open && self->handler && (read || write)) {
        auto run = self->handler;
        (*run)(read, write);
      }
      self->arm();
    });
  }

  void break_off() {
    reset = true;
    inbox.clear();
    arm();
  }
};

class SimConnection final : public Connection {
 public:
  SimConnection(std::shared_ptr<End> end, std::shared_ptr<const Peer> peer)
      : end_(std::move(end)), peer_(std::move(peer)) {}
  ~SimConnection() override {
    bool unread = !end_->inbox.empty();
    if (end_->open && !end_->reset) {
      if (auto other = end_->other.lock()) {
        if (unread || !end_->fin_sent) {
          end_->network->send(other, unread ? Kind::kReset : Kind::kFin, {});
        }
      }
    }
    end_->open = false;
    end_->handler = nullptr;
    end_->network->ends.erase(end_->number);
  }

  IoResult read(std::span<char> into) override {
    if (end_->reset) {
      return {IoStatus::kError};
    }
    if (end_->inbox.empty()) {
      return {end_->fin ? IoStatus::kEof : IoStatus::kWouldBlock};
    }
    std::size_t count = some(std::min(into.size(), end_->inbox.size()));
    std::memcpy(into.data(), end_->inbox.data(), count);
    end_->inbox.erase(0, count);
    if (auto other = end_->other.lock()) {
      other->arm();  // there is room again
    }
    return {IoStatus::kOk, count};
  }

  IoResult write(ByteView from) override {
    if (end_->reset || end_->fin_sent) {
      return {IoStatus::kError};
    }
    std::size_t room = end_->room();
    if (room == 0) {
      return {IoStatus::kWouldBlock};
    }
    std::size_t count = some(std::min(from.size(), room));
    if (auto other = end_->other.lock()) {
      end_->network->send(other, Kind::kData, std::string(from.substr(0, count)));
    } else {
      // Nobody is there any more: a reset comes back after a while.
      end_->network->scheduler.after(end_->network->latency(), [weak = std::weak_ptr(end_)] {
        if (auto self = weak.lock()) {
          self->break_off();
        }
      });
    }
    return {IoStatus::kOk, count};
  }

  void on_ready(ReadyHandler handler) override {
    end_->handler = std::make_shared<const ReadyHandler>(std::move(handler));
    end_->arm();
  }
  void interest(bool readable, bool writable) override {
    end_->want_read = readable;
    end_->want_write = writable;
    end_->arm();
  }
  void shutdown_write() override {
    if (!std::exchange(end_->fin_sent, true)) {
      if (auto other = end_->other.lock()) {
        end_->network->send(other, Kind::kFin, {});
      }
    }
  }
  std::shared_ptr<const Peer> peer() const override { return peer_; }
  std::string last_error() const override {
    return end_->reset ? errno_text(ECONNRESET) : std::string();
  }
  int fd() const override { return -1; }

 private:
  std::size_t some(std::size_t count) {
    if (!end_->network->options.short_transfers || count < 2) {
      return count;
    }
    Random& random = end_->network->scheduler.random();
    return random.below(4) == 0 ? 1 + random.below(count) : count;
  }

  const std::shared_ptr<End> end_;
  const std::shared_ptr<const Peer> peer_;
};

class SimListener final : public Listener {
 public:
  SimListener(std::shared_ptr<State> network, std::pair<std::string, std::string> key,
              std::shared_ptr<State::Listening> listening)
      : network_(std::move(network)), key_(std::move(key)), listening_(std::move(listening)) {}
  ~SimListener() override {
    // After its host vanished another process may listen in its place.
    auto found = network_->listeners.find(key_);
    if (found != network_->listeners.end() && found->second == listening_) {
      network_->listeners.erase(found);
    }
  }
  Endpoint endpoint() const override { return listening_->at; }

 private:
  const std::shared_ptr<State> network_;
  const std::pair<std::string, std::string> key_;
  const std::shared_ptr<State::Listening> listening_;
};

std::string name_of(const Endpoint& endpoint) {
  return endpoint.unix_path.empty() ? fmt::format("tcp:{}", endpoint.port)
                                    : "unix:" + endpoint.unix_path;
}

SimLoop& sim_loop(Loop& loop) {
  auto* simulated = dynamic_cast<SimLoop*>(&loop);
  CHECK(simulated != nullptr && simulated->on_loop());
  return *simulated;
}

class SimNetwork final : public Network {
 public:
  SimNetwork(std::shared_ptr<State> network, std::string host, SimSwitch::Process process)
      : network_(std::move(network)), host_(std::move(host)), process_(process) {}

  Result<std::unique_ptr<Listener>> listen(Loop& loop, const Endpoint& at, ListenOptions,
                                           AcceptHandler on_accept) override {
    Endpoint bound = at;
    if (bound.unix_path.empty() && bound.port == 0) {
      bound.port = network_->next_port++;
    }
    std::pair key{host_, name_of(bound)};
    auto listening =
        std::make_shared<State::Listening>(&sim_loop(loop), std::move(on_accept), bound);
    if (!network_->listeners.emplace(key, listening).second) {
      return errno_error(EADDRINUSE, fmt::format("listen {}: bind", bound.text()));
    }
    return std::unique_ptr<Listener>(
        std::make_unique<SimListener>(network_, key, std::move(listening)));
  }

  void connect(Loop& loop, const Endpoint& to, Duration timeout, ConnectHandler handler) override;

 private:
  struct Attempt {
    std::shared_ptr<State> network;
    std::string from;
    std::string target;
    SimLoop* loop;
    Endpoint to;
    SimSwitch::Process process;
    SteadyTime deadline;
    ConnectHandler handler;
    // Ends with the SimNetwork: a process that is gone connects no more.
    std::weak_ptr<bool> alive;
  };

  static void arrive(const std::shared_ptr<Attempt>& attempt);
  static void establish(Attempt& attempt, State::Listening& listening);
  static void answer(const std::shared_ptr<Attempt>& attempt, Duration after, Error error);
  static std::string doing(const Attempt& attempt) {
    return attempt.to.unix_path.empty() ? "dial tcp " + attempt.to.text()
                                        : "dial unix " + attempt.to.unix_path;
  }

  const std::shared_ptr<State> network_;
  const std::string host_;
  const SimSwitch::Process process_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

void SimNetwork::connect(Loop& loop, const Endpoint& to, Duration timeout, ConnectHandler handler) {
  bool local = !to.unix_path.empty() || to.host.empty() || to.host == "localhost" ||
               to.host == "127.0.0.1" || to.host == "::1";
  SteadyTime now = network_->scheduler.clock().steady();
  auto attempt = std::make_shared<Attempt>(
      Attempt{network_, host_, local ? host_ : to.host, &sim_loop(loop), to, process_,
              timeout < SteadyTime::max() - now ? now + timeout : SteadyTime::max(),
              std::move(handler), alive_});
  network_->scheduler.after(network_->latency(), [attempt] { arrive(attempt); });
}

void SimNetwork::answer(const std::shared_ptr<Attempt>& attempt, Duration after, Error error) {
  attempt->network->scheduler.after(after, [attempt, error = std::move(error)]() mutable {
    if (!attempt->alive.expired()) {
      attempt->loop->post([attempt, error = std::move(error)]() mutable {
        if (!attempt->alive.expired()) {
          attempt->handler(std::move(error));
        }
      });
    }
  });
}

// The SYN at its destination.
void SimNetwork::arrive(const std::shared_ptr<Attempt>& attempt) {
  State& network = *attempt->network;
  SteadyTime now = network.scheduler.clock().steady();
  if (attempt->alive.expired()) {
    return;
  }
  bool late = now >= attempt->deadline;
  if (late || network.is_cut(attempt->from, attempt->target)) {
    answer(attempt, late ? Duration::zero() : attempt->deadline - now,
           unavailable(doing(*attempt) + ": i/o timeout"));
    return;
  }
  auto found = network.listeners.find({attempt->target, name_of(attempt->to)});
  if (found == network.listeners.end()) {
    bool local = !attempt->to.unix_path.empty();
    answer(attempt, network.latency(),
           errno_error(local ? ENOENT : ECONNREFUSED, doing(*attempt) + ": connect"));
    return;
  }
  establish(*attempt, *found->second);
}

void SimNetwork::establish(Attempt& attempt, State::Listening& listening) {
  auto make = [&](const std::string& host, const std::string& other, SimLoop* loop) {
    auto end = std::make_shared<End>();
    end->network = attempt.network;
    end->host = host;
    end->other_host = other;
    end->loop = loop;
    end->number = attempt.network->next_end++;
    attempt.network->ends.emplace(end->number, end);
    return end;
  };
  auto near = make(attempt.from, attempt.target, attempt.loop);
  auto far = make(attempt.target, attempt.from, listening.loop);
  near->other = far;
  far->other = near;
  auto near_peer = std::make_shared<Peer>();
  auto far_peer = std::make_shared<Peer>();
  if (attempt.to.unix_path.empty()) {
    std::uint64_t port = kFirstFreePort + near->number % 16384;
    far_peer->address = fmt::format("{}:{}", attempt.network->address_of(attempt.from), port);
    near_peer->address =
        fmt::format("{}:{}", attempt.network->address_of(attempt.target), attempt.to.port);
  } else {
    PeerProcess& process = far_peer->process.emplace();
    process.pid = attempt.process.pid;
    process.uid = attempt.process.uid;
    process.gid = attempt.process.gid;
    process.start_time = attempt.process.start_time;
  }
  auto accepted = std::make_unique<SimConnection>(far, std::move(far_peer));
  auto connected = std::make_unique<SimConnection>(near, std::move(near_peer));
  std::weak_ptr<State> network = attempt.network;
  std::pair key{attempt.target, name_of(attempt.to)};
  listening.loop->post([network, key, accepted = std::move(accepted)]() mutable {
    auto state = network.lock();
    auto found = state ? state->listeners.find(key) : decltype(state->listeners.end()){};
    if (state && found != state->listeners.end()) {
      std::shared_ptr<State::Listening> keep = found->second;  // it may stop listening now
      keep->on_accept(std::move(accepted));
    }
  });
  auto tell = [alive = attempt.alive, handler = std::move(attempt.handler), loop = attempt.loop,
               connected = std::move(connected)]() mutable {
    if (!alive.expired()) {
      loop->post([alive, handler = std::move(handler), connected = std::move(connected)]() mutable {
        if (!alive.expired()) {
          handler(std::unique_ptr<Connection>(std::move(connected)));
        }
      });
    }
  };
  attempt.network->scheduler.after(attempt.network->latency(), std::move(tell));
}

}  // namespace

void SimSwitch::State::send(const std::shared_ptr<End>& to, Kind kind, std::string bytes) {
  Wire& wire = to->incoming;
  wire.last_due = std::max(wire.last_due, scheduler.clock().steady() + latency());
  wire.bytes += bytes.size();
  wire.packets.push_back({wire.last_due, kind, std::move(bytes)});
  schedule(to);
}

void SimSwitch::State::schedule(const std::shared_ptr<End>& to) {
  if (!to->incoming.packets.empty()) {
    SteadyTime due = std::max(to->incoming.packets.back().due, scheduler.clock().steady());
    scheduler.at(due, [weak = weak_from_this(), to] {
      if (auto self = weak.lock()) {
        self->deliver(to);
      }
    });
  }
}

void SimSwitch::State::deliver(const std::shared_ptr<End>& to) {
  if (is_cut(to->host, to->other_host)) {
    return;  // healing schedules anew
  }
  SteadyTime now = scheduler.clock().steady();
  std::deque<Packet>& packets = to->incoming.packets;
  while (!packets.empty() && packets.front().due <= now) {
    Packet packet = std::move(packets.front());
    packets.pop_front();
    to->incoming.bytes -= packet.bytes.size();
    if (!to->open) {
      auto sender = to->other.lock();
      if (sender && packet.kind == Kind::kData) {
        sender->break_off();
      }
      continue;
    }
    switch (packet.kind) {
      case Kind::kData:
        to->inbox += packet.bytes;
        break;
      case Kind::kFin:
        to->fin = true;
        break;
      case Kind::kReset:
        to->break_off();
        break;
    }
  }
  to->arm();
}

SimSwitch::SimSwitch(SimScheduler& scheduler, Options options)
    : state_(std::make_shared<State>(scheduler, options)) {}

SimSwitch::~SimSwitch() = default;

std::unique_ptr<Network> SimSwitch::join(const std::string& host, Process process) {
  state_->address_of(host);
  return std::make_unique<SimNetwork>(state_, host, process);
}

void SimSwitch::cut(const std::string& a, const std::string& b) {
  state_->cuts.insert(link_of(a, b));
}

void SimSwitch::heal(const std::string& a, const std::string& b) {
  state_->cuts.erase(link_of(a, b));
  for (const auto& [number, weak] : state_->ends) {
    auto end = weak.lock();
    if (end && link_of(end->host, end->other_host) == link_of(a, b)) {
      state_->schedule(end);
    }
  }
}

void SimSwitch::heal_all() {
  for (const Link& link : std::set<Link>(state_->cuts)) {
    heal(link.first, link.second);
  }
}

void SimSwitch::reset_connections(const std::string& a, const std::string& b) {
  for (const auto& [number, weak] : state_->ends) {
    auto end = weak.lock();
    if (end && link_of(end->host, end->other_host) == link_of(a, b)) {
      end->break_off();
    }
  }
}

void SimSwitch::vanish(const std::string& host) {
  for (const auto& [number, weak] : state_->ends) {
    auto end = weak.lock();
    if (end && end->host == host) {
      end->open = false;
    }
  }
  std::erase_if(state_->listeners, [&](const auto& each) { return each.first.first == host; });
}

std::size_t SimSwitch::connection_count() const { return state_->ends.size() / 2; }

}  // namespace steeple::io
