// SPDX-License-Identifier: Apache-2.0

// Prints what a handshake costs the server in CPU, with and without a client certificate, what a
// connection that stays open costs in memory, and the CPU per MiB received, beside OpenSSL's raw
// P-256 sign and verify on the same machine. The server is a child process; its CPU time and memory
// are read from /proc.

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <list>

#include "lib/io/directory.h"
#include "lib/io/socket_network.h"
#include "lib/tls/fake_pki.h"
#include "lib/tls/fake_wire.h"
#include "lib/tls/spiffe_policy.h"
#include "lib/tls/tls_context.h"

namespace steeple::tls {
namespace {

constexpr int kHandshakes = 400;
constexpr int kOpen = 500;
constexpr std::size_t kTransferMib = 256;

struct World {
  FakeClock clock{system_clock().now()};
  FakeAuthority authority{"example.org", clock};
  std::shared_ptr<Watch<BundleSet>> bundles =
      std::make_shared<Watch<BundleSet>>(BundleSet{{authority.domain(), authority.bundle()}});
  std::shared_ptr<const Identity> server = authority.identity("/spire/server");
  std::shared_ptr<const Identity> client = authority.identity("/spire/agent/one");
};

void serve(const World& world, int report_port) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  io::AsioLoop loop;
  io::SocketNetwork network;
  auto handshake = openssl_handshake();
  auto policy = std::make_shared<ServerPolicy>();
  policy->identity = [&] { return world.server; };
  policy->verify_client = verify_member_or_admin(world.authority.domain(), {},
                                                 authorities_from(world.bundles), world.clock);
  std::list<FakeEndpoint> open;  // those that ended are swept at the next accept
  auto listener =
      network
          .listen(loop, io::Endpoint::tcp("127.0.0.1", 0), {},
                  [&](std::unique_ptr<io::Connection> raw) {
                    handshake->accept(
                        loop, std::move(raw), policy, std::chrono::seconds(10), [&](auto secure) {
                          auto connection = std::move(secure).take();
                          open.remove_if([](const FakeEndpoint& old) { return old.ended(); });
                          open.emplace_back(std::move(connection));
                          open.back().discard();
                        });
                  })
          .take();
  auto port = listener->endpoint().port;
  CHECK(::write(report_port, &port, sizeof port) == sizeof port);
  loop.run();
}

std::string proc(pid_t pid, const std::string& name) {
  return io::read_file(fmt::format("/proc/{}/{}", pid, name), 1 << 20).take();
}
double cpu_us(pid_t pid) { return std::atof(proc(pid, "schedstat").c_str()) / 1000; }
double rss_kib(pid_t pid) {
  std::string status = proc(pid, "status");
  return std::atof(status.c_str() + status.find("VmRSS:") + 6);
}

SslPtr<SSL> connect(const SslPtr<SSL_CTX>& context, std::uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(::connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  SslPtr<SSL> ssl(SSL_new(context.get()));
  SSL_set_fd(ssl.get(), fd);
  CHECK(SSL_connect(ssl.get()) == 1 && SSL_write(ssl.get(), "x", 1) == 1);
  return ssl;
}
void close(SslPtr<SSL> ssl) {
  int fd = SSL_get_fd(ssl.get());
  SSL_shutdown(ssl.get());
  ssl.reset();
  ::close(fd);
}

double process_cpu_us() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

void print_floor(const World& world) {
  constexpr int kRounds = 2000;
  double begin = process_cpu_us();
  Bytes signature;
  for (int i = 0; i < kRounds; ++i) {
    signature = world.server->key->sign(crypto::SignatureAlgorithm::kEcdsaSha256, "message").take();
  }
  double signed_at = process_cpu_us();
  for (int i = 0; i < kRounds; ++i) {
    world.server->key->public_key()
        .verify(crypto::SignatureAlgorithm::kEcdsaSha256, "message", signature)
        .take();
  }
  std::printf("floor: P-256 sign %.1f us, verify %.1f us\n", (signed_at - begin) / kRounds,
              (process_cpu_us() - signed_at) / kRounds);
}

SslPtr<SSL_CTX> client_context(const World& world, bool certified) {
  SslPtr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
  static constexpr unsigned char kH2[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), kH2, sizeof kH2);
  if (certified) {
    const auto& der = world.client->chain.front();
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    SslPtr<X509> leaf(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
    CHECK(SSL_CTX_use_certificate(context.get(), leaf.get()) == 1 &&
          SSL_CTX_use_PrivateKey(context.get(), world.client->key->evp()) == 1);
  }
  return context;
}

void measure(const World& world, pid_t server, std::uint16_t port, bool certified) {
  auto context = client_context(world, certified);
  const char* which = certified ? "with" : "without";
  for (int i = 0; i < 20; ++i) {
    close(connect(context, port));
  }
  double begin = cpu_us(server);
  for (int i = 0; i < kHandshakes; ++i) {
    close(connect(context, port));
  }
  std::printf("handshake %s client certificate: %.0f us of server CPU\n", which,
              (cpu_us(server) - begin) / kHandshakes);
  double before = rss_kib(server);
  std::vector<SslPtr<SSL>> open;
  for (int i = 0; i < kOpen; ++i) {
    open.push_back(connect(context, port));
  }
  std::printf("open connection %s client certificate: %.1f KiB of server RSS\n", which,
              (rss_kib(server) - before) / kOpen);
  begin = cpu_us(server);
  Bytes mib(1 << 20, 'x');
  for (std::size_t i = 0; i < kTransferMib; ++i) {
    CHECK(SSL_write(open.front().get(), mib.data(), 1 << 20) == 1 << 20);
  }
  std::printf("receiving: %.0f us of server CPU per MiB\n",
              (cpu_us(server) - begin) / static_cast<double>(kTransferMib));
  for (auto& ssl : open) {
    close(std::move(ssl));
  }
}

void run() {
  World world;
  print_floor(world);
  for (bool certified : {false, true}) {
    std::array<int, 2> report{};
    CHECK(::pipe(report.data()) == 0);
    pid_t server = ::fork();
    if (server == 0) {
      serve(world, report[1]);
      ::_exit(0);
    }
    std::uint16_t port = 0;
    CHECK(::read(report[0], &port, sizeof port) == sizeof port);
    measure(world, server, port, certified);
    ::kill(server, SIGKILL);
    ::waitpid(server, nullptr, 0);
  }
}

}  // namespace
}  // namespace steeple::tls

int main() {
  steeple::tls::run();
  return 0;
}
