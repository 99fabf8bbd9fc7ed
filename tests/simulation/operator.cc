// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/operator.h"

#include <algorithm>

#include "lib/x509/certificate.h"
#include "server/ca/authority_keeper.h"
#include "spire/api/server/agent/v1/agent.pb.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/server/entry/v1/entry.pb.h"
#include "tests/simulation/server_host.h"

namespace steeple::simulation {
namespace {

using namespace std::chrono_literals;
namespace agent_v1 = ::spire::api::server::agent::v1;
namespace bundle_v1 = ::spire::api::server::bundle::v1;
namespace entry_v1 = ::spire::api::server::entry::v1;
namespace types = ::spire::api::types;

constexpr const char* kDomain = "example.org";
constexpr const char* kForeignDomain = "other.org";
constexpr auto kPatience = 10min;
constexpr int kTokenSeconds = 7 * 86'400;

void set_id(types::SPIFFEID* id, const std::string& path) {
  id->set_trust_domain(kDomain);
  id->set_path(path);
}

types::Entry to_wire(const std::string& id, const EntryVersion& version) {
  types::Entry entry;
  entry.set_id(id);
  set_id(entry.mutable_spiffe_id(), version.path);
  set_id(entry.mutable_parent_id(), version.parent);
  for (const std::string& value : version.selectors) {
    auto* selector = entry.add_selectors();
    selector->set_type("unix");
    selector->set_value(value);
  }
  entry.set_hint(version.hint);
  if (version.federated) {
    entry.add_federates_with(kForeignDomain);
  }
  return entry;
}

// One line that says all that must be kept of an entry.
std::string digest(const types::Entry& entry) {
  std::set<std::string> selectors;
  for (const auto& selector : entry.selectors()) {
    selectors.insert(selector.type() + ":" + selector.value());
  }
  std::string out = fmt::format("{} {} {} {}", entry.spiffe_id().path(), entry.parent_id().path(),
                                entry.hint(), entry.federates_with_size());
  for (const std::string& selector : selectors) {
    out += " " + selector;
  }
  return out;
}

std::string digest(const std::string& id, const EntryVersion& version) {
  return version.present ? digest(to_wire(id, version)) : "";
}

}  // namespace

Operator::Operator(std::uint64_t seed, Deps deps)
    : deps_(std::move(deps)),
      random_(seed),
      loop_(deps_.scheduler),
      network_(deps_.wires.join(ServerHost::kHost, {.pid = 2})),
      channel_(
          std::make_unique<rpc::Channel>(rpc::Channel::Deps{loop_, *network_, nullptr, random_},
                                         io::Endpoint::unix_socket(ServerHost::kSocket), nullptr,
                                         rpc::ChannelOptions{.backoff_max = 1s})) {}

Operator::~Operator() = default;

std::optional<Bytes> Operator::call(const std::string& method, const std::string& request,
                                    std::set<Code> allowed) {
  std::optional<Result<Bytes>> answer;
  auto handle = channel_->unary("/spire.api.server." + method, request, {},
                                [&](Result<Bytes> reply) { answer = std::move(reply); });
  if (during_) {
    auto act = std::exchange(during_, nullptr);
    act();
  }
  deps_.scheduler.run_while_not([&] { return answer.has_value(); }, kPatience);
  if (!answer) {
    deps_.trace.fail("{} was not answered in {}", method, format_go_duration(kPatience));
    return std::nullopt;
  }
  if (answer->ok()) {
    return std::move(**answer);
  }
  const Error& error = answer->error();
  deps_.trace.event("{}: {}", method, code_name(error.code));
  if (error.code != Code::kUnavailable && !allowed.contains(error.code)) {
    deps_.trace.fail("{}: {} {}", method, code_name(error.code), error.message);
  }
  return std::nullopt;
}

// --- entries -------------------------------------------------------------------------------------

bool Operator::put(const std::string& id, EntryVersion version, const char* method) {
  auto& versions = deps_.oracle.entry(id);
  version.sent = now();
  versions.push_back(version);
  const std::size_t at = versions.size() - 1;
  deps_.trace.event("{} {}: {}", method, id, digest(id, version));
  entry_v1::BatchCreateEntryRequest request;
  *request.add_entries() = to_wire(id, version);
  // Create and update are alike on the wire as far as this goes.
  auto raw = call(fmt::format("entry.v1.Entry/{}", method), request.SerializeAsString());
  if (!raw) {
    return false;
  }
  entry_v1::BatchCreateEntryResponse response;
  if (!response.ParseFromString(*raw) || response.results_size() != 1 ||
      response.results(0).status().code() != 0) {
    deps_.trace.fail("{} {}: {}", method, id, response.ShortDebugString());
    return false;
  }
  versions[at].acknowledged = now();
  ++acknowledged_;
  return true;
}

bool Operator::create(const std::string& id, EntryVersion version) {
  return put(id, std::move(version), "BatchCreateEntry");
}

bool Operator::update(const std::string& id, EntryVersion version) {
  return put(id, std::move(version), "BatchUpdateEntry");
}

bool Operator::remove(const std::string& id) {
  auto& versions = deps_.oracle.entry(id);
  EntryVersion gone = versions.back();
  gone.present = false;
  gone.sent = now();
  gone.acknowledged = kNever;
  versions.push_back(gone);
  const std::size_t at = versions.size() - 1;
  deps_.trace.event("delete {}", id);
  entry_v1::BatchDeleteEntryRequest request;
  request.add_ids(id);
  auto raw = call("entry.v1.Entry/BatchDeleteEntry", request.SerializeAsString());
  if (!raw) {
    return false;
  }
  entry_v1::BatchDeleteEntryResponse response;
  if (!response.ParseFromString(*raw) || response.results_size() != 1 ||
      response.results(0).status().code() != 0) {
    deps_.trace.fail("delete {}: {}", id, response.ShortDebugString());
    return false;
  }
  versions[at].acknowledged = now();
  ++acknowledged_;
  return true;
}

bool Operator::set_federated(Bytes root) {
  auto& versions = deps_.oracle.federated();
  versions.push_back({.root = root, .sent = now()});
  const std::size_t at = versions.size() - 1;
  bundle_v1::BatchSetFederatedBundleRequest request;
  auto* bundle = request.add_bundle();
  bundle->set_trust_domain(kForeignDomain);
  bundle->add_x509_authorities()->set_asn1(root);
  deps_.trace.event("set the bundle of {}", kForeignDomain);
  auto raw = call("bundle.v1.Bundle/BatchSetFederatedBundle", request.SerializeAsString());
  if (!raw) {
    return false;
  }
  bundle_v1::BatchSetFederatedBundleResponse response;
  if (!response.ParseFromString(*raw) || response.results_size() != 1 ||
      response.results(0).status().code() != 0) {
    deps_.trace.fail("set bundle: {}", response.ShortDebugString());
    return false;
  }
  versions[at].acknowledged = now();
  ++acknowledged_;
  return true;
}

void Operator::create_group(const std::string& path, const std::set<std::size_t>& nodes) {
  deps_.oracle.add_group(path, nodes);
  entry_v1::BatchCreateEntryRequest request;
  for (std::size_t node : nodes) {
    auto* entry = request.add_entries();
    set_id(entry->mutable_spiffe_id(), path);
    set_id(entry->mutable_parent_id(), fmt::format("/node/{}", node));
    auto* selector = entry->add_selectors();
    selector->set_type("unix");
    selector->set_value("uid:0");
    // No workload has it.
    entry->mutable_additional_attributes()->set_disable_x509_svid_prefetch(true);
  }
  if (!call("entry.v1.Entry/BatchCreateEntry", request.SerializeAsString())) {
    deps_.trace.fail("no group {}", path);
  }
}

void Operator::create_node_alias(std::size_t node, const std::string& common_name) {
  entry_v1::BatchCreateEntryRequest request;
  auto* entry = request.add_entries();
  set_id(entry->mutable_spiffe_id(), fmt::format("/node/{}", node));
  set_id(entry->mutable_parent_id(), "/spire/server");
  auto* selector = entry->add_selectors();
  selector->set_type("x509pop");
  selector->set_value("subject:cn:" + common_name);
  entry->mutable_additional_attributes()->set_disable_x509_svid_prefetch(true);
  if (!call("entry.v1.Entry/BatchCreateEntry", request.SerializeAsString())) {
    deps_.trace.fail("no alias of node {}", node);
  }
}

// --- nodes ---------------------------------------------------------------------------------------

std::optional<std::string> Operator::create_token(std::size_t node) {
  agent_v1::CreateJoinTokenRequest request;
  request.set_ttl(kTokenSeconds);
  set_id(request.mutable_agent_id(), fmt::format("/node/{}", node));
  auto raw = call("agent.v1.Agent/CreateJoinToken", request.SerializeAsString());
  types::JoinToken response;
  if (!raw || !response.ParseFromString(*raw)) {
    return std::nullopt;
  }
  deps_.trace.event("token for node {}: {}", node, response.value());
  return response.value();
}

bool Operator::ban(const std::string& agent_id) {
  agent_v1::BanAgentRequest request;
  set_id(request.mutable_id(), std::string(spiffe::SpiffeId::parse(agent_id).take().path()));
  deps_.trace.event("ban {}", agent_id);
  return call("agent.v1.Agent/BanAgent", request.SerializeAsString()).has_value();
}

bool Operator::evict(const std::string& agent_id) {
  agent_v1::DeleteAgentRequest request;
  set_id(request.mutable_id(), std::string(spiffe::SpiffeId::parse(agent_id).take().path()));
  deps_.trace.event("evict {}", agent_id);
  return call("agent.v1.Agent/DeleteAgent", request.SerializeAsString(), {Code::kNotFound})
      .has_value();
}

std::optional<std::vector<types::Agent>> Operator::agents() {
  auto raw = call("agent.v1.Agent/ListAgents", agent_v1::ListAgentsRequest().SerializeAsString());
  agent_v1::ListAgentsResponse response;
  if (!raw || !response.ParseFromString(*raw)) {
    return std::nullopt;
  }
  return std::vector<types::Agent>(response.agents().begin(), response.agents().end());
}

// --- reading back --------------------------------------------------------------------------------

bool Operator::reconcile() {
  auto raw = call("entry.v1.Entry/ListEntries", entry_v1::ListEntriesRequest().SerializeAsString());
  entry_v1::ListEntriesResponse response;
  if (!raw || !response.ParseFromString(*raw)) {
    return false;
  }
  std::map<std::string, std::string> found;
  for (const auto& entry : response.entries()) {
    found[entry.id()] = digest(entry);
  }
  for (const auto& [id, versions] : deps_.oracle.entries()) {
    auto at = found.find(id);
    settle_entry(id, at == found.end() ? "" : at->second);
  }
  auto& federated = deps_.oracle.federated();
  if (!federated.empty()) {
    bundle_v1::GetFederatedBundleRequest request;
    request.set_trust_domain(kForeignDomain);
    auto bundle =
        call("bundle.v1.Bundle/GetFederatedBundle", request.SerializeAsString(), {Code::kNotFound});
    types::Bundle parsed;
    if (bundle && parsed.ParseFromString(*bundle)) {
      Bytes root = parsed.x509_authorities_size() == 1 ? parsed.x509_authorities(0).asn1() : "";
      if (federated.back().acknowledged == kNever && federated.back().root == root) {
        federated.back().acknowledged = now();
      } else if (federated.back().acknowledged == kNever) {
        federated.pop_back();
      }
      if (federated.empty() || federated.back().root != root) {
        deps_.trace.fail("the federated bundle is not the one that was acknowledged");
      }
    } else {
      return false;
    }
  }
  deps_.trace.event("read back {} entries", found.size());
  return true;
}

void Operator::settle_entry(const std::string& id, const std::string& found) {
  auto& versions = deps_.oracle.entry(id);
  if (versions.back().acknowledged == kNever) {
    if (digest(id, versions.back()) == found) {
      versions.back().acknowledged = now();
      return;
    }
    versions.pop_back();
  }
  std::string want = versions.empty() ? "" : digest(id, versions.back());
  if (versions.empty()) {  // a create that never happened
    EntryVersion never;
    never.present = false;
    never.sent = never.acknowledged = now();
    versions.push_back(never);
  }
  if (found != want) {
    deps_.trace.fail("{} was acknowledged as \"{}\" and is \"{}\"", id, want, found);
  }
}

bool Operator::read_bundle(WallTime wall) {
  auto raw = call("bundle.v1.Bundle/GetBundle", bundle_v1::GetBundleRequest().SerializeAsString());
  types::Bundle bundle;
  if (!raw || !bundle.ParseFromString(*raw)) {
    return false;
  }
  std::map<Bytes, WallTime> roots;
  for (const auto& authority : bundle.x509_authorities()) {
    roots[authority.asn1()] = x509::Certificate::parse(authority.asn1()).take()->not_after();
    all_roots_.insert(authority.asn1());
  }
  std::map<std::string, WallTime> keys;
  for (const auto& key : bundle.jwt_authorities()) {
    keys[key.key_id()] = from_unix_seconds(key.expires_at());
    all_keys_.insert(key.key_id());
  }
  WallTime prunable = wall - server::AuthorityKeeper::kBundleSafety;
  for (const auto& [der, end] : roots_) {
    if (!roots.contains(der) && end > prunable) {
      deps_.trace.fail("an X.509 authority left the bundle that ends at {}", format_rfc3339(end));
    }
  }
  for (const auto& [id, end] : keys_) {
    if (!keys.contains(id) && end > prunable) {
      deps_.trace.fail("JWT key {} left the bundle that ends at {}", id, format_rfc3339(end));
    }
  }
  roots_ = std::move(roots);
  keys_ = std::move(keys);
  deps_.trace.event("bundle: {} roots, {} keys", roots_.size(), keys_.size());
  return true;
}

}  // namespace steeple::simulation
