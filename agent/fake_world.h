// SPDX-License-Identifier: Apache-2.0

// A node in simulation for the agent's tests: a FakeServer, an agent with a disk that outlives it,
// and workloads that are real gRPC clients of its sockets. One seed, one run.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/fake_server.h"
#include "agent/peer/fake_proc_fs.h"
#include "agent/workloadattestor/unix_attestor.h"
#include "lib/base/fake_clock.h"
#include "lib/io/fake_directory.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/rpc/client.h"
#include "lib/telemetry/fake_log.h"
#include "lib/tls/fake_handshake.h"
#include "workload.pb.h"

namespace steeple::agent {

class NoNames final : public AccountNames {
 public:
  std::optional<std::string> user(uid_t) override { return std::nullopt; }
  std::optional<std::string> group(gid_t) override { return std::nullopt; }
};

// Answers "?" with "!", payload as given.
class FakeNodeAttestor final : public NodeAttestor {
 public:
  explicit FakeNodeAttestor(std::string payload) : payload_(std::move(payload)) {}
  const std::string& name() const override { return name_; }
  Result<std::unique_ptr<Proof>> begin() override {
    struct Fixed final : Proof {
      explicit Fixed(std::string text) : payload_text(std::move(text)) {}
      Result<Bytes> payload() override { return payload_text; }
      Result<Bytes> answer(ByteView challenge) override { return challenge == "?" ? "!" : "no"; }
      std::string payload_text;
    };
    return std::unique_ptr<Proof>(std::make_unique<Fixed>(payload_));
  }

 private:
  std::string name_ = "fake";
  std::string payload_;
};

// Knows the pod of every process at once, and its container only when that is asked for.
class FakePodAttestor final : public BlockingAttestor {
 public:
  explicit FakePodAttestor(std::shared_ptr<const LateSelectors> late) : late_(std::move(late)) {}
  const std::string& name() const override { return name_; }
  Result<Selectors> attest(const WorkloadProcess& /*process*/) override {
    Selectors out = {{"k8s", "pod-name:p"}};
    if (late_->wanted) {
      out.push_back({"k8s", "container-name:c"});
    }
    return out;
  }

 private:
  const std::shared_ptr<const LateSelectors> late_;
  const std::string name_ = "k8s";
};

class World {
 public:
  static constexpr const char* kSocket = "/run/agent/public/api.sock";
  static constexpr const char* kAdminSocket = "/run/agent/private/admin.sock";
  static constexpr const char* kToken = "token";

  explicit World(std::uint64_t seed = 1, FakeServer::Options options = {})
      : scheduler(clock, seed),
        wires(scheduler),
        server_loop(scheduler),
        agent_loop(scheduler),
        client_loop(scheduler),
        workers(scheduler),
        server_net(wires.join("server")),
        agent_net(wires.join("node")),
        handshake(tls::fake_handshake()),
        random(seed),
        server(options, {server_loop, workers, *server_net, *handshake, random}),
        config(spiffe::TrustDomain::parse("example.org").take()) {
    server.add_join_token(kToken);
    server.listen();
    config.server_address = "server";
    config.server_port = 8081;
    config.bootstrap.insecure = true;
    config.socket_path = kSocket;
    config.admin_socket_path = kAdminSocket;
  }
  ~World() { crash(); }

  void start_agent() {
    std::vector<std::unique_ptr<WorkloadAttestor>> attestors;
    attestors.push_back(unix_attestor({}, names));
    if (late) {
      attestors.push_back(std::make_unique<FakePodAttestor>(late));
    }
    serving = false;
    ended.reset();
    AgentConfig copy(config.trust_domain);
    copy_config(copy);
    agent = std::make_unique<Agent>(
        std::move(copy),
        Agent::Deps{
            .loop = agent_loop,
            .workers = workers,
            .network = *agent_net,
            .handshake = *handshake,
            .random = random,
            .proc_fs = procs,
            .data = std::make_shared<io::MemoryDirectory>(disk),
            .keys =
                keymanager::disk_key_manager(std::make_shared<io::MemoryDirectory>(disk)).take(),
            .node_attestor = std::make_unique<FakeNodeAttestor>(token),
            .workload_attestors = std::move(attestors),
            .late = late,
            .attest_on_loop = attest_on_loop,
            .own_pid = 1,
            .log = log,
            .metrics = no_metrics()},
        Agent::Hooks{.serving = [this] { serving = true; },
                     .ended = [this](Result<void> why) { ended = std::move(why); }});
    agent->start();
  }
  // kill -9: the process is gone, its disk stays.
  void crash() { agent.reset(); }
  bool until_serving(Duration at_most = std::chrono::minutes(2)) {
    return scheduler.run_while_not([this] { return serving; }, at_most);
  }
  bool until(const std::function<bool()>& holds, Duration at_most) {
    return scheduler.run_while_not(holds, at_most);
  }
  void run(Duration time) { scheduler.run_for(time); }

