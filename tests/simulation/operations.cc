// SPDX-License-Identifier: Apache-2.0

// World: what the operator does, sometimes while the server is killed under the call.

#include <fmt/format.h>

#include "lib/x509/fake_authority.h"
#include "tests/simulation/world.h"

namespace steeple::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kEntriesMax = 16;
constexpr uid_t kFirstUid = 1000;
constexpr auto kBackMax = 10min;

}  // namespace

void World::operation() {
  if (!server_->running()) {
    return;
  }
  if (unknown_) {
    after_unknown();
    return;
  }
  ++operations_;
  if (random_.below(12) == 0) {
    // At the worst moment: while the call is under way, or just answered.
    operator_->during_next_call([this] {
      scheduler_.run_for(between(0us, 5ms));
      if (server_->running()) {
        kill_server(between(1s, 1min));
      }
    });
  }
  switch (random_.below(12)) {
    case 0:
      replace_federated();
      break;
    case 1:
      expel();
      break;
    case 2:
      offer_spent_token();
      break;
    case 3:
      operator_->reconcile();
      break;
    default:
      change_entries();
  }
  operator_->during_next_call(nullptr);
}

EntryVersion World::new_version(const std::string& id) {
  EntryVersion version;
  version.path = fmt::format("/{}/v{}", id, next_version_++);
  std::uint64_t where = random_.below(4);
  version.parent = where == 0 ? "/group/all"
                   : where == 1
                       ? "/group/some"
                       : fmt::format("/node/{}", random_.below(nodes_.empty() ? plan_.nodes.size()
                                                                              : nodes_.size()));
  bool by_user = random_.below(4) != 0;
  bool by_group = !by_user || random_.below(4) == 0;
  if (by_user) {
    version.selectors.insert(
        fmt::format("uid:{}", kFirstUid + random_.below(plan_.nodes.front().workloads)));
  }
  if (by_group) {
    version.selectors.insert(fmt::format("gid:{}", 1 + random_.below(2)));
  }
  if (random_.below(3) == 0) {
    version.hint = "hint of " + version.path;
  }
  version.federated = random_.below(3) == 0;
  return version;
}

void World::change_entries() {
  std::vector<std::string> living = oracle_.living();
  std::uint64_t choice = random_.below(10);
  bool done = true;
  if (living.empty() || (choice < 4 && living.size() < kEntriesMax)) {
    std::string id = fmt::format("entry-{}", next_entry_++);
    done = operator_->create(id, new_version(id));
  } else {
    const std::string& id = living[random_.below(living.size())];
    EntryVersion version = oracle_.entry(id).back();
    version.acknowledged = kNever;
    if (choice < 6) {
      done = operator_->remove(id);
    } else if (choice < 8) {
      done = operator_->update(id, new_version(id));  // another identity for others
    } else {
      EntryVersion other = new_version(id);  // the same identity, for others
      version.selectors = other.selectors;
      version.hint = other.hint;
      version.federated = other.federated;
      done = operator_->update(id, version);
    }
  }
  unknown_ = !done;
}

void World::replace_federated() {
  x509::FakeAuthority foreign("other.org", clock_.now(), 24h * 365);
  unknown_ = !operator_->set_federated(foreign.certificate()->der());
}

// What was asked while the server went down: did it happen?
void World::after_unknown() {
  if (server_->running()) {
    unknown_ = !operator_->reconcile();
  }
}

// Bans or evicts an agent. It must stop by itself; then it is let in again.
void World::expel() {
  Node& node = *nodes_[random_.below(nodes_.size())];
  std::size_t number = node.number();
  if (!all_quiet() || !node.serving()) {
    return;
  }
  check_nodes();
  before_[number].check = false;
  bool pop = plan_.nodes[number].x509pop;
  std::string id = node.stored_id();
  bool banned = random_.below(2) == 0;
  oracle_.begin_fault(number, now());
  expelled_.insert(number);
  auto back = [&] {
    expelled_.erase(number);
    oracle_.end_fault(number, now());
  };
  operator_->during_next_call(nullptr);
  int attested = node.attestations();
  bool done = banned ? operator_->ban(id) : operator_->evict(id);
  if (!done) {
    trace_.fail("{} could not be expelled", id);
    return;
  }
  // An evicted agent that can attest anew does so and stays; all others end.
  bool stays = pop && !banned;
  auto gone = [&] { return stays ? node.attestations() > attested : node.ended().has_value(); };
  if (!wait(gone, plan_.safety_sync * 2)) {
    trace_.fail("{} was expelled and agent{} goes on", id, number);
    return;
  }
  if (banned) {
    operator_->evict(id);  // lifts the ban
  }
  if (!pop) {
    spent_tokens_.push_back(node.token());
    auto token = operator_->create_token(number);
    if (!token) {
      trace_.fail("no token for node {}", number);
      return;
    }
    node.use_token(*token);
  }
  if (!stays) {
    oracle_.agent_started(number, now());
    node.kill();
    node.start();
  }
  if (!wait([&] { return node.serving() && node.stored_svid(); }, kBackMax)) {
    trace_.fail("agent{} does not come back", number);
    return;
  }
  back();
}

// A join token works once. A thief on a host of its own gets nothing.
void World::offer_spent_token() {
  if (spent_tokens_.empty() || !server_->running()) {
    return;
  }
  Node thief(90, plan_,
             Node::Deps{scheduler_, wires_, *handshake_, product_random_, clock_, trace_});
  thief.use_token(spent_tokens_[random_.below(spent_tokens_.size())]);
  thief.start();
  wait([&] { return thief.serving() || thief.ended(); }, kBackMax);
  if (thief.serving()) {
    trace_.fail("a spent join token was accepted");
  }
}

}  // namespace steeple::simulation
