// SPDX-License-Identifier: Apache-2.0

// What a server does for its agents and its operator, one measurement after the other: agents
// attest, ask for SVIDs and tokens, synchronise; entries are created and listed.

#include <fmt/format.h>

#include <deque>

#include "bench/load/arguments.h"
#include "bench/load/process.h"
#include "bench/load/simulated_agent.h"
#include "lib/rpc/typed.h"
#include "lib/x509/csr.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/server/svid/v1/svid.pb.h"

namespace steeple::bench {
namespace {

namespace bundle_v1 = ::spire::api::server::bundle::v1;
namespace entry_v1 = ::spire::api::server::entry::v1;
namespace svid_v1 = ::spire::api::server::svid::v1;

constexpr auto kNewX509 = "/spire.api.server.svid.v1.SVID/BatchNewX509SVID";
constexpr auto kMintX509 = "/spire.api.server.svid.v1.SVID/MintX509SVID";
constexpr auto kNewJwt = "/spire.api.server.svid.v1.SVID/NewJWTSVID";
constexpr auto kSync = "/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries";
constexpr auto kAuthorized = "/spire.api.server.entry.v1.Entry/GetAuthorizedEntries";
constexpr auto kList = "/spire.api.server.entry.v1.Entry/ListEntries";
constexpr auto kBundle = "/spire.api.server.bundle.v1.Bundle/GetBundle";

constexpr std::size_t kAgents = 4;  // that work at the same time, a connection each
constexpr std::size_t kSlots = 8;   // operations under way, spread over the agents
constexpr int kEntriesPerAgent = 100;
constexpr int kCreateBatch = 500;
constexpr int kPage = 1000;
constexpr std::size_t kAttestationsAtOnce = 4;

class ServerWork {
 public:
  explicit ServerWork(const Arguments& arguments)
      : pid_(static_cast<pid_t>(arguments.number("pid"))),
        part_(arguments.options.contains("part") ? arguments.text("part") : ""),
        entries_(static_cast<int>(arguments.number("entries", 28'000))),
        attestations_(static_cast<std::size_t>(arguments.number("attestations", 300))),
        admin_(world_, arguments.text("socket"), arguments.text("trust-domain")),
        server_{io::Endpoint::tcp(arguments.text("address"),
                                  static_cast<std::uint16_t>(arguments.number("port"))),
                admin_.trust_domain(), admin_.bundle()} {}

  void run() {
    attest();
    prepare();
    part("x509", [&] {
      x509("x509_batch", 10, 1500);
      x509("x509_single", 1, 4000);
    });
    part("mint", [&] { mint(); });
    part("jwt", [&] { jwt(); });
    part("sync", [&] {
      sync();
      authorized_entries();
    });
    part("create", [&] { create(); });
    part("list", [&] { list(); });
  }

 private:
  // All of them, or the one that --part names.
  void part(const std::string& name, const std::function<void()>& measure) const {
    if (part_.empty() || part_ == name) {
      measure();
    }
  }

  rpc::Channel& channel_of(std::size_t slot) {
    return agents_[slot % kAgents]->channel(world_, server_);
  }

  // An operation of one unary call.
  void unary(std::size_t slot, const char* method, Bytes request, Done done) {
    calls_[slot] = channel_of(slot).unary(method, std::move(request), {},
                                          [method, done = std::move(done)](Result<Bytes> reply) {
                                            if (!reply.ok()) {
                                              fail(method, reply.error());
                                            }
                                            done();
                                          });
  }

  void attest() {
    std::size_t all = attestations_ + std::max<std::size_t>(attestations_ / 10, 1);
    for (std::size_t i = 0; i < all; ++i) {
      auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
      Bytes csr = x509::build_csr(*key, {}).take();
      agents_.push_back(std::make_unique<SimulatedAgent>(admin_.join_token(), csr, key));
    }
    std::size_t next = 0;
    report("attest",
           drive(world_, pid_, kAttestationsAtOnce, attestations_, [&](std::size_t, Done done) {
             agents_[next++]->attest(world_, server_, std::move(done));
           }));
    world_.wait(std::chrono::milliseconds(100));  // the last connections close
  }

  void prepare() {
    for (std::size_t i = 0; i < kAgents; ++i) {
      entry_ids_.push_back(admin_.create(
          admin_.batch(fmt::format("agent-{}", i), agents_[i]->path(), 0, kEntriesPerAgent)));
    }
    for (int i = 0; i < kEntriesPerAgent; ++i) {
      auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
      csrs_.push_back(
          x509::build_csr(*key, {.uri_sans = {admin_.trust_domain().id_string() + "/mint"}})
              .take());
    }
    // SPIRE's agents see new entries within its cache's interval.
    for (std::size_t i = 0; i < kAgents; ++i) {
      wait_for_entries(i);
    }
  }

  void wait_for_entries(std::size_t agent) {
    constexpr int kTries = 200;
    for (int i = 0; i < kTries; ++i) {
      auto answer = world_.call<entry_v1::GetAuthorizedEntriesResponse>(
          channel_of(agent), kAuthorized, entry_v1::GetAuthorizedEntriesRequest());
      if (answer.entries_size() == kEntriesPerAgent) {
        return;
      }
      world_.wait(std::chrono::milliseconds(100));
    }
    fail("prepare", internal("the agent does not see its entries"));
  }

  void x509(const char* name, int batch, std::size_t calls) {
    std::vector<Bytes> requests;
    for (std::size_t agent = 0; agent < kAgents; ++agent) {
      svid_v1::BatchNewX509SVIDRequest request;
      for (int i = 0; i < batch; ++i) {
        auto* params = request.add_params();
        params->set_entry_id(entry_ids_[agent][static_cast<std::size_t>(i)]);
        params->set_csr(csrs_[static_cast<std::size_t>(i)]);
      }
      requests.push_back(request.SerializeAsString());
    }
    check_batch(requests[0]);
    Figure figure = drive(world_, pid_, kSlots, calls, [&](std::size_t slot, Done done) {
      unary(slot, kNewX509, requests[slot % kAgents], std::move(done));
    });
    figure.operations *= static_cast<std::size_t>(batch);
    figure.cpu /= batch;
    report(name, std::move(figure));
  }

  // The figures are worth something only if SVIDs come back.
  void check_batch(const Bytes& request) {
    svid_v1::BatchNewX509SVIDResponse response;
    CHECK(response.ParseFromString(world_.call(channel_of(0), kNewX509, request)));
    for (const auto& result : response.results()) {
      if (result.status().code() != 0 || result.svid().cert_chain().empty()) {
        fail(kNewX509, internal(result.status().message()));
      }
    }
  }

  void mint() {
    svid_v1::MintX509SVIDRequest request;
    request.set_csr(csrs_[0]);
    Bytes bytes = request.SerializeAsString();
    report("mint", drive(world_, pid_, kAgents, 3000, [&](std::size_t slot, Done done) {
             calls_[slot] = admin_.channel().unary(kMintX509, bytes, {},
                                                   [done = std::move(done)](Result<Bytes> reply) {
                                                     if (!reply.ok()) {
                                                       fail(kMintX509, reply.error());
                                                     }
                                                     done();
                                                   });
           }));
  }

  void jwt() {
    std::size_t number = 0;
    report("jwt", drive(world_, pid_, kSlots, 4000, [&](std::size_t slot, Done done) {
             svid_v1::NewJWTSVIDRequest request;
             request.set_entry_id(entry_ids_[slot % kAgents][number % kEntriesPerAgent]);
             request.add_audience(fmt::format("spiffe://example.org/audience-{}", ++number));
             unary(slot, kNewJwt, request.SerializeAsString(), std::move(done));
           }));
  }

  // What an agent does when nothing has changed: all its entries (one page), and the bundle.
  void sync() {
    entry_v1::SyncAuthorizedEntriesRequest request;
    mask(*request.mutable_output_mask());
    Bytes bytes = request.SerializeAsString();
    report("sync", drive(world_, pid_, kSlots, 3000, [&](std::size_t slot, Done done) {
             rpc::StreamReply reply;
             auto count = std::make_shared<int>(0);
             reply.on_message = [count](ByteView raw) {
               entry_v1::SyncAuthorizedEntriesResponse response;
               CHECK(response.ParseFromArray(raw.data(), static_cast<int>(raw.size())));
               *count += response.entries_size();
             };
             reply.on_done = [this, slot, count, done = std::move(done)](Result<void> status) {
               if (!status.ok() || *count != kEntriesPerAgent) {
                 fail(kSync, status.ok() ? internal("entries are missing") : status.error());
               }
               world_.loop().post([this, slot, done] { unary(slot, kBundle, {}, done); });
             };
             calls_[slot] = channel_of(slot).stream(kSync, {}, std::move(reply));
             calls_[slot]->send(bytes);
             calls_[slot]->close_send();
           }));
  }

  void authorized_entries() {
    entry_v1::GetAuthorizedEntriesRequest request;
    mask(*request.mutable_output_mask());
    Bytes bytes = request.SerializeAsString();
    report("authorized_entries",
           drive(world_, pid_, kSlots, 3000, [&](std::size_t slot, Done done) {
             unary(slot, kAuthorized, bytes, std::move(done));
           }));
  }

  // The fields that an agent asks for.
  static void mask(::spire::api::types::EntryMask& mask) {
    mask.set_spiffe_id(true);
    mask.set_selectors(true);
    mask.set_federates_with(true);
    mask.set_expires_at(true);
    mask.set_admin(true);
    mask.set_downstream(true);
    mask.set_revision_number(true);
    mask.set_store_svid(true);
    mask.set_hint(true);
    mask.set_created_at(true);
    mask.set_x509_svid_ttl(true);
    mask.set_jwt_svid_ttl(true);
  }

  // Up to `until` entries, in batches, one after the other.
  void create_until(const char* name, int until) {
    std::vector<entry_v1::BatchCreateEntryRequest> requests;
    int at = created_;
    for (; at < until; at += kCreateBatch) {
      // A batch is the entries of five nodes.
      entry_v1::BatchCreateEntryRequest request;
      for (int part = 0; part < kCreateBatch; part += kEntriesPerAgent) {
        request.MergeFrom(admin_.batch(
            "load", fmt::format("/spire/agent/k8s_psat/cluster/node-{}", (at + part) / 100),
            at + part, kEntriesPerAgent));
      }
      requests.push_back(std::move(request));
    }
    Figure figure;
    double cpu = cpu_micros(pid_);
    SteadyTime began = system_clock().steady();
    for (const auto& request : requests) {
      SteadyTime start = system_clock().steady();
      admin_.create(request);
      figure.latencies.push_back(micros_since(start));
    }
    figure.seconds = micros_since(began) / 1e6;
    figure.operations = requests.size() * kCreateBatch;
    figure.cpu = (cpu_micros(pid_) - cpu) / static_cast<double>(figure.operations);
    created_ = at;
    report(name, std::move(figure));
  }

  void create() {
    create_until("create_empty", std::min(5'000, entries_));
    if (created_ < entries_) {
      create_until("create_fill", entries_);
    }
    create_until("create_full", entries_ + 3'000);
  }

  // All entries, page by page.
  void list() {
    Figure figure;
    double cpu = cpu_micros(pid_);
    SteadyTime began = system_clock().steady();
    entry_v1::ListEntriesRequest request;
    request.set_page_size(kPage);
    do {
      SteadyTime start = system_clock().steady();
      auto page = world_.call<entry_v1::ListEntriesResponse>(admin_.channel(), kList, request);
      figure.latencies.push_back(micros_since(start));
      figure.operations += static_cast<std::size_t>(page.entries_size());
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    figure.seconds = micros_since(began) / 1e6;
    figure.cpu = (cpu_micros(pid_) - cpu) / static_cast<double>(figure.operations);
    report("list", std::move(figure));
  }

  World world_;
  pid_t pid_;
  std::string part_;
  int entries_;
  std::size_t attestations_;
  int created_ = 0;
  Admin admin_;
  ServerSide server_;
  std::deque<std::unique_ptr<SimulatedAgent>> agents_;
  std::vector<std::vector<std::string>> entry_ids_;  // of the agents that work
  std::vector<Bytes> csrs_;
  std::array<std::unique_ptr<rpc::ClientCall>, kSlots> calls_;
};

}  // namespace

int measure_server(const Arguments& arguments) {
  ServerWork(arguments).run();
  return 0;
}

}  // namespace steeple::bench
