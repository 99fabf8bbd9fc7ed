// SPDX-License-Identifier: Apache-2.0

// Fuzz target: the protobuf edges of the server APIs, in a whole server on simulated loop, network
// and disk. The first byte chooses a method, the rest are its messages, cut at 0xff 0xff. Local
// methods are called over the admin socket, an agent's by an attested agent over TCP. Every call
// ends, at its deadline at the latest, and the server still answers. State is kept for a while and
// then made anew, so that calls meet what others left.

#include <google/protobuf/stubs/logging.h>

#include "lib/base/check.h"
#include "lib/base/fake_clock.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/hcl/parse.h"
#include "lib/io/fake_directory.h"
#include "lib/io/fake_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/rpc/client.h"
#include "lib/tls/fake_handshake.h"
#include "lib/tls/spiffe_policy.h"
#include "lib/x509/csr.h"
#include "server/server.h"
#include "spire/api/server/agent/v1/agent.pb.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/server/entry/v1/entry.pb.h"
#include "spire/api/server/svid/v1/svid.pb.h"

namespace steeple::server {
namespace {

namespace agent_v1 = ::spire::api::server::agent::v1;
namespace bundle_v1 = ::spire::api::server::bundle::v1;
namespace entry_v1 = ::spire::api::server::entry::v1;
namespace svid_v1 = ::spire::api::server::svid::v1;

constexpr int kRunsPerWorld = 500;
constexpr auto kDeadline = std::chrono::seconds(3);
constexpr const char* kSocket = "/run/api.sock";
constexpr const char* kToken = "a-token";
constexpr std::string_view kCut = "\xff\xff";

enum class As : std::uint8_t { kLocal, kAgent, kNobody };
struct Method {
  As as;
  std::string_view name;  // below /spire.api.server.
};
constexpr std::array kMethods = {
    Method{As::kNobody, "agent.v1.Agent/AttestAgent"},
    Method{As::kLocal, "agent.v1.Agent/BanAgent"},
    Method{As::kLocal, "agent.v1.Agent/CountAgents"},
    Method{As::kLocal, "agent.v1.Agent/CreateJoinToken"},
    Method{As::kLocal, "agent.v1.Agent/DeleteAgent"},
    Method{As::kLocal, "agent.v1.Agent/GetAgent"},
    Method{As::kLocal, "agent.v1.Agent/ListAgents"},
    Method{As::kAgent, "agent.v1.Agent/PostStatus"},
    Method{As::kAgent, "agent.v1.Agent/RenewAgent"},
    Method{As::kLocal, "bundle.v1.Bundle/AppendBundle"},
    Method{As::kLocal, "bundle.v1.Bundle/BatchCreateFederatedBundle"},
    Method{As::kLocal, "bundle.v1.Bundle/BatchDeleteFederatedBundle"},
    Method{As::kLocal, "bundle.v1.Bundle/BatchSetFederatedBundle"},
    Method{As::kLocal, "bundle.v1.Bundle/BatchUpdateFederatedBundle"},
    Method{As::kNobody, "bundle.v1.Bundle/GetBundle"},
    Method{As::kAgent, "bundle.v1.Bundle/GetFederatedBundle"},
    Method{As::kLocal, "bundle.v1.Bundle/ListFederatedBundles"},
    Method{As::kLocal, "entry.v1.Entry/BatchCreateEntry"},
    Method{As::kLocal, "entry.v1.Entry/BatchDeleteEntry"},
    Method{As::kLocal, "entry.v1.Entry/BatchUpdateEntry"},
    Method{As::kLocal, "entry.v1.Entry/CountEntries"},
    Method{As::kAgent, "entry.v1.Entry/GetAuthorizedEntries"},
    Method{As::kLocal, "entry.v1.Entry/GetEntry"},
    Method{As::kLocal, "entry.v1.Entry/ListEntries"},
    Method{As::kAgent, "entry.v1.Entry/SyncAuthorizedEntries"},
    Method{As::kLocal, "logger.v1.Logger/SetLogLevel"},
    Method{As::kAgent, "svid.v1.SVID/BatchNewX509SVID"},
    Method{As::kLocal, "svid.v1.SVID/MintJWTSVID"},
    Method{As::kLocal, "svid.v1.SVID/MintX509SVID"},
    Method{As::kAgent, "svid.v1.SVID/NewJWTSVID"},
    Method{As::kAgent, "svid.v1.SVID/NewDownstreamX509CA"},
};

constexpr const char* kConfig = R"(
server {
  trust_domain = "example.org"
  data_dir = "/data"
  socket_path = "/run/api.sock"
  ca_ttl = "2400h"
  agent_ttl = "1200h"
  ratelimit { attestation = false signing = false }
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "given" } }
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
}
)";

const crypto::PrivateKey& client_key() {
  static const auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  return *key;
}

