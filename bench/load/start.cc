// SPDX-License-Identifier: Apache-2.0

// From the start of a program to the first SERVING of its health service, and what a process uses
// while nobody asks anything of it.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/load/arguments.h"
#include "bench/load/process.h"
#include "bench/load/world.h"
#include "grpc/health/v1/health.pb.h"

namespace steeple::bench {
namespace {

constexpr double kStartMicrosMax = 20e6;
constexpr useconds_t kPollMicros = 300;

bool accepts(const std::string& path) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  CHECK(path.size() < sizeof at.sun_path);
  std::copy(path.begin(), path.end(), at.sun_path);
  bool good = ::connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
  ::close(fd);
  return good;
}

bool serving(World& world, const std::string& socket) {
  auto channel = world.local(socket);
  bool good = false;
  auto call = channel->unary("/grpc.health.v1.Health/Check", {}, {}, [&](Result<Bytes> reply) {
    grpc::health::v1::HealthCheckResponse response;
    good = reply.ok() && response.ParseFromString(*reply) &&
           response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
    world.loop().stop();
  });
  world.loop().run();
  return good;
}

double start_once(World& world, const std::string& socket, std::vector<std::string> command) {
  std::vector<char*> argv;
  for (std::string& argument : command) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  // Its log must not mix with our figures.
  posix_spawn_file_actions_t files;
  CHECK(::posix_spawn_file_actions_init(&files) == 0);
  for (int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    CHECK(::posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_WRONLY, 0) == 0);
  }
  pid_t pid = 0;
  SteadyTime began = system_clock().steady();
  if (::posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), environ) != 0) {
    fail(command[0], internal("cannot be started"));
  }
  ::posix_spawn_file_actions_destroy(&files);
  while (!accepts(socket) || !serving(world, socket)) {
    if (micros_since(began) > kStartMicrosMax) {
      ::kill(pid, SIGKILL);
      fail(command[0], internal("did not become healthy"));
    }
    ::usleep(kPollMicros);
  }
  double took = micros_since(began);
  ::kill(pid, SIGTERM);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return took;
}

}  // namespace

int measure_start(const Arguments& arguments) {
  World world;
  Figure figure;
  figure.operations = static_cast<std::size_t>(arguments.number("rounds", 10));
  for (std::size_t i = 0; i < figure.operations; ++i) {
    figure.latencies.push_back(start_once(world, arguments.text("socket"), arguments.command));
    figure.seconds += figure.latencies.back() / 1e6;
  }
  report(arguments.text("name"), std::move(figure));
  return 0;
}

int measure_idle(const Arguments& arguments) {
  World world;
  auto pid = static_cast<pid_t>(arguments.number("pid"));
  const std::string& name = arguments.text("name");
  double cpu = cpu_micros(pid);
  SteadyTime began = system_clock().steady();
  world.wait(std::chrono::seconds(arguments.number("seconds", 5)));
  report_value(name + "_cpu_percent", (cpu_micros(pid) - cpu) / micros_since(began) * 100);
  report_value(name + "_rss_kib", rss_kib(pid));
  return 0;
}

}  // namespace steeple::bench
