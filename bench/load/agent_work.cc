// SPDX-License-Identifier: Apache-2.0

// What an agent does for its workloads: this process is the workload. The agent is to attest with
// the unix attestor; entries for this process's uid are made through the server's admin socket.

#include <fmt/format.h>
#include <unistd.h>

#include "bench/load/arguments.h"
#include "bench/load/process.h"
#include "bench/load/simulated_agent.h"
#include "workload.pb.h"

namespace steeple::bench {
namespace {

namespace entry_v1 = ::spire::api::server::entry::v1;

constexpr auto kFetchX509 = "/SpiffeWorkloadAPI/FetchX509SVID";
constexpr auto kFetchJwt = "/SpiffeWorkloadAPI/FetchJWTSVID";
constexpr std::size_t kClients = 4;
constexpr std::size_t kStreams = 500;

rpc::CallOptions workload_options() { return {.metadata = {{"workload.spiffe.io", "true"}}}; }

class AgentWork {
 public:
  explicit AgentWork(const Arguments& arguments)
      : pid_(static_cast<pid_t>(arguments.number("pid"))),
        rounds_(static_cast<int>(arguments.number("rounds", 200))),
        part_(arguments.options.contains("part") ? arguments.text("part") : ""),
        prefix_(arguments.options.contains("prefix") ? arguments.text("prefix") : ""),
        socket_(arguments.text("socket")),
        parent_(arguments.text("parent")),
        admin_(world_, arguments.text("admin"), arguments.text("trust-domain")) {}

  void run() {
    admin_.create(entry("base"));
    wait_for_identity();
    if (part_.empty()) {
      fetch();
      jwt();
      streams();
    }
    propagate();
  }

 private:
  entry_v1::BatchCreateEntryRequest entry(const std::string& name) const {
    entry_v1::BatchCreateEntryRequest request;
    auto* entry = request.add_entries();
    entry->mutable_spiffe_id()->set_trust_domain(admin_.trust_domain().name());
    entry->mutable_spiffe_id()->set_path("/bench/" + name);
    entry->mutable_parent_id()->set_trust_domain(admin_.trust_domain().name());
    entry->mutable_parent_id()->set_path(parent_);
    auto* selector = entry->add_selectors();
    selector->set_type("unix");
    selector->set_value(fmt::format("uid:{}", ::getuid()));
    return request;
  }

  // One workload: its connection and its open stream.
  struct Workload {
    std::unique_ptr<rpc::Channel> channel;
    std::unique_ptr<rpc::ClientCall> call;
  };
  using OnUpdate = std::function<void(Result<X509SVIDResponse>)>;

  Workload open(const OnUpdate& on_update) {
    Workload out;
    out.channel = world_.local(socket_);
    rpc::StreamReply reply;
    reply.on_message = [on_update](ByteView raw) {
      X509SVIDResponse response;
      CHECK(response.ParseFromArray(raw.data(), static_cast<int>(raw.size())));
      on_update(std::move(response));
    };
    reply.on_done = [on_update](Result<void> status) {
      on_update(status.ok() ? internal("the stream has ended") : std::move(status.error()));
    };
    out.call = out.channel->stream(kFetchX509, workload_options(), std::move(reply));
    out.call->send({});
    out.call->close_send();
    return out;
  }

  static OnUpdate must_have_svids(Done done) {
    return [done = std::move(done)](Result<X509SVIDResponse> response) {
      if (!response.ok() || response->svids().empty()) {
        fail(kFetchX509, response.ok() ? internal("no SVID") : response.error());
      }
      done();
    };
  }

  void wait_for_identity() {
    constexpr int kTries = 300;
    for (int i = 0; i < kTries; ++i) {
      bool ready = false;
      auto workload = open([&](Result<X509SVIDResponse> response) {
        ready = response.ok() && !response->svids().empty();
        world_.loop().stop();
      });
      world_.loop().run();
      if (ready) {
        return;
      }
      world_.wait(std::chrono::milliseconds(50));
    }
    fail("agent", internal("this process gets no identity"));
  }

  // A workload connects, takes its SVID and leaves.
  void fetch() {
    std::array<Workload, kClients> workloads;
    report("fetch", drive(world_, pid_, kClients, 4000, [&](std::size_t slot, Done done) {
             workloads[slot].call.reset();  // before its channel, or it would be told
             workloads[slot] = open(must_have_svids(std::move(done)));
           }));
  }

