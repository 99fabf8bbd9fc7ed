// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/node.h"

#include "agent/nodeattestor/agent_data.h"
#include "agent/workloadattestor/unix_attestor.h"
#include "lib/x509/verify.h"
#include "tests/simulation/workload.h"

namespace steeple::simulation {
namespace {

constexpr pid_t kAgentPid = 1;

// Counts how often an attestation begins.
class CountingAttestor final : public agent::NodeAttestor {
 public:
  CountingAttestor(std::unique_ptr<agent::NodeAttestor> real, std::shared_ptr<int> count)
      : real_(std::move(real)), count_(std::move(count)) {}
  const std::string& name() const override { return real_->name(); }
  Result<std::unique_ptr<agent::Proof>> begin() override {
    ++*count_;
    return real_->begin();
  }

 private:
  const std::unique_ptr<agent::NodeAttestor> real_;
  const std::shared_ptr<int> count_;
};

}  // namespace

Node::Process::Process(Node& node, io::SimWorkers::Options speed)
    : loop(node.deps_.scheduler, node.clock_),
      workers(node.deps_.scheduler, speed),
      network(node.deps_.wires.join(node.host(), {.pid = kAgentPid})) {}

Node::Node(std::size_t number, const Plan& plan, Deps deps)
    : number_(number),
      plan_(plan),
      deps_(deps),
      clock_(deps_.clock),
      workload_loop_(deps_.scheduler, clock_) {}

Node::~Node() { kill(); }

std::string Node::host() const { return Workload::host(number_); }

std::unique_ptr<agent::NodeAttestor> Node::attestor() {
  auto real = x509pop_ ? agent::x509pop_attestor(*x509pop_, deps_.random).take()
                       : agent::join_token_attestor(SecretBytes(token_));
  return std::make_unique<CountingAttestor>(std::move(real), attestations_);
}

agent::AgentConfig Node::config() const {
  agent::AgentConfig config(spiffe::TrustDomain::parse("example.org").take());
  config.server_address = "server";
  config.server_port = 8081;
  config.bootstrap.insecure = true;
  config.socket_path = Workload::kSocket;
  config.safety_sync_interval = plan_.safety_sync;
  config.keepalive_interval = plan_.keepalive;
  return config;
}

void Node::start() {
  CHECK(!process_);
  ended_.reset();
  ++runs_;
  process_ = std::make_unique<Process>(*this, speed_);
  std::vector<std::unique_ptr<agent::WorkloadAttestor>> attestors;
  attestors.push_back(agent::unix_attestor({}, names_));
  auto directory = std::make_shared<io::MemoryDirectory>(disk_);
  process_->agent = std::make_unique<agent::Agent>(
      config(),
      agent::Agent::Deps{.loop = process_->loop,
                         .workers = process_->workers,
                         .network = *process_->network,
                         .handshake = deps_.handshake,
                         .random = deps_.random,
                         .proc_fs = procs_,
                         .data = directory,
                         .keys = keymanager::disk_key_manager(directory).take(),
                         .node_attestor = attestor(),
                         .workload_attestors = std::move(attestors),
                         .own_pid = kAgentPid,
                         .log = deps_.trace.logger(fmt::format("agent{}", number_), clock_),
                         .metrics = no_metrics()},
      agent::Agent::Hooks{.serving =
                              [this] {
                                process_->serving = has_served_ = true;
                                deps_.trace.event("agent{} serves", number_);
                              },
                          .ended =
                              [this](Result<void> why) {
                                deps_.trace.event("agent{} ended: {}", number_,
                                                  why.ok() ? "OK" : why.error().message);
                                process_->serving = false;
                                ended_ = std::move(why);
                              }});
  process_->agent->start();
}

void Node::kill() {
  if (process_) {
    process_->agent.reset();
    process_.reset();
  }
}

x509::CertificatePtr Node::stored_svid() const {
  auto file = disk_->file(std::string(agent::kAgentDataFile));
  if (!file) {
    return nullptr;
  }
  auto data = agent::parse_agent_data(file->content);
  if (!data.ok()) {
    deps_.trace.fail("agent{}: its data is damaged: {}", number_, data.error().message);
    return nullptr;
  }
  return data->svid.empty() ? nullptr : x509::Certificate::parse(data->svid.front()).take();
}

std::string Node::stored_id() const {
  auto svid = stored_svid();
  return svid ? x509::id_from_certificate(*svid).take().text() : "";
}

void Node::fail_disk(bool failing) {
  disk_->fail_writes(failing ? std::optional(unavailable("write: no space left on device"))
                             : std::nullopt);
}

void Node::slow_down(Duration least, Duration most) {
  speed_.delay_min = least;
  speed_.delay_max = most;
  if (process_) {
    process_->workers.set_delay(least, most);
  }
}

}  // namespace steeple::simulation
