// SPDX-License-Identifier: Apache-2.0

// Goal: sockets and the simulated switch keep the same contract of listening, connecting and
// moving bytes; sockets also keep the rules of files and credentials, the switch those of failure.
// Method: one suite of claims on both, then each its own.

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "lib/io/asio_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/peer_process.h"
#include "lib/io/socket_network.h"

namespace steeple::io {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/steeple-io-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~Folder() {
    ::rmdir((path_ + "/sub").c_str());
    ::rmdir(path_.c_str());
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

bool run_until(AsioLoop& loop, const std::function<bool()>& holds) {
  bool late = false;
  Timer guard(loop);
  guard.start(seconds(20), [&] { late = true; });
  while (!holds() && !late) {
    Timer turn(loop);
    turn.start(std::chrono::microseconds(100), [&loop] { loop.stop(); });
    loop.run();
  }
  return holds();
}

struct RealRig {
  Loop& loop() { return loop_; }
  Network& client() { return network_; }
  Network& server() { return network_; }
  Endpoint local() { return Endpoint::unix_socket(folder_.file("s")); }
  Endpoint tcp(std::uint16_t port) { return Endpoint::tcp("127.0.0.1", port); }
  bool until(const std::function<bool()>& holds) { return run_until(loop_, holds); }

  Folder folder_;
  AsioLoop loop_;
  SocketNetwork network_;
};

struct SimRig {
  Loop& loop() { return loop_; }
  Network& client() { return *client_; }
  Network& server() { return *server_; }
  Endpoint local() { return Endpoint::unix_socket("/run/s"); }
  Endpoint tcp(std::uint16_t port) { return Endpoint::tcp("localhost", port); }
  bool until(const std::function<bool()>& holds) {
    return scheduler_.run_while_not(holds, seconds(100));
  }

  FakeClock clock_;
  SimScheduler scheduler_{clock_, 42};
  SimLoop loop_{scheduler_};
  SimSwitch switch_{scheduler_};
  std::unique_ptr<Network> server_ = switch_.join("host", {.pid = 10, .uid = 0, .gid = 0});
  std::unique_ptr<Network> client_ =
      switch_.join("host", {.pid = 1234, .uid = 1000, .gid = 1000, .start_time = 99});
};

// Writes what it is given, reads until the end.
struct Party {
  void take(std::unique_ptr<Connection> taken) {
    connection = std::move(taken);
    connection->on_ready([this](bool readable, bool writable) { ready(readable, writable); });
    connection->interest(true, false);
  }
  void say(std::string text) {
    output += text;
    connection->interest(!end, true);
  }
  void ready(bool readable, bool writable) {
    if (readable && !end) {
      std::array<char, 4096> buffer{};
      IoResult got = connection->read(buffer);
      if (got.status == IoStatus::kOk) {
        EXPECT_GT(got.bytes, 0U);
        input.append(buffer.data(), got.bytes);
      } else if (got.status != IoStatus::kWouldBlock) {
        end = got.status;
      }
    }
    if (writable && !output.empty()) {
      IoResult put = connection->write(output);
      if (put.status == IoStatus::kOk) {
        output.erase(0, put.bytes);
      } else if (put.status == IoStatus::kError) {
        end = put.status;
        connection->interest(false, false);
        return;
      }
    }
    connection->interest(!end, !output.empty());
  }

  std::unique_ptr<Connection> connection;
  std::string output;
  std::string input;
  std::optional<IoStatus> end;
};

template <class T>
class NetworkContract : public ::testing::Test {
 protected:
  // Both ends of a connection to `at`.
  void meet(const Endpoint& at, Party& client, Party& server) {
    listener = rig.server()
                   .listen(rig.loop(), at, {},
                           [&server](std::unique_ptr<Connection> c) { server.take(std::move(c)); })
                   .take();
    rig.client().connect(rig.loop(), listener->endpoint(), seconds(5),
                         [&client](Result<std::unique_ptr<Connection>> c) {
                           ASSERT_TRUE(c.ok()) << c.error().message;
                           client.take(std::move(*c));
                         });
    ASSERT_TRUE(rig.until([&] { return client.connection && server.connection; }));
  }
  Error refused(const Endpoint& at) {
    std::optional<Error> error;
    rig.client().connect(rig.loop(), at, seconds(5), [&](Result<std::unique_ptr<Connection>> c) {
      error = c.ok() ? internal("connected") : std::move(c.error());
    });
    EXPECT_FALSE(error) << "the handler never runs inside connect";
    EXPECT_TRUE(rig.until([&] { return error.has_value(); }));
    return *error;
  }

