// SPDX-License-Identifier: Apache-2.0

#include "bench/load/world.h"

#include <unistd.h>

#include <cstdio>

#include "bench/load/process.h"

namespace steeple::bench {
namespace {

double percentile(const std::vector<double>& sorted, double part) {
  return sorted.empty()
             ? 0
             : sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1))];
}

// Keeps `slots` operations under way until `total` have ended.
class Driver {
 public:
  Driver(World& world, std::size_t total, const Start& start)
      : world_(world), total_(total), start_(start) {
    latencies_.reserve(total);
  }

  void run(std::size_t slots) {
    for (std::size_t slot = 0; slot < std::min(slots, total_); ++slot) {
      begin(slot);
    }
    world_.loop().run();
  }
  std::vector<double> take_latencies() { return std::move(latencies_); }

 private:
  void begin(std::size_t slot) {
    ++started_;
    start_(slot, [this, slot, at = system_clock().steady()] { ended(slot, at); });
  }

  // The next one begins in a task of its own: the call that ended may be destroyed by it.
  void ended(std::size_t slot, SteadyTime began) {
    latencies_.push_back(micros_since(began));
    if (latencies_.size() == total_) {
      world_.loop().stop();
    } else if (started_ < total_) {
      world_.loop().post([this, slot] {
        if (started_ < total_) {
          begin(slot);
        }
      });
    }
  }

  World& world_;
  std::size_t total_;
  const Start& start_;
  std::size_t started_ = 0;
  std::vector<double> latencies_;
};

}  // namespace

void fail(std::string_view what, const Error& error) {
  fmt::print(stderr, "load: {}: {}\n", what, error.message);
  std::fflush(stdout);
  ::_exit(1);
}

World::World() : tls_(tls::openssl_handshake()) {}

std::unique_ptr<rpc::Channel> World::local(const std::string& socket) {
  return std::make_unique<rpc::Channel>(deps(), io::Endpoint::unix_socket(socket), nullptr);
}

std::unique_ptr<rpc::Channel> World::secure(const io::Endpoint& to,
                                            std::shared_ptr<const tls::ClientPolicy> policy) {
  return std::make_unique<rpc::Channel>(deps(), to, std::move(policy));
}

Bytes World::call(rpc::Channel& channel, const std::string& method, Bytes request) {
  Result<Bytes> answer = internal("no answer");
  auto call = channel.unary(method, std::move(request), {}, [&](Result<Bytes> reply) {
    answer = std::move(reply);
    loop_.stop();
  });
  loop_.run();
  if (!answer.ok()) {
    fail(method, answer.error());
  }
  return std::move(*answer);
}

void World::wait(Duration time) {
  io::Timer timer(loop_);
  timer.start(time, [this] { loop_.stop(); });
  loop_.run();
}

double micros_since(SteadyTime start) {
  return std::chrono::duration<double, std::micro>(system_clock().steady() - start).count();
}

void report(std::string_view name, Figure figure) {
  std::sort(figure.latencies.begin(), figure.latencies.end());
  fmt::print(
      "{{\"name\":\"{}\",\"operations\":{},\"per_second\":{:.1f},\"cpu_us\":{:.2f},"
      "\"p50_us\":{:.1f},\"p99_us\":{:.1f}}}\n",
      name, figure.operations, static_cast<double>(figure.operations) / figure.seconds, figure.cpu,
      percentile(figure.latencies, 0.5), percentile(figure.latencies, 0.99));
  std::fflush(stdout);
}

void report_value(std::string_view name, double value) {
  fmt::print("{{\"name\":\"{}\",\"value\":{:.3f}}}\n", name, value);
  std::fflush(stdout);
}

Figure drive(World& world, pid_t under_test, std::size_t slots, std::size_t total,
             const Start& start) {
  Driver(world, std::max<std::size_t>(total / 10, 1), start).run(slots);
  Figure figure;
  figure.operations = total;
  Driver driver(world, total, start);
  double cpu = cpu_micros(under_test);
  SteadyTime began = system_clock().steady();
  driver.run(slots);
  figure.seconds = micros_since(began) / 1e6;
  figure.cpu = (cpu_micros(under_test) - cpu) / static_cast<double>(total);
  figure.latencies = driver.take_latencies();
  return figure;
}

}  // namespace steeple::bench
