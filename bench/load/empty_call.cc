// SPDX-License-Identifier: Apache-2.0

// The transport's own limit: a call without content to a handler that does nothing, over mutual
// TLS on TCP and over a Unix socket. The server is a child process.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "bench/load/arguments.h"
#include "bench/load/world.h"
#include "lib/io/worker_pool.h"
#include "lib/rpc/server.h"
#include "lib/tls/fake_pki.h"
#include "lib/tls/spiffe_policy.h"

namespace steeple::bench {
namespace {

constexpr auto kOnLoop = "/bench.Empty/Loop";
constexpr auto kOnWorker = "/bench.Empty/Worker";
constexpr std::size_t kChannels = 4;
constexpr std::size_t kSlots = 8;
constexpr std::size_t kCalls = 8000;

struct Pki {
  tls::FakeAuthority authority{"example.org", system_clock()};
  std::shared_ptr<const tls::Identity> server = authority.identity("/spire/server");
  std::shared_ptr<const tls::Identity> client = authority.identity("/spire/agent/one");
  x509::AuthoritiesOf authorities() const {
    return [bundle = authority.bundle()](const spiffe::TrustDomain&) { return bundle; };
  }
};

void serve(const Pki& pki, const std::string& path, int report_port) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  io::AsioLoop loop;
  io::SocketNetwork network;
  io::WorkerPool workers;
  auto handshake = tls::openssl_handshake();
  rpc::Server server({loop, workers, system_random()}, {}, {});
  auto nothing = [](rpc::CallContext&, ByteView) { return Result<Bytes>(Bytes()); };
  server.unary(kOnLoop, rpc::Where::kLoop, nothing);
  server.unary(kOnWorker, rpc::Where::kWorker, nothing);
  auto policy = std::make_shared<tls::ServerPolicy>();
  policy->identity = [&] { return pki.server; };
  policy->verify_client =
      tls::verify_member_or_admin(pki.authority.domain(), {}, pki.authorities(), system_clock());
  auto local =
      network
          .listen(loop, io::Endpoint::unix_socket(path), {},
                  [&](std::unique_ptr<io::Connection> raw) { server.serve(std::move(raw)); })
          .take();
  auto remote = network
                    .listen(loop, io::Endpoint::tcp("127.0.0.1", 0), {},
                            [&](std::unique_ptr<io::Connection> raw) {
                              handshake->accept(
                                  loop, std::move(raw), policy, std::chrono::seconds(10),
                                  [&](auto secured) { server.serve(std::move(secured).take()); });
                            })
                    .take();
  std::uint16_t port = remote->endpoint().port;
  CHECK(::write(report_port, &port, sizeof port) == sizeof port);
  loop.run();
}

using MakeChannel = std::function<std::unique_ptr<rpc::Channel>()>;

void measure(World& world, pid_t server, const char* name, const char* method,
             const MakeChannel& make) {
  std::vector<std::unique_ptr<rpc::Channel>> channels;
  for (std::size_t i = 0; i < kChannels; ++i) {
    channels.push_back(make());
  }
  std::array<std::unique_ptr<rpc::ClientCall>, kSlots> calls;
  report(name, drive(world, server, kSlots, kCalls, [&](std::size_t slot, Done done) {
           calls[slot] = channels[slot % kChannels]->unary(
               method, {}, {}, [done = std::move(done)](Result<Bytes> reply) {
                 if (!reply.ok()) {
                   fail("empty call", reply.error());
                 }
                 done();
               });
         }));
}

}  // namespace

int measure_empty_call(const Arguments&) {
  Pki pki;
  std::string path = fmt::format("/tmp/steeple-bench-{}.sock", ::getpid());
  std::array<int, 2> report_port{};
  CHECK(::pipe(report_port.data()) == 0);
  pid_t server = ::fork();
  if (server == 0) {
    serve(pki, path, report_port[1]);
    ::_exit(0);
  }
  std::uint16_t port = 0;
  CHECK(::read(report_port[0], &port, sizeof port) == sizeof port);
  {
    World world;
    auto policy = std::make_shared<tls::ClientPolicy>();
    policy->identity = [&] { return pki.client; };
    policy->verify_server =
        tls::verify_spire_server(pki.authority.domain(), pki.authorities(), system_clock());
    MakeChannel secure = [&] { return world.secure(io::Endpoint::tcp("127.0.0.1", port), policy); };
    measure(world, server, "empty_tls", kOnLoop, secure);
    measure(world, server, "empty_tls_worker", kOnWorker, secure);
    measure(world, server, "empty_unix", kOnLoop, [&] { return world.local(path); });
  }
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
  ::unlink(path.c_str());
  return 0;
}

}  // namespace steeple::bench