  T rig;
  std::unique_ptr<Listener> listener;
};
using Rigs = ::testing::Types<RealRig, SimRig>;
TYPED_TEST_SUITE(NetworkContract, Rigs, );

TYPED_TEST(NetworkContract, bytes_flow_both_ways_unchanged_and_in_order) {
  Party client;
  Party server;
  this->meet(this->rig.local(), client, server);
  std::string there;
  std::string back;
  for (int i = 0; i < 200000; ++i) {
    there += std::to_string(i);
    back += std::to_string(i * 7);
  }
  client.say(there);
  server.say(back);
  EXPECT_TRUE(this->rig.until(
      [&] { return server.input.size() == there.size() && client.input.size() == back.size(); }));
  EXPECT_EQ(server.input, there);
  EXPECT_EQ(client.input, back);
}

TYPED_TEST(NetworkContract, the_end_of_one_side_is_read_after_its_last_byte) {
  Party client;
  Party server;
  this->meet(this->rig.local(), client, server);
  client.say("last words");
  ASSERT_TRUE(this->rig.until([&] { return client.output.empty(); }));
  client.connection->shutdown_write();
  ASSERT_TRUE(this->rig.until([&] { return server.end.has_value(); }));
  EXPECT_EQ(*server.end, IoStatus::kEof);
  EXPECT_EQ(server.input, "last words");
  server.say("and the answer still comes");
  EXPECT_TRUE(this->rig.until([&] { return client.input == "and the answer still comes"; }));
}

TYPED_TEST(NetworkContract, a_destroyed_connection_is_the_end_for_its_peer) {
  Party client;
  Party server;
  this->meet(this->rig.local(), client, server);
  server.connection.reset();
  EXPECT_TRUE(this->rig.until([&] { return client.end.has_value(); }));
}

TYPED_TEST(NetworkContract, a_writer_is_told_when_there_is_room_again) {
  Party client;
  Party server;
  this->meet(this->rig.local(), client, server);
  server.connection->interest(false, false);
  client.say(std::string(4 << 20, 'x'));
  std::size_t left = 0;
  EXPECT_TRUE(this->rig.until([&] {
    bool still = left == client.output.size();
    left = client.output.size();
    return still && left < (4U << 20);
  }));
  EXPECT_GT(left, 0U) << "a peer that does not read must push back";
  server.connection->interest(true, false);
  EXPECT_TRUE(this->rig.until([&] { return server.input.size() == 4U << 20; }));
}

TYPED_TEST(NetworkContract, tcp_gets_a_port_and_the_peers_address) {
  Party client;
  Party server;
  this->meet(this->rig.tcp(0), client, server);
  EXPECT_NE(this->listener->endpoint().port, 0);
  EXPECT_FALSE(server.connection->peer()->process);
  EXPECT_THAT(server.connection->peer()->address, ::testing::MatchesRegex("[0-9.]+:[0-9]+"));
}

TYPED_TEST(NetworkContract, unix_peers_have_a_process_and_no_address) {
  Party client;
  Party server;
  this->meet(this->rig.local(), client, server);
  auto peer = server.connection->peer();
  ASSERT_TRUE(peer->process);
  EXPECT_GT(peer->process->pid, 1);
  EXPECT_TRUE(peer->process->pidfd.valid() || peer->process->start_time != 0);
  EXPECT_TRUE(peer->address.empty());
  server.connection.reset();
  EXPECT_GT(peer->process->pid, 1) << "the peer outlives its connection";
}

TYPED_TEST(NetworkContract, a_missing_listener_is_an_error_in_gos_words) {
  Endpoint local = this->rig.local();
  Error error = this->refused(local);
  EXPECT_EQ(error.message,
            fmt::format("dial unix {}: connect: no such file or directory", local.unix_path));
  Endpoint tcp = this->rig.tcp(1);
  EXPECT_EQ(this->refused(tcp).message,
            fmt::format("dial tcp {}: connect: connection refused", tcp.text()));
}

TYPED_TEST(NetworkContract, a_listener_that_went_takes_no_one) {
  Party client;
  Party server;
  this->meet(this->rig.local(), client, server);
  this->listener.reset();
  EXPECT_EQ(this->refused(this->rig.local()).code, Code::kNotFound);
  client.say("but who is connected stays so");
  EXPECT_TRUE(this->rig.until([&] { return !server.input.empty(); }));
}

TYPED_TEST(NetworkContract, an_address_in_use_is_refused) {
  auto ignore = [](std::unique_ptr<Connection>) {};
  auto first = this->rig.server().listen(this->rig.loop(), this->rig.local(), {}, ignore);
  ASSERT_TRUE(first.ok());
  auto second = this->rig.server().listen(this->rig.loop(), this->rig.local(), {}, ignore);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().message, ::testing::HasSubstr("address already in use"));
}

// --- sockets only ---

TEST(SocketNetwork, the_socket_has_its_mode_and_its_folder_is_made) {
  RealRig rig;
  std::string path = rig.folder_.file("sub/s");
  auto listener = rig.network_.listen(rig.loop_, Endpoint::unix_socket(path),
                                      {.socket_mode = 0777, .directory_mode = 0755},
                                      [](std::unique_ptr<Connection>) {});
  ASSERT_TRUE(listener.ok()) << listener.error().message;
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0777U);
  ASSERT_EQ(::stat(rig.folder_.file("sub").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0755U);
  listener->reset();
  EXPECT_NE(::access(path.c_str(), F_OK), 0) << "the socket file goes with its listener";
}

TEST(SocketNetwork, a_stale_socket_is_replaced_and_other_files_are_not) {
  RealRig rig;
  std::string path = rig.folder_.file("s");
  {
    // What a killed process leaves: the file without a listener.
    FileDescriptor dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  auto ignore = [](std::unique_ptr<Connection>) {};
  auto listener = rig.network_.listen(rig.loop_, Endpoint::unix_socket(path), {}, ignore);
  EXPECT_TRUE(listener.ok());
  listener->reset();
  FILE* file = std::fopen(path.c_str(), "w");
  std::fclose(file);
  EXPECT_FALSE(rig.network_.listen(rig.loop_, Endpoint::unix_socket(path), {}, ignore).ok());
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
  ::unlink(path.c_str());
}

TEST(SocketNetwork, a_socket_path_that_is_too_long_is_an_error) {
  RealRig rig;
  auto listener =
      rig.network_.listen(rig.loop_, Endpoint::unix_socket("/tmp/" + std::string(200, 'x')), {},
                          [](std::unique_ptr<Connection>) {});
  EXPECT_EQ(listener.error().code, Code::kInvalidArgument);
}

TEST(SocketNetwork, the_pidfd_tells_when_the_peer_has_exited) {
  RealRig rig;
  std::shared_ptr<const Peer> peer;
  std::unique_ptr<Connection> kept;
  auto listener = rig.network_
                      .listen(rig.loop_, rig.local(), {},
                              [&](std::unique_ptr<Connection> c) {
                                peer = c->peer();
                                kept = std::move(c);
                              })
                      .take();
  std::string path = rig.local().unix_path;
  pid_t child = ::fork();
  if (child == 0) {
    int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::pause();
    ::_exit(0);
  }
  ASSERT_TRUE(rig.until([&] { return peer != nullptr; }));
  EXPECT_EQ(peer->process->pid, child);
  EXPECT_TRUE(is_alive(*peer->process));
  Result<std::uint64_t> started = process_start_time(child);
  ASSERT_TRUE(started.ok());
  // The same question by start time, as on kernels without SO_PEERPIDFD.
  PeerProcess by_time{.pid = child, .uid = 0, .gid = 0, .pidfd = {}, .start_time = *started};
  EXPECT_TRUE(is_alive(by_time));
  by_time.start_time += 1;
  EXPECT_FALSE(is_alive(by_time)) << "another process under the same pid";
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(is_alive(*peer->process));
  by_time.start_time = *started;
  EXPECT_FALSE(is_alive(by_time));
}

TEST(SocketNetwork, names_are_resolved_off_the_loop_and_unknown_ones_fail) {
  RealRig rig;
  std::unique_ptr<Connection> accepted;
  auto listener = rig.network_
                      .listen(rig.loop_, Endpoint::tcp("127.0.0.1", 0), {},
                              [&](std::unique_ptr<Connection> c) { accepted = std::move(c); })
                      .take();
  std::unique_ptr<Connection> connected;
  rig.network_.connect(rig.loop_, Endpoint::tcp("localhost", listener->endpoint().port), seconds(5),
                       [&](Result<std::unique_ptr<Connection>> c) {
                         ASSERT_TRUE(c.ok()) << c.error().message;
                         connected = std::move(*c);
                       });
  EXPECT_TRUE(rig.until([&] { return accepted && connected; }));
}

TEST(SocketNetwork, without_descriptors_it_waits_and_then_accepts) {
  RealRig rig;
  int accepted = 0;
  std::vector<std::unique_ptr<Connection>> kept;
  auto listener = rig.network_
                      .listen(rig.loop_, rig.local(), {},
                              [&](std::unique_ptr<Connection> c) {
                                ++accepted;
                                kept.push_back(std::move(c));
                              })
                      .take();
  FileDescriptor client(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  rig.local().unix_path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  rlimit saved{};
  ::getrlimit(RLIMIT_NOFILE, &saved);
  rlimit tight{3, saved.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  bool passed = false;
  rig.loop_.start_timer(milliseconds(20), [&] { passed = true; });
  EXPECT_TRUE(rig.until([&] { return passed; }));
  EXPECT_EQ(accepted, 0);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &saved), 0);
  EXPECT_TRUE(rig.until([&] { return accepted == 1; }));
}

// --- the simulated switch only ---

struct FarRig {
  FarRig() {
    listener = b->listen(loop_b, Endpoint::tcp("", 80), {}, [this](std::unique_ptr<Connection> c) {
                  far.take(std::move(c));
                }).take();
  }
  void connect() {
    a->connect(loop_a, Endpoint::tcp("b", 80), seconds(5),
               [this](Result<std::unique_ptr<Connection>> c) {
                 if (c.ok()) {
                   near.take(std::move(*c));
                 } else {
                   error = std::move(c.error());
                 }
               });
  }
  bool until(const std::function<bool()>& holds) {
    return scheduler.run_while_not(holds, seconds(60));
  }

  FakeClock clock;
  SimScheduler scheduler{clock, 3};
  SimLoop loop_a{scheduler};
  SimLoop loop_b{scheduler};
  SimSwitch net{scheduler};
  std::unique_ptr<Network> a = net.join("a");
  std::unique_ptr<Network> b = net.join("b");
  Party near;
  Party far;
  std::unique_ptr<Listener> listener;
  std::optional<Error> error;
};

TEST(SimNetwork, a_cut_link_holds_bytes_back_until_it_heals) {
  FarRig rig;
  rig.connect();
  ASSERT_TRUE(rig.until([&] { return rig.near.connection && rig.far.connection; }));
  rig.net.cut("a", "b");
  rig.near.say("hello");
  rig.scheduler.run_for(seconds(3600));
  EXPECT_TRUE(rig.far.input.empty());
  EXPECT_FALSE(rig.far.end) << "half-open: nobody is told";
  rig.net.heal("b", "a");
  EXPECT_TRUE(rig.until([&] { return rig.far.input == "hello"; }));
}

TEST(SimNetwork, connecting_over_a_cut_link_times_out) {
  FarRig rig;
  rig.net.cut("a", "b");
  SteadyTime start = rig.clock.steady();
  rig.connect();
  EXPECT_TRUE(rig.until([&] { return rig.error.has_value(); }));
  EXPECT_EQ(rig.error->message, "dial tcp b:80: i/o timeout");
  EXPECT_GE(rig.clock.steady() - start, seconds(5));
}

TEST(SimNetwork, a_reset_is_an_error_at_both_ends) {
  FarRig rig;
  rig.connect();
  ASSERT_TRUE(rig.until([&] { return rig.near.connection && rig.far.connection; }));
  rig.net.reset_connections("a", "b");
  EXPECT_TRUE(rig.until([&] { return rig.near.end && rig.far.end; }));
  EXPECT_EQ(*rig.near.end, IoStatus::kError);
  EXPECT_EQ(rig.near.connection->last_error(), "connection reset by peer");
}

TEST(SimNetwork, a_vanished_host_is_noticed_only_by_who_sends) {
  FarRig rig;
  rig.connect();
  ASSERT_TRUE(rig.until([&] { return rig.near.connection && rig.far.connection; }));
  rig.net.vanish("b");
  rig.far.connection.reset();
  rig.scheduler.run_for(seconds(3600));
  EXPECT_FALSE(rig.near.end);
  rig.near.say("anybody there?");
  EXPECT_TRUE(rig.until([&] { return rig.near.end.has_value(); }));
  EXPECT_EQ(*rig.near.end, IoStatus::kError);
}

TEST(SimNetwork, a_network_that_went_takes_its_connects_along) {
  FarRig rig;
  rig.connect();
  rig.a.reset();
  rig.scheduler.run_for(seconds(60));
  EXPECT_FALSE(rig.near.connection);
  EXPECT_FALSE(rig.error);
}

}  // namespace
}  // namespace steeple::io