  void jwt() {
    std::vector<std::unique_ptr<rpc::Channel>> channels;
    for (std::size_t i = 0; i < kClients; ++i) {
      channels.push_back(world_.local(socket_));
    }
    std::array<std::unique_ptr<rpc::ClientCall>, kClients> calls;
    int number = 0;
    report("agent_jwt", drive(world_, pid_, kClients, 2000, [&](std::size_t slot, Done done) {
             JWTSVIDRequest request;
             request.add_audience(fmt::format("spiffe://example.org/audience-{}", ++number));
             calls[slot] =
                 channels[slot]->unary(kFetchJwt, request.SerializeAsString(), workload_options(),
                                       [done = std::move(done)](Result<Bytes> reply) {
                                         if (!reply.ok()) {
                                           fail(kFetchJwt, reply.error());
                                         }
                                         done();
                                       });
           }));
  }

  // Workloads that stay: memory and CPU of each.
  void streams() {
    world_.wait(std::chrono::seconds(1));
    double rss = rss_kib(pid_);
    double cpu = cpu_micros(pid_);
    std::vector<Workload> open_streams;
    std::size_t served = 0;
    for (std::size_t i = 0; i < kStreams; ++i) {
      open_streams.push_back(open(must_have_svids([&] {
        if (++served == kStreams) {
          world_.loop().stop();
        }
      })));
    }
    world_.loop().run();
    world_.wait(std::chrono::milliseconds(500));
    report_value("stream_cpu_us", (cpu_micros(pid_) - cpu) / kStreams);
    report_value("stream_kib", (rss_kib(pid_) - rss) / kStreams);
  }

  // An operator's change until a workload that waits on its stream holds the result.
  void propagate() {
    X509SVIDResponse latest;
    std::function<bool()> reached;
    auto workload = open([&](Result<X509SVIDResponse> response) {
      if (!response.ok()) {
        fail("propagate", response.error());
      }
      latest = std::move(*response);
      if (reached && reached()) {
        world_.loop().stop();
      }
    });
    reached = [&] { return !latest.svids().empty(); };
    world_.loop().run();
    Figure created, updated, deleted;
    for (int round = 0; round < rounds_; ++round) {
      const int before = latest.svids_size();
      auto request = entry(fmt::format("round-{}", round));
      SteadyTime start = system_clock().steady();
      std::string id = admin_.create(request).front();
      await(reached, [&] { return latest.svids_size() == before + 1; });
      created.latencies.push_back(micros_since(start));

      auto* changed = request.mutable_entries(0);
      changed->set_id(id);
      changed->set_hint("changed");
      start = system_clock().steady();
      update(request);
      await(reached, [&] {
        return std::any_of(latest.svids().begin(), latest.svids().end(),
                           [](const auto& svid) { return svid.hint() == "changed"; });
      });
      updated.latencies.push_back(micros_since(start));

      start = system_clock().steady();
      remove(id);
      await(reached, [&] { return latest.svids_size() == before; });
      deleted.latencies.push_back(micros_since(start));
    }
    report_rounds("entry_create", std::move(created));
    report_rounds("entry_update", std::move(updated));
    report_rounds("entry_delete", std::move(deleted));
  }

  void await(std::function<bool()>& reached, std::function<bool()> condition) {
    if (!condition()) {
      reached = std::move(condition);
      world_.loop().run();
    }
    reached = nullptr;
  }

  void update(const entry_v1::BatchCreateEntryRequest& entry) {
    entry_v1::BatchUpdateEntryRequest request;
    *request.add_entries() = entry.entries(0);
    request.mutable_input_mask()->set_hint(true);
    auto response = world_.call<entry_v1::BatchUpdateEntryResponse>(
        admin_.channel(), "/spire.api.server.entry.v1.Entry/BatchUpdateEntry", request);
    CHECK(response.results_size() == 1 && response.results(0).status().code() == 0);
  }

  void remove(const std::string& id) {
    entry_v1::BatchDeleteEntryRequest request;
    request.add_ids(id);
    auto response = world_.call<entry_v1::BatchDeleteEntryResponse>(
        admin_.channel(), "/spire.api.server.entry.v1.Entry/BatchDeleteEntry", request);
    CHECK(response.results_size() == 1 && response.results(0).status().code() == 0);
  }

  void report_rounds(const char* name, Figure figure) const {
    figure.operations = figure.latencies.size();
    for (double latency : figure.latencies) {
      figure.seconds += latency / 1e6;
    }
    report(prefix_ + name, std::move(figure));
  }

  World world_;
  pid_t pid_;
  int rounds_;
  std::string part_;    // "propagate": only that
  std::string prefix_;  // of the figures' names
  std::string socket_;
  std::string parent_;
  Admin admin_;
};

}  // namespace

int measure_agent(const Arguments& arguments) {
  AgentWork(arguments).run();
  return 0;
}

}  // namespace steeple::bench
