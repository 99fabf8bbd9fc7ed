// SPDX-License-Identifier: Apache-2.0

// A fleet that is there while something else is measured: agents that have attested, hold their
// connection and their push stream open and synchronise when they are told to, and entries under
// them. Prints one line when all of it stands, then serves until it is ended.

#include <fmt/format.h>

#include <deque>

#include "bench/load/arguments.h"
#include "bench/load/process.h"
#include "bench/load/simulated_agent.h"
#include "lib/x509/csr.h"
#include "steeple/server/push/v1/push.pb.h"

namespace steeple::bench {
namespace {

namespace entry_v1 = ::spire::api::server::entry::v1;
namespace push_v1 = ::steeple::server::push::v1;

constexpr auto kWatch = "/steeple.server.push.v1.Push/WatchChanges";
constexpr auto kSync = "/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries";
constexpr std::size_t kAttestationsAtOnce = 8;
constexpr int kCreateBatch = 500;

class Fleet {
 public:
  explicit Fleet(const Arguments& arguments)
      : pid_(static_cast<pid_t>(arguments.number("pid"))),
        agents_wanted_(static_cast<std::size_t>(arguments.number("agents", 1000))),
        entries_wanted_(static_cast<int>(arguments.number("entries", 100'000))),
        admin_(world_, arguments.text("socket"), arguments.text("trust-domain")),
        server_{io::Endpoint::tcp(arguments.text("address"),
                                  static_cast<std::uint16_t>(arguments.number("port"))),
                admin_.trust_domain(), admin_.bundle()} {}

  void run() {
    attest();
    create();
    watch();
    report_value("fleet_server_rss_kib", rss_kib(pid_));
    report_value("fleet", static_cast<double>(members_.size()));
    world_.loop().run();
  }

 private:
  struct Member {
    std::unique_ptr<SimulatedAgent> agent;
    std::unique_ptr<rpc::ClientCall> watch, sync;
    bool watching = false;
  };

  void attest() {
    // One key for all: the server does not look at it, and making keys would take longer.
    auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
    Bytes csr = x509::build_csr(*key, {}).take();
    for (std::size_t i = 0; i < agents_wanted_; ++i) {
      members_.emplace_back().agent =
          std::make_unique<SimulatedAgent>(admin_.join_token(), csr, key);
    }
    std::size_t next = 0;
    std::size_t done = 0;
    std::function<void()> begin = [&] {
      if (next == members_.size()) {
        return;
      }
      members_[next++].agent->attest(world_, server_, [&] {
        if (++done == members_.size()) {
          world_.loop().stop();
        }
        world_.loop().post([&] { begin(); });
      });
    };
    for (std::size_t i = 0; i < kAttestationsAtOnce; ++i) {
      begin();
    }
    world_.loop().run();
    world_.wait(std::chrono::milliseconds(100));  // the last connections close
  }

  // The entries of an agent stand together, as a controller would create them.
  void create() {
    auto agents = static_cast<int>(members_.size());
    const int each = std::max(1, entries_wanted_ / agents);
    entry_v1::BatchCreateEntryRequest request;
    for (int i = 0; i < agents; ++i) {
      request.MergeFrom(admin_.batch(fmt::format("fleet-{}", i),
                                     members_[static_cast<std::size_t>(i)].agent->path(), 0, each));
      if (request.entries_size() >= kCreateBatch || i + 1 == agents) {
        admin_.create(request);
        request.Clear();
      }
    }
  }

  void watch() {
    std::size_t watching = 0;
    for (Member& member : members_) {
      rpc::StreamReply reply;
      reply.on_message = [this, &member, &watching](ByteView raw) {
        push_v1::WatchChangesResponse response;
        CHECK(response.ParseFromArray(raw.data(), static_cast<int>(raw.size())));
        if (!std::exchange(member.watching, true)) {
          if (++watching == members_.size()) {
            world_.loop().stop();
          }
        } else if (response.entries_changed() && !member.sync) {
          sync(member);
        }
      };
      reply.on_done = [](Result<void> status) {
        fail(kWatch, status.ok() ? internal("the stream has ended") : status.error());
      };
      member.watch = member.agent->channel(world_, server_).stream(kWatch, {}, std::move(reply));
      member.watch->send(push_v1::WatchChangesRequest().SerializeAsString());
      member.watch->close_send();
    }
    world_.loop().run();
  }

  void sync(Member& member) {
    rpc::StreamReply reply;
    reply.on_message = [](ByteView) {};
    reply.on_done = [this, &member](Result<void> status) {
      if (!status.ok()) {
        fail(kSync, status.error());
      }
      world_.loop().post([&member] { member.sync.reset(); });
    };
    member.sync = member.agent->channel(world_, server_).stream(kSync, {}, std::move(reply));
    member.sync->send(entry_v1::SyncAuthorizedEntriesRequest().SerializeAsString());
    member.sync->close_send();
  }

  World world_;
  pid_t pid_;
  std::size_t agents_wanted_;
  int entries_wanted_;
  Admin admin_;
  ServerSide server_;
  std::deque<Member> members_;
};

}  // namespace

int measure_fleet(const Arguments& arguments) {
  Fleet(arguments).run();
  return 0;
}

}  // namespace steeple::bench