  FakeClock clock;
  io::SimScheduler scheduler;
  io::SimSwitch wires;
  io::SimLoop server_loop, agent_loop, client_loop;
  io::SimWorkers workers;
  std::unique_ptr<io::Network> server_net, agent_net;
  std::unique_ptr<tls::Handshake> handshake;
  SeededRandom random;
  FakeServer server;
  NoNames names;
  FakeProcFs procs;
  CapturedLog log;
  std::shared_ptr<io::MemoryDisk> disk = std::make_shared<io::MemoryDisk>();
  AgentConfig config;
  std::string token = kToken;
  std::shared_ptr<LateSelectors> late;  // with it, every workload is in a FakePodAttestor's pod
  bool attest_on_loop = true;
  bool serving = false;
  std::optional<Result<void>> ended;
  std::unique_ptr<Agent> agent;

 private:
  void copy_config(AgentConfig& out) const {
    out.server_address = config.server_address;
    out.server_port = config.server_port;
    out.bootstrap = config.bootstrap;
    out.socket_path = config.socket_path;
    out.admin_socket_path = config.admin_socket_path;
    out.allow_unauthenticated_verifiers = config.allow_unauthenticated_verifiers;
    out.allowed_foreign_jwt_claims = config.allowed_foreign_jwt_claims;
    out.rotation = config.rotation;
    out.x509_cache_max = config.x509_cache_max;
    out.jwt_cache_max = config.jwt_cache_max;
    out.sync_interval = config.sync_interval;
    out.rate_limits = config.rate_limits;
    out.log_selectors = config.log_selectors;
  }
};

// A process on the node and its connection to the agent.
class Workload {
 public:
  Workload(World& world, pid_t pid, uid_t uid, std::string socket = World::kSocket)
      : world_(world), pid_(pid) {
    world.procs.start(pid, {.uid = uid, .gid = 1});
    auto peer = world.procs.connect(pid, false);
    network_ = world.wires.join(
        "node", {.pid = pid, .uid = uid, .gid = 1, .start_time = peer->process->start_time});
    channel_ = std::make_unique<rpc::Channel>(
        rpc::Channel::Deps{world.client_loop, *network_, nullptr, world.random},
        io::Endpoint::unix_socket(std::move(socket)), nullptr,
        rpc::ChannelOptions{.backoff_max = std::chrono::seconds(1)});
  }

  template <class Response>
  struct Stream {
    std::vector<Response> responses;
    std::optional<Result<void>> done;
    std::unique_ptr<rpc::ClientCall> call;
  };
  template <class Response>
  std::unique_ptr<Stream<Response>> open(const std::string& method, bool header = true) {
    auto out = std::make_unique<Stream<Response>>();
    Stream<Response>* stream = out.get();
    out->call = channel_->stream(
        "/SpiffeWorkloadAPI/" + method, options(header),
        {.on_message =
             [stream](ByteView raw) {
               Response& one = stream->responses.emplace_back();
               CHECK(one.ParseFromArray(raw.data(), static_cast<int>(raw.size())));
             },
         .on_done = [stream](Result<void> status) { stream->done = std::move(status); }});
    out->call->send({});
    out->call->close_send();
    return out;
  }
  auto x509() { return open<::X509SVIDResponse>("FetchX509SVID"); }

  // Waits for the answer.
  Result<Bytes> call(const std::string& method, Bytes request, bool header = true,
                     Duration at_most = std::chrono::minutes(2)) {
    std::optional<Result<Bytes>> answer;
    auto handle = channel_->unary(method, std::move(request), options(header),
                                  [&](Result<Bytes> reply) { answer = std::move(reply); });
    world_.until([&] { return answer.has_value(); }, at_most);
    return answer ? std::move(*answer) : Result<Bytes>(deadline_exceeded("no answer"));
  }
  Result<::JWTSVIDResponse> jwt(const std::vector<std::string>& audience,
                                const std::string& id = {}) {
    ::JWTSVIDRequest request;
    for (const std::string& name : audience) {
      request.add_audience(name);
    }
    request.set_spiffe_id(id);
    Bytes raw = TRY(call("/SpiffeWorkloadAPI/FetchJWTSVID", request.SerializeAsString()));
    ::JWTSVIDResponse response;
    CHECK(response.ParseFromString(raw));
    return response;
  }
  rpc::Channel& channel() { return *channel_; }
  pid_t pid() const { return pid_; }

 private:
  static rpc::CallOptions options(bool header) {
    rpc::CallOptions out;
    if (header) {
      out.metadata = {{"workload.spiffe.io", "true"}};
    }
    return out;
  }

  World& world_;
  pid_t pid_;
  std::unique_ptr<io::Network> network_;
  std::unique_ptr<rpc::Channel> channel_;
};

}  // namespace steeple::agent