class World {
 public:
  World()
      : scheduler_(clock_, 1),
        wires_(scheduler_),
        loop_(scheduler_),
        client_loop_(scheduler_),
        workers_(scheduler_),
        network_(wires_.join("server")),
        handshake_(tls::fake_handshake()),
        random_(1) {
    hcl::Report report;
    Stores stores;
    stores.database = sql::open_memory_database().take();
    stores.keys = keymanager::memory_key_manager();
    server_ = Server::start(build_config(hcl::parse(kConfig).take(), {}, report).take(),
                            std::move(stores),
                            {.loop = loop_,
                             .workers = workers_,
                             .network = *network_,
                             .handshake = *handshake_,
                             .clock = clock_,
                             .random = random_,
                             .log = Logger()})
                  .take();
    local_ = channel(io::Endpoint::unix_socket(kSocket), nullptr);
    nobody_ = channel(io::Endpoint::tcp("server", 8081), policy(nullptr));
    attest();
  }

  void run(const Method& method, ByteView messages) {
    rpc::Channel& from = method.as == As::kLocal    ? *local_
                         : method.as == As::kNobody ? *nobody_
                                                    : *agent_;
    static_cast<void>(call(from, method.name, messages).ok());
    // Another client is still served.
    CHECK(call(*local_, "entry.v1.Entry/CountEntries", "").ok());
  }

 private:
  std::unique_ptr<rpc::Channel> channel(io::Endpoint to,
                                        std::shared_ptr<const tls::ClientPolicy> policy) {
    tls::Handshake* tls = policy ? handshake_.get() : nullptr;
    return std::make_unique<rpc::Channel>(rpc::Channel::Deps{client_loop_, *network_, tls, random_},
                                          std::move(to), std::move(policy));
  }

  static std::shared_ptr<const tls::ClientPolicy> policy(
      std::shared_ptr<const tls::Identity> identity) {
    auto out = std::make_shared<tls::ClientPolicy>();
    out->identity = [identity = std::move(identity)] { return identity; };
    out->verify_server = tls::insecure_bootstrap(spiffe::TrustDomain::parse("example.org").take());
    return out;
  }

  void attest() {
    agent_v1::CreateJoinTokenRequest token;
    token.set_token(kToken);
    token.set_ttl(600);
    CHECK(call(*local_, "agent.v1.Agent/CreateJoinToken", token.SerializeAsString()).ok());
    agent_v1::AttestAgentRequest request;
    auto& params = *request.mutable_params();
    params.mutable_data()->set_type("join_token");
    params.mutable_data()->set_payload(kToken);
    params.mutable_params()->set_csr(x509::build_csr(client_key(), {}).take());
    Bytes answer = call(*nobody_, "agent.v1.Agent/AttestAgent", request.SerializeAsString()).take();
    agent_v1::AttestAgentResponse response;
    CHECK(response.ParseFromString(answer));
    auto identity = std::make_shared<tls::Identity>();
    for (const Bytes& der : response.result().svid().cert_chain()) {
      identity->chain.push_back(der);
    }
    auto key = crypto::PrivateKey::from_pkcs8(client_key().to_pkcs8().reveal());
    identity->key = std::move(key).take();
    agent_ = channel(io::Endpoint::tcp("server", 8081), policy(std::move(identity)));
  }

  // The last answer, or the error.
  Result<Bytes> call(rpc::Channel& from, std::string_view method, ByteView messages) {
    std::optional<Result<void>> done;
    Bytes answer;
    rpc::CallOptions options;
    options.timeout = kDeadline;
    auto stream = from.stream("/spire.api.server." + std::string(method), options,
                              {.on_message = [&](ByteView message) { answer = Bytes(message); },
                               .on_done = [&](Result<void> status) { done = std::move(status); }});
    while (true) {
      std::size_t end = messages.find(kCut);
      stream->send(Bytes(messages.substr(0, end)));
      if (end == ByteView::npos) {
        break;
      }
      messages.remove_prefix(end + kCut.size());
    }
    stream->close_send();
    CHECK(scheduler_.run_while_not([&] { return done.has_value(); }, 2 * kDeadline));
    if (!done->ok()) {
      return std::move(done->error());
    }
    return answer;
  }

  FakeClock clock_;
  io::SimScheduler scheduler_;
  io::SimSwitch wires_;
  io::SimLoop loop_, client_loop_;
  io::SimWorkers workers_;
  std::unique_ptr<io::Network> network_;
  std::unique_ptr<tls::Handshake> handshake_;
  SeededRandom random_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<rpc::Channel> local_, nobody_, agent_;
};

void set_id(::spire::api::types::SPIFFEID& id, const std::string& path) {
  id.set_trust_domain("example.org");
  id.set_path(path);
}

std::string input(std::string_view name, const std::vector<std::string>& messages) {
  auto at = std::find_if(kMethods.begin(), kMethods.end(),
                         [name](const Method& method) { return method.name.ends_with(name); });
  CHECK(at != kMethods.end());
  std::string out(1, static_cast<char>(at - kMethods.begin()));
  for (std::size_t i = 0; i < messages.size(); ++i) {
    out += (i == 0 ? "" : std::string(kCut)) + messages[i];
  }
  return out;
}

