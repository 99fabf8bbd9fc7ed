// SPDX-License-Identifier: Apache-2.0

// Any bytes of a peer into a TLS handshake over the io seam, as server (first byte even) and as
// client (odd). Seeds are the flights of real handshakes. Each attempt ends once, never in a peer
// with an identity (the fuzzer holds no key), and leaves no connection behind.

#include <array>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/tls/fake_pki.h"
#include "lib/tls/spiffe_policy.h"

namespace steeple::tls {
namespace {

struct World {
  FakeClock clock;
  FakeAuthority authority{"example.org", clock};
  std::shared_ptr<Watch<BundleSet>> bundles = std::make_shared<Watch<BundleSet>>();
  std::unique_ptr<Handshake> handshake = openssl_handshake();
  std::shared_ptr<ServerPolicy> server = std::make_shared<ServerPolicy>();
  std::shared_ptr<ClientPolicy> client = std::make_shared<ClientPolicy>();

  World() {
    bundles->publish(BundleSet{{authority.domain(), authority.bundle()}});
    auto own = authority.identity("/spire/server");
    server->identity = [own] { return own; };
    server->verify_client =
        verify_member_or_admin(authority.domain(), {}, authorities_from(bundles), clock);
    auto agent = authority.identity("/spire/agent/one");
    client->identity = [agent] { return agent; };
    client->verify_server =
        verify_spire_server(authority.domain(), authorities_from(bundles), clock);
    client->server_name = "server";
  }
};

World& world() {
  static World one;
  return one;
}

// One side says `bytes` and notes what it hears, the other is a handshake of ours.
class Attempt {
 public:
  Attempt(bool as_server, ByteView bytes)
      : scheduler_(clock_, bytes.size()), wires_(scheduler_), loop_(scheduler_), left_(bytes) {
    auto network = wires_.join("h");
    auto listener = network
                        ->listen(loop_, io::Endpoint::tcp("", 1), {},
                                 [this](auto accepted) { ours_ = std::move(accepted); })
                        .take();
    network->connect(loop_, io::Endpoint::tcp("h", 1), std::chrono::seconds(1),
                     [this](auto connected) { theirs_ = std::move(connected).take(); });
    scheduler_.run_while_not([this] { return ours_ && theirs_; }, std::chrono::seconds(2));
    theirs_->on_ready([this](bool, bool) { speak(); });
    theirs_->interest(true, true);
    auto done = [this](Result<std::unique_ptr<io::Connection>> result) {
      ++ends_;
      if (result.ok()) {
        CHECK(!(*result)->peer()->spiffe_id);
      }
    };
    if (as_server) {
      world().handshake->accept(loop_, std::move(ours_), world().server, std::chrono::seconds(5),
                                done);
    } else {
      world().handshake->connect(loop_, std::move(ours_), world().client, std::chrono::seconds(5),
                                 done);
    }
    scheduler_.run_for(std::chrono::seconds(10));
    CHECK(ends_ == 1);
    theirs_.reset();
    scheduler_.run_for(std::chrono::seconds(10));
    CHECK(wires_.connection_count() == 0);
  }
  const Bytes& heard() const { return heard_; }

 private:
  void speak() {
    std::array<char, 4096> in{};
    auto got = theirs_->read(in);
    heard_.append(in.data(), got.bytes);
    bool ended = got.status == io::IoStatus::kEof || got.status == io::IoStatus::kError;
    if (!ended && !left_.empty()) {
      auto put = theirs_->write(left_);
      left_.remove_prefix(put.bytes);
      ended = put.status == io::IoStatus::kError;
    }
    theirs_->interest(!ended, !ended && !left_.empty());
  }

  FakeClock clock_;
  io::SimScheduler scheduler_;
  io::SimSwitch wires_;
  io::SimLoop loop_;
  std::unique_ptr<io::Connection> ours_, theirs_;
  ByteView left_;
  Bytes heard_;
  int ends_ = 0;
};

}  // namespace
}  // namespace steeple::tls

std::vector<std::string> steeple::fuzz_seeds() {
  using tls::Attempt;
  // Our own ClientHello, the answer to it, and an alert.
  Bytes hello = Attempt(false, {}).heard();
  Bytes answer = Attempt(true, hello).heard();
  const std::string to_server(1, '\0');
  const std::string to_client(1, '\1');
  const std::string alert("\x15\x03\x03\x00\x02\x02\x28", 7);
  return {to_server + hello,
          to_server + hello + alert,
          to_client + answer,
          to_client + answer + alert,
          to_server + "GET / HTTP/1.1\r\n\r\n",
          to_client + alert};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) {
    steeple::tls::Attempt(data[0] % 2 == 0, {reinterpret_cast<const char*>(data) + 1, size - 1});
  }
  return 0;
}
