// SPDX-License-Identifier: Apache-2.0

// Prints what a unary call and an idle connection cost, over a Unix socket: the server runs in a
// child process whose CPU time and memory are read from /proc.

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "lib/io/asio_loop.h"
#include "lib/io/directory.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/rpc/client.h"
#include "lib/rpc/server.h"

namespace steeple::rpc {
namespace {

constexpr auto kEcho = "/bench.Echo/Echo";
constexpr auto kWait = "/bench.Echo/Wait";
constexpr std::size_t kProcFileBytesMax = 64 << 10;

void serve(const std::string& path, int ready) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  io::AsioLoop loop;
  io::SocketNetwork network;
  io::WorkerPool workers;
  Server server({loop, workers, system_random()}, {}, {});
  server.unary(kEcho, Where::kLoop,
               [](CallContext&, ByteView request) { return Result<Bytes>(Bytes(request)); });
  server.unary("/bench.Echo/Worker", Where::kWorker,
               [](CallContext&, ByteView request) { return Result<Bytes>(Bytes(request)); });
  std::set<std::shared_ptr<ServerStream>> open;
  server.stream(kWait, [&open](std::shared_ptr<ServerStream> stream) {
    stream->on_message([raw = stream.get()](ByteView) { raw->send("x"); });
    stream->on_closed([&open, stream] { open.erase(stream); });
    open.insert(stream);
  });
  auto listener =
      network.listen(loop, io::Endpoint::unix_socket(path), {},
                     [&server](std::unique_ptr<io::Connection> c) { server.serve(std::move(c)); });
  CHECK(::write(ready, "x", 1) == 1);
  loop.run();
}

// Of all threads.
double cpu_us(pid_t pid) {
  double total = 0;
  for (const auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid))) {
    total += std::atof(
        io::read_file(task.path().string() + "/schedstat", kProcFileBytesMax).take().c_str());
  }
  return total / 1000;
}

double rss_kib(pid_t pid) {
  Bytes status = io::read_file(fmt::format("/proc/{}/status", pid), kProcFileBytesMax).take();
  return std::atof(status.c_str() + status.find("VmRSS:") + 6);
}

struct Client {
  explicit Client(const std::string& path) : endpoint(io::Endpoint::unix_socket(path)) {}
  std::unique_ptr<Channel> channel() {
    return std::make_unique<Channel>(Channel::Deps{loop, network, nullptr, system_random()},
                                     endpoint, nullptr);
  }
  // `total` calls, `parallel` of them under way at any time on each of the channels.
  void run(const std::string& method, std::size_t channels, std::size_t parallel,
           std::size_t total) {
    std::vector<std::unique_ptr<Channel>> all;
    std::vector<std::unique_ptr<ClientCall>> slots(channels * parallel);
    std::size_t started = 0;
    std::size_t done = 0;
    std::function<void(std::size_t)> next = [&](std::size_t slot) {
      ++started;
      slots[slot] = all[slot / parallel]->unary(method, Bytes(100, 'x'), {}, [&, slot](auto reply) {
        CHECK(reply.ok());
        if (++done == total) {
          loop.stop();
        } else if (started < total) {
          loop.post([&, slot] { next(slot); });
        }
      });
    };
    for (std::size_t i = 0; i < channels; ++i) {
      all.push_back(channel());
    }
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      next(slot);
    }
    loop.run();
  }

  io::Endpoint endpoint;
  io::AsioLoop loop;
  io::SocketNetwork network;
};

void measure_calls(pid_t server, Client& client, const char* method, std::size_t channels,
                   std::size_t parallel, std::size_t total) {
  client.run(method, channels, parallel, total / 10);
  double before = cpu_us(server);
  SteadyTime start = system_clock().steady();
  client.run(method, channels, parallel, total);
  double seconds = std::chrono::duration<double>(system_clock().steady() - start).count();
  double calls = static_cast<double>(total);
  fmt::print("{:<22} {:>3} connections x {:>2}: {:>6.0f} calls/s, {:5.1f} us server CPU per call\n",
             method, channels, parallel, calls / seconds, (cpu_us(server) - before) / calls);
}

void measure_memory(pid_t server, Client& client, std::size_t count) {
  double before = rss_kib(server);
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<std::unique_ptr<ClientCall>> calls;
  std::size_t open = 0;
  for (std::size_t i = 0; i < count; ++i) {
    channels.push_back(client.channel());
    StreamReply reply;
    reply.on_message = [&](ByteView) {
      if (++open == count) {
        client.loop.stop();
      }
    };
    calls.push_back(channels.back()->stream(kWait, {}, std::move(reply)));
    calls.back()->send("x");
  }
  client.loop.run();
  fmt::print("{} connections with an open stream: {:.1f} KiB each, RSS {:.0f} KiB\n", count,
             (rss_kib(server) - before) / static_cast<double>(count), rss_kib(server));
  calls.clear();
  channels.clear();
  io::Timer wait(client.loop);
  wait.start(std::chrono::seconds(4), [&] { client.loop.stop(); });
  client.loop.run();
  fmt::print("after closing them: RSS {:.0f} KiB\n", rss_kib(server));
}

int run() {
  std::string path = fmt::format("/tmp/steeple-rpc-bench-{}", ::getpid());
  int ready[2];
  CHECK(::pipe(ready) == 0);
  pid_t server = ::fork();
  if (server == 0) {
    serve(path, ready[1]);
    return 0;
  }
  char byte = 0;
  CHECK(::read(ready[0], &byte, 1) == 1);
  {
    Client client(path);
    fmt::print("server RSS idle: {:.0f} KiB\n", rss_kib(server));
    measure_calls(server, client, kEcho, 1, 1, 50'000);
    measure_calls(server, client, kEcho, 1, 64, 200'000);
    measure_calls(server, client, kEcho, 50, 1, 100'000);
    measure_calls(server, client, "/bench.Echo/Worker", 1, 1, 30'000);
    measure_memory(server, client, 1000);
    measure_memory(server, client, 5000);
  }
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
  ::unlink(path.c_str());
  return 0;
}

}  // namespace
}  // namespace steeple::rpc

int main() { return steeple::rpc::run(); }
