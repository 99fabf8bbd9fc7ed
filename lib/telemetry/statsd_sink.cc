// SPDX-License-Identifier: Apache-2.0

// StatsD and DogStatsD lines as go-metrics and datadog-go write them, gathered into datagrams and
// sent from a non-blocking socket. What the network does not take is lost, as UDP may.

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "lib/base/guarded.h"
#include "lib/io/file_descriptor.h"
#include "lib/io/on_worker.h"
#include "lib/telemetry/metric_sink.h"

namespace steeple {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kDatagramBytesMax = 1400;  // fits an Ethernet frame
constexpr auto kFlushInterval = 100ms;
constexpr auto kRetryInterval = 5s;

Result<io::FileDescriptor> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return invalid_argument(fmt::format("socket path \"{}\" is too long", path));
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  io::FileDescriptor fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid() ||
      ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return errno_error(errno, fmt::format("dial unix {}", path));
  }
  return fd;
}

// Blocks on names.
Result<io::FileDescriptor> connect_to(const std::string& address) {
  if (address.starts_with("unix://")) {
    return connect_unix(address.substr(7));
  }
  std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return invalid_argument(fmt::format("address {}: missing port in address", address));
  }
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  int failure = ::getaddrinfo(host.empty() ? "localhost" : host.c_str(),
                              address.c_str() + colon + 1, &hints, &found);
  if (failure != 0) {
    return unavailable(fmt::format("lookup {}: {}", host, ::gai_strerror(failure)));
  }
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, ::freeaddrinfo);
  io::FileDescriptor fd(
      ::socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, found->ai_protocol));
  if (!fd.valid() || ::connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0) {
    return errno_error(errno, fmt::format("dial udp {}", address));
  }
  return fd;
}

// ':' and ' ' part a line's fields.
std::string clean(std::string_view text) {
  std::string out(text);
  std::replace_if(out.begin(), out.end(), [](char c) { return c == ':' || c == ' '; }, '_');
  return out;
}

class StatsdSink final : public MetricSink {
 public:
  StatsdSink(StatsdDialect dialect, std::string address, io::Loop& loop, io::Workers* workers,
             Logger log)
      : dialect_(dialect),
        address_(std::move(address)),
        loop_(loop),
        workers_(workers),
        log_(std::move(log)),
        timer_(loop) {
    settle(connect_to(address_));
    tick();
  }
  ~StatsdSink() override { flush(*state_.lock()); }

  void count(const Metric& metric) override {
    bool whole = dialect_ == StatsdDialect::kDogStatsd;
    push(metric, whole ? fmt::format("{}", static_cast<std::int64_t>(metric.value)) : "", "c");
  }
  void gauge(const Metric& metric) override {
    push(metric, dialect_ == StatsdDialect::kDogStatsd ? fmt::format("{}", metric.value) : "", "g");
  }
  void sample(const Metric& metric) override { push(metric, "", "ms"); }

 private:
  struct State {
    io::FileDescriptor fd;
    std::string buffer;
  };

  void push(const Metric& metric, std::string value, std::string_view type) {
    if (value.empty()) {
      value = fmt::format("{:f}", metric.value);
    }
    std::string line;
    if (dialect_ == StatsdDialect::kStatsd) {
      line = metric.key;
      for (const auto& [name, label] : metric.labels) {
        line += '.' + label;
      }
      line = fmt::format("{}:{}|{}\n", clean(line), value, type);
    } else {
      line = fmt::format("{}:{}|{}", clean(metric.key), value, type);
      std::string_view mark = "|#";
      for (const auto& [name, label] : metric.labels) {
        line += mark;
        line += label.empty() ? clean(name) : clean(name) + ":" + clean(label);
        mark = ",";
      }
      line += '\n';
    }
    auto state = state_.lock();
    if (!state->fd.valid() || line.size() > kDatagramBytesMax) {
      return;
    }
    if (state->buffer.size() + line.size() > kDatagramBytesMax) {
      flush(*state);
    }
    state->buffer += line;
  }

  static void flush(State& state) {
    if (state.fd.valid() && !state.buffer.empty()) {
      // An ICMP refusal of an earlier datagram shows here; it is cleared by this and sent again.
      if (::send(state.fd.get(), state.buffer.data(), state.buffer.size(), MSG_NOSIGNAL) < 0 &&
          errno == ECONNREFUSED) {
        (void)::send(state.fd.get(), state.buffer.data(), state.buffer.size(), MSG_NOSIGNAL);
      }
    }
    state.buffer.clear();
  }

  void tick() {
    timer_.start(kFlushInterval, [this] {
      flush(*state_.lock());
      tick();
    });
  }

  void settle(Result<io::FileDescriptor> connected) {
    if (connected.ok()) {
      state_.lock()->fd = std::move(connected).take();
      return;
    }
    LOG_ERROR(log_, "Error connecting to statsd", {"address", address_},
              {"error", connected.error()});
    if (workers_ != nullptr) {
      retry_.start(kRetryInterval, [this] {
        io::on_worker(
            *workers_, loop_, alive_, [address = address_] { return connect_to(address); },
            [this](Result<io::FileDescriptor> again) { settle(std::move(again)); });
      });
    }
  }

  const StatsdDialect dialect_;
  const std::string address_;
  io::Loop& loop_;
  io::Workers* workers_;
  const Logger log_;
  Guarded<State> state_;
  io::Timer timer_;
  io::Timer retry_{loop_};
  std::shared_ptr<const int> alive_ = std::make_shared<const int>(0);
};

}  // namespace

std::unique_ptr<MetricSink> make_statsd_sink(StatsdDialect dialect, std::string address,
                                             io::Loop& loop, io::Workers* workers, Logger log) {
  return std::make_unique<StatsdSink>(dialect, std::move(address), loop, workers, std::move(log));
}

}  // namespace steeple