entry_v1::BatchCreateEntryRequest entries() {
  entry_v1::BatchCreateEntryRequest out;
  auto& entry = *out.add_entries();
  entry.set_id("e1");
  set_id(*entry.mutable_spiffe_id(), "/web");
  set_id(*entry.mutable_parent_id(), "/spire/agent/join_token/" + std::string(kToken));
  auto& selector = *entry.add_selectors();
  selector.set_type("unix");
  selector.set_value("uid:1");
  entry.add_dns_names("web.example.org");
  entry.set_hint("h");
  entry.set_downstream(true);
  return out;
}

}  // namespace
}  // namespace steeple::server

std::vector<std::string> steeple::fuzz_seeds() {
  google::protobuf::SetLogHandler(nullptr);
  using namespace server;
  const Bytes csr = x509::build_csr(client_key(), {.uri_sans = {"spiffe://example.org/w"}}).take();
  std::vector<std::string> out;
  for (const Method& method : kMethods) {
    out.push_back(input(method.name, {""}));
  }
  auto created = entries();
  entry_v1::BatchUpdateEntryRequest updated;
  *updated.mutable_entries() = created.entries();
  entry_v1::BatchDeleteEntryRequest deleted;
  deleted.add_ids("e1");
  entry_v1::ListEntriesRequest listed;
  set_id(*listed.mutable_filter()->mutable_by_spiffe_id(), "/web");
  auto& match = *listed.mutable_filter()->mutable_by_selectors();
  *match.mutable_selectors() = created.entries(0).selectors();
  listed.set_page_size(10);
  entry_v1::SyncAuthorizedEntriesRequest sync_first, sync_next;
  sync_first.mutable_output_mask()->set_spiffe_id(true);
  sync_next.add_ids("e1");
  svid_v1::BatchNewX509SVIDRequest batch;
  batch.add_params()->set_entry_id("e1");
  batch.mutable_params(0)->set_csr(csr);
  svid_v1::MintX509SVIDRequest mint;
  mint.set_csr(csr);
  svid_v1::MintJWTSVIDRequest mint_jwt;
  set_id(*mint_jwt.mutable_id(), "/w");
  mint_jwt.add_audience("a");
  svid_v1::NewJWTSVIDRequest new_jwt;
  new_jwt.set_entry_id("e1");
  new_jwt.add_audience("a");
  svid_v1::NewDownstreamX509CARequest downstream;
  downstream.set_csr(csr);
  agent_v1::AttestAgentRequest attest, answer;
  attest.mutable_params()->mutable_data()->set_type("join_token");
  attest.mutable_params()->mutable_data()->set_payload("other");
  attest.mutable_params()->mutable_params()->set_csr(csr);
  answer.set_challenge_response("x");
  agent_v1::RenewAgentRequest renew;
  renew.mutable_params()->set_csr(csr);
  agent_v1::ListAgentsRequest agents;
  agents.mutable_filter()->set_by_expires_before("2030-01-02 03:04:05 -0700 -07");
  agents.mutable_filter()->mutable_by_banned()->set_value(false);
  agents.set_page_token("1");
  agent_v1::CreateJoinTokenRequest token;
  token.set_ttl(60);
  set_id(*token.mutable_agent_id(), "/alias");
  bundle_v1::BatchSetFederatedBundleRequest bundles;
  auto& bundle = *bundles.add_bundle();
  bundle.set_trust_domain("other.test");
  auto& key = *bundle.add_jwt_authorities();
  key.set_public_key(client_key().public_key().spki());
  key.set_key_id("k");
  bundle.add_x509_authorities()->set_asn1("not a certificate");
  for (auto& [name, messages] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"BatchCreateEntry", {created.SerializeAsString()}},
           {"BatchUpdateEntry", {updated.SerializeAsString()}},
           {"BatchDeleteEntry", {deleted.SerializeAsString()}},
           {"ListEntries", {listed.SerializeAsString()}},
           {"SyncAuthorizedEntries",
            {sync_first.SerializeAsString(), sync_next.SerializeAsString()}},
           {"BatchNewX509SVID", {batch.SerializeAsString()}},
           {"MintX509SVID", {mint.SerializeAsString()}},
           {"MintJWTSVID", {mint_jwt.SerializeAsString()}},
           {"NewJWTSVID", {new_jwt.SerializeAsString()}},
           {"NewDownstreamX509CA", {downstream.SerializeAsString()}},
           {"AttestAgent", {attest.SerializeAsString(), answer.SerializeAsString()}},
           {"RenewAgent", {renew.SerializeAsString()}},
           {"ListAgents", {agents.SerializeAsString()}},
           {"CreateJoinToken", {token.SerializeAsString()}},
           {"BatchSetFederatedBundle", {bundles.SerializeAsString()}}}) {
    out.push_back(input(name, messages));
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  // Never destroyed at the end: the statics that it uses go before it.
  static auto& world = *std::make_unique<std::unique_ptr<server::World>>().release();
  static int runs = 0;
  if (size == 0) {
    return 0;
  }
  if (runs++ % server::kRunsPerWorld == 0) {
    world.reset();
    world = std::make_unique<server::World>();
  }
  world->run(server::kMethods[data[0] % server::kMethods.size()],
             {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
