// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/world.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/io/directory.h"
#include "lib/x509/fake_authority.h"
#include "tests/simulation/seeded_openssl.h"

namespace steeple::simulation {
namespace {

using namespace std::chrono_literals;

constexpr uid_t kFirstUid = 1000;
constexpr gid_t kGroups = 2;
constexpr auto kCheckEvery = 50min;
constexpr auto kBootTime = 5min;
constexpr auto kReviveAfter = 10s;
constexpr auto kOperatorDelay = 1min;

io::SimSwitch::Options wires_of(const Plan& plan) {
  io::SimSwitch::Options options;
  options.latency_max = plan.latency_max;
  return options;
}

}  // namespace

World::World(const Plan& plan, std::string folder, bool verbose)
    : plan_(plan),
      folder_(std::move(folder)),
      trace_(clock_, verbose),
      random_(plan.seed * 31 + 7),
      product_random_(plan.seed * 37 + 11),
      scheduler_(clock_, plan.seed),
      wires_(scheduler_, wires_of(plan_)),
      handshake_(tls::fake_handshake()) {
  seed_openssl(plan.seed);
}

World::~World() {
  // Clients before servers: nobody reconnects.
  operator_.reset();
  workloads_.clear();
  nodes_.clear();
  server_.reset();
}

Outcome World::run() {
  write_certificates();
  set_up();
  if (!trace_.failed()) {
    live();
  }
  if (!trace_.failed()) {
    converge();
  }
  Outcome out;
  out.failures = trace_.failures();
  out.hash = trace_.hash() ^ scheduler_.fingerprint();
  out.events = scheduler_.events_run();
  for (const auto& workload : workloads_) {
    out.updates += workload->updates();
    out.tokens += workload->tokens();
  }
  out.operations = operations_;
  out.faults = faults_;
  return out;
}

// --- before anything runs ------------------------------------------------------------------------

// The only real files: what an operator would have put there.
void World::write_certificates() {
  auto write = [&](const std::string& name, std::string_view content) {
    io::write_file(folder_ + "/" + name, content, 0600).take();
  };
  constexpr Duration kLong = 24h * 365;
  x509::FakeAuthority upstream("example.org", clock_.now(), kLong);
  write("upstream.pem", x509::certificate_to_pem(upstream.certificate()->der()));
  write("upstream.key", upstream.key()->to_pem().reveal());
  x509::FakeAuthority pop("example.org", clock_.now(), kLong);
  write("pop-ca.pem", x509::certificate_to_pem(pop.certificate()->der()));
  for (std::size_t i = 0; i < plan_.nodes.size(); ++i) {
    auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
    x509::Name name;
    name.common_name = fmt::format("node-{}", i);
    Bytes subject = name.encode().take();
    auto id = spiffe::SpiffeId::make(pop.domain(), fmt::format("/device/{}", i)).take();
    x509::SvidOptions options{id, key->public_key(), subject, x509::random_serial(random_),
                              x509::validity(clock_.now(), kLong)};
    write(fmt::format("node{}.pem", i),
          x509::certificate_to_pem(pop.issuer()->issue_svid(options).take()));
    write(fmt::format("node{}.key", i), key->to_pem().reveal());
  }
}

void World::set_up() {
  trace_.event("{}", plan_.text());
  server_ = std::make_unique<ServerHost>(
      plan_, folder_,
      ServerHost::Deps{scheduler_, wires_, *handshake_, product_random_, clock_, trace_});
  if (!server_->start()) {
    trace_.fail("the server does not start");
    return;
  }
  operator_ = std::make_unique<Operator>(plan_.seed * 41 + 3,
                                         Operator::Deps{scheduler_, wires_, oracle_, trace_});
  std::set<std::size_t> all;
  for (std::size_t i = 0; i < plan_.nodes.size(); ++i) {
    all.insert(i);
    oracle_.add_node(i);
    oracle_.begin_fault(i, now());
    nodes_.push_back(std::make_unique<Node>(
        i, plan_, Node::Deps{scheduler_, wires_, *handshake_, product_random_, clock_, trace_}));
    if (plan_.nodes[i].x509pop) {
      operator_->create_node_alias(i, fmt::format("node-{}", i));
      hcl::Value data = hcl::make_object();
      data.members.push_back(
          {"private_key_path", hcl::make_string(fmt::format("{}/node{}.key", folder_, i)), {}});
      data.members.push_back(
          {"certificate_path", hcl::make_string(fmt::format("{}/node{}.pem", folder_, i)), {}});
      nodes_.back()->use_x509pop(std::move(data));
    } else if (auto token = operator_->create_token(i)) {
      nodes_.back()->use_token(*token);
    }
  }
  operator_->create_group("/group/all", all);
  operator_->create_group("/group/some", {0, all.size() - 1});
  x509::FakeAuthority foreign("other.org", clock_.now(), 24h * 365);
  operator_->set_federated(foreign.certificate()->der());
  for (std::size_t i = 0; i < plan_.entries; ++i) {
    std::string id = fmt::format("entry-{}", next_entry_++);
    operator_->create(id, new_version(id));
  }
  for (auto& node : nodes_) {
    node->start();
  }
  wait([&] { return std::ranges::all_of(nodes_, [](auto& node) { return node->serving(); }); },
       kBootTime);
  for (auto& node : nodes_) {
    if (!node->serving()) {
      trace_.fail("agent{} does not serve", node->number());
    }
    oracle_.end_fault(node->number(), now());
  }
  start_workloads();
}

void World::start_workloads() {
  for (auto& node : nodes_) {
    for (std::size_t i = 0; i < plan_.nodes[node->number()].workloads; ++i) {
      std::size_t number = workloads_.size();
      workloads_.push_back(std::make_unique<Workload>(
          Workload::Options{.node = node->number(),
                            .name = fmt::format("workload{}@{}", number, node->number()),
                            .uid = kFirstUid + static_cast<uid_t>(i),
                            .gid = static_cast<gid_t>(number) % kGroups + 1,
                            .token_every = plan_.token_every,
                            .seed = plan_.seed * 1009 + number},
          Workload::Deps{wires_, node->workload_loop(), node->clock(), node->procs(), oracle_,
                         trace_, verifier_, [this](Random& random) {
                           return workloads_[random.below(workloads_.size())].get();
                         }}));
      workloads_.back()->start(next_pid_++);
    }
  }
}

// --- the run -------------------------------------------------------------------------------------

void World::later(Duration after, Action action) {
  actions_.emplace(now() + after, std::move(action));
}

Duration World::between(Duration least, Duration most) {
  if (most <= least) {
    return least;
  }
  return least + Duration(static_cast<std::int64_t>(
                     random_.below(static_cast<std::uint64_t>((most - least).count()))));
}

bool World::all_quiet() const {
  return std::ranges::all_of(
      nodes_, [&](const auto& node) { return oracle_.quiet(node->number(), now()); });
}

void World::live() {
  SteadyTime end = now() + plan_.length;
  run_until(now() + kSettle);
  bool ending = false;
  auto again = [this, &ending](Action& self, Action act, std::function<Duration()> pause) {
    later(pause(), [&self] { self(); });
    self = [this, &ending, &self, act = std::move(act), pause = std::move(pause)] {
      if (!ending) {
        act();
        later(pause(), [&self] { self(); });
      }
    };
  };
  Action check_again, fault_again, operate_again;
  again(check_again, [this] { check(); }, [] { return kCheckEvery; });
  again(fault_again, [this] { fault(); }, [this] { return about(plan_.fault_every); });
  again(operate_again, [this] { operation(); }, [this] { return about(plan_.operation_every); });
  while (now() < end && !trace_.failed()) {
    auto first = actions_.begin();
    run_until(std::min(first->first, end));
    if (now() < first->first) {
      break;
    }
    Action action = std::move(first->second);
    actions_.erase(first);
    action();
    supervise();
  }
  // What was begun is ended, nothing new is.
  ending = true;
  while (!actions_.empty() && !trace_.failed()) {
    auto first = actions_.begin();
    run_until(first->first);
    Action action = std::move(first->second);
    actions_.erase(first);
    action();
    supervise();
  }
}

void World::run_until(SteadyTime when) {
  // In steps, so that an agent that ended is noticed.
  while (now() < when && !trace_.failed()) {
    scheduler_.run_until(std::min(when, now() + 5min));
    supervise();
  }
}

bool World::wait(const std::function<bool()>& holds, Duration at_most) {
  return scheduler_.run_while_not(holds, at_most);
}

// The service manager of every node.
void World::supervise() {
  for (auto& node : nodes_) {
    if (node->ended() && node->running()) {
      revive(*node);
    }
  }
}

void World::revive(Node& node) {
  std::size_t number = node.number();
  const Result<void>& why = *node.ended();
  if (node.has_served() && !expelled_.contains(number)) {
    trace_.fail("agent{} gave up its identity: {}", number, why.ok() ? "OK" : why.error().message);
    return;
  }
  node.kill();
  trace_.event("agent{} is started again", number);
  node.start();
}

// --- checks --------------------------------------------------------------------------------------

void World::check() {
  for (auto& workload : workloads_) {
    workload->check();
  }
  Workload* verifier = workloads_[random_.below(workloads_.size())].get();
  verifier->check_peer(*workloads_[random_.below(workloads_.size())]);
  check_nodes();
  if (server_->running() && random_.below(4) == 0) {
    operator_->read_bundle(server_->clock().now());
    check_published();
  }
}

// A restarted agent is who it was, without a new attestation.
void World::check_nodes() {
  for (auto& node : nodes_) {
    auto before = before_.find(node->number());
    if (before == before_.end() || !before->second.check || !node->serving() ||
        expelled_.contains(node->number())) {
      continue;
    }
    before->second.check = false;
    std::string id = node->stored_id();
    if (id != before->second.id) {
      trace_.fail("agent{} was {} and is {}", node->number(), before->second.id, id);
    }
    bool pop = plan_.nodes[node->number()].x509pop;
    if (!pop && node->attestations() != before->second.attestations) {
      trace_.fail("agent{} attested anew", node->number());
    }
  }
}

// What workloads were given is what the server published.
void World::check_published() {
  for (auto& workload : workloads_) {
    for (const Bytes& root : workload->seen_roots()) {
      if (!operator_->published_roots().contains(root)) {
        trace_.fail("{} was given an X.509 authority that was never published",
                    workload->options().name);
      }
    }
    for (const std::string& key : workload->seen_keys()) {
      if (!operator_->published_keys().contains(key)) {
        trace_.fail("{} was given JWT key {} that was never published", workload->options().name,
                    key);
      }
    }
    workload->seen_roots().clear();
    workload->seen_keys().clear();
  }
}

void World::converge() {
  trace_.event("everything is healed");
  run_until(now() + kSettle + 1min);
  if (unknown_) {
    after_unknown();
  }
  run_until(now() + 2 * kSettle);
  if (trace_.failed()) {
    return;
  }
  if (!all_quiet()) {
    trace_.fail("the world does not come to rest");
  }
  if (!operator_->reconcile() || !operator_->read_bundle(server_->clock().now())) {
    trace_.fail("the server does not answer at the end");
  }
  check_published();
  for (auto& workload : workloads_) {
    workload->check();
    workload->check_converged();
    for (auto& other : workloads_) {
      workload->check_peer(*other);
    }
  }
  check_nodes();
  auto agents = operator_->agents();
  for (auto& node : nodes_) {
    std::string id = node->stored_id();
    if (!agents || std::ranges::none_of(*agents, [&](const auto& agent) {
          return "spiffe://" + agent.id().trust_domain() + agent.id().path() == id &&
                 !agent.banned();
        })) {
      trace_.fail("the server does not know {}", id);
    }
  }
}

}  // namespace steeple::simulation
