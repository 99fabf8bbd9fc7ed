// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/fake_spire_server.h"

#include <fmt/format.h>

#include <utility>

#include "controller/reconcile/spire_api.h"
#include "lib/base/check.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/server/entry/v1/entry.pb.h"
#include "spire/api/server/svid/v1/svid.pb.h"
#include "spire/api/server/trustdomain/v1/trustdomain.pb.h"

namespace steeple::controller {

namespace entry_v1 = ::spire::api::server::entry::v1;
namespace bundle_v1 = ::spire::api::server::bundle::v1;
namespace svid_v1 = ::spire::api::server::svid::v1;
namespace trustdomain_v1 = ::spire::api::server::trustdomain::v1;
namespace types = ::spire::api::types;

namespace {

void set_status(types::Status* status, const Error& error) {
  status->set_code(static_cast<int>(error.code));
  status->set_message(error.message);
}

}  // namespace

class FakeSpireServer::Impl {
 public:
  explicit Impl(FakeSpireServer& server) : s_(server) {}

  void add_to(rpc::Server& server) {
    on<entry_v1::CountEntriesRequest, entry_v1::CountEntriesResponse>(server, method::kCountEntries,
                                                                      &Impl::count);
    on<entry_v1::ListEntriesRequest, entry_v1::ListEntriesResponse>(server, method::kListEntries,
                                                                    &Impl::list);
    on<entry_v1::BatchCreateEntryRequest, entry_v1::BatchCreateEntryResponse>(
        server, method::kCreateEntries, &Impl::create);
    on<entry_v1::BatchUpdateEntryRequest, entry_v1::BatchUpdateEntryResponse>(
        server, method::kUpdateEntries, &Impl::update);
    on<entry_v1::BatchDeleteEntryRequest, entry_v1::BatchDeleteEntryResponse>(
        server, method::kDeleteEntries, &Impl::remove);
    on<bundle_v1::ListFederatedBundlesRequest, bundle_v1::ListFederatedBundlesResponse>(
        server, method::kListFederatedBundles, &Impl::federated);
    on<bundle_v1::GetBundleRequest, types::Bundle>(server, method::kGetBundle, &Impl::bundle);
    on<svid_v1::MintX509SVIDRequest, svid_v1::MintX509SVIDResponse>(server, method::kMintX509Svid,
                                                                    &Impl::mint);
    on<trustdomain_v1::ListFederationRelationshipsRequest,
       trustdomain_v1::ListFederationRelationshipsResponse>(server, method::kListRelationships,
                                                            &Impl::relationships);
    on<trustdomain_v1::BatchCreateFederationRelationshipRequest,
       trustdomain_v1::BatchCreateFederationRelationshipResponse>(
        server, method::kCreateRelationships, &Impl::create_relationships);
    on<trustdomain_v1::BatchUpdateFederationRelationshipRequest,
       trustdomain_v1::BatchUpdateFederationRelationshipResponse>(
        server, method::kUpdateRelationships, &Impl::update_relationships);
    on<trustdomain_v1::BatchDeleteFederationRelationshipRequest,
       trustdomain_v1::BatchDeleteFederationRelationshipResponse>(
        server, method::kDeleteRelationships, &Impl::delete_relationships);
  }

 private:
  template <class Request, class Response>
  void on(rpc::Server& server, const char* name,
          Result<Response> (Impl::*handler)(const Request&)) {
    rpc::add_unary<Request, Response>(server, name, rpc::Where::kLoop,
                                      [this, handler](rpc::CallContext&, const Request& request) {
                                        return (this->*handler)(request);
                                      });
  }

  Result<entry_v1::CountEntriesResponse> count(const entry_v1::CountEntriesRequest&) {
    ++s_.calls.count;
    entry_v1::CountEntriesResponse out;
    out.set_count(static_cast<int>(s_.entries.size()));
    return out;
  }

  Result<entry_v1::ListEntriesResponse> list(const entry_v1::ListEntriesRequest& request) {
    s_.calls.list += request.page_token().empty() ? 1 : 0;
    entry_v1::ListEntriesResponse out;
    auto it = s_.entries.upper_bound(request.page_token());
    for (; it != s_.entries.end() && out.entries_size() < request.page_size(); ++it) {
      *out.add_entries() = it->second;
    }
    if (it != s_.entries.end()) {
      out.set_next_page_token(out.entries(out.entries_size() - 1).id());
    }
    return out;
  }

  Result<entry_v1::BatchCreateEntryResponse> create(
      const entry_v1::BatchCreateEntryRequest& request) {
    ++s_.calls.create;
    if (s_.fail_writes) {
      return *s_.fail_writes;
    }
    entry_v1::BatchCreateEntryResponse out;
    for (const Entry& wanted : request.entries()) {
      auto* result = out.add_results();
      result->mutable_status();
      EntryKey key = entry_key(wanted);
      const Entry* similar = nullptr;
      for (const auto& [id, entry] : s_.entries) {
        similar = entry_key(entry) == key ? &entry : similar;
      }
      if (similar != nullptr) {
        set_status(result->mutable_status(), already_exists("similar entry already exists"));
        *result->mutable_entry() = *similar;
      } else if (auto error = problem(wanted)) {
        set_status(result->mutable_status(), *error);
      } else {
        ++s_.calls.created;
        *result->mutable_entry() = s_.entries.at(s_.add(stored(wanted)));
      }
    }
    return answer(std::move(out));
  }

  Result<entry_v1::BatchUpdateEntryResponse> update(
      const entry_v1::BatchUpdateEntryRequest& request) {
    ++s_.calls.update;
    if (s_.fail_writes) {
      return *s_.fail_writes;
    }
    entry_v1::BatchUpdateEntryResponse out;
    for (const Entry& wanted : request.entries()) {
      auto* result = out.add_results();
      result->mutable_status();
      auto found = s_.entries.find(wanted.id());
      if (found == s_.entries.end()) {
        set_status(result->mutable_status(), not_found("entry not found"));
      } else if (auto error = problem(wanted)) {
        set_status(result->mutable_status(), *error);
      } else {
        ++s_.calls.updated;
        found->second = stored(wanted);
        *result->mutable_entry() = found->second;
      }
    }
    return answer(std::move(out));
  }

  Result<entry_v1::BatchDeleteEntryResponse> remove(
      const entry_v1::BatchDeleteEntryRequest& request) {
    ++s_.calls.remove;
    if (s_.fail_writes) {
      return *s_.fail_writes;
    }
    entry_v1::BatchDeleteEntryResponse out;
    for (const std::string& id : request.ids()) {
      auto* result = out.add_results();
      result->set_id(id);
      result->mutable_status();
      if (s_.entries.erase(id) == 0) {
        set_status(result->mutable_status(), not_found("entry not found"));
      } else {
        ++s_.calls.removed;
      }
    }
    return answer(std::move(out));
  }

  template <class Response>
  Result<Response> answer(Response response) const {
    if (s_.lose_answers) {
      return unavailable("the answer was lost");
    }
    return response;
  }

  std::optional<Error> problem(const Entry& wanted) const {
    for (const std::string& domain : wanted.federates_with()) {
      if (!s_.bundles.contains(domain)) {
        return invalid_argument("unable to find federated bundle \"" + domain + "\"");
      }
    }
    return s_.refuse ? s_.refuse(wanted) : std::nullopt;
  }

  Entry stored(Entry wanted) const {
    if (s_.forget_hints) {
      wanted.clear_hint();
    }
    return wanted;
  }

  Result<bundle_v1::ListFederatedBundlesResponse> federated(
      const bundle_v1::ListFederatedBundlesRequest&) {
    ++s_.calls.bundles;
    bundle_v1::ListFederatedBundlesResponse out;
    for (const std::string& domain : s_.bundles) {
      out.add_bundles()->set_trust_domain(domain);
    }
    return out;
  }

  Result<types::Bundle> bundle(const bundle_v1::GetBundleRequest&) {
    types::Bundle out;
    out.set_trust_domain("example.org");
    for (const Bytes& der : s_.authorities) {
      out.add_x509_authorities()->set_asn1(der);
    }
    return out;
  }

  Result<svid_v1::MintX509SVIDResponse> mint(const svid_v1::MintX509SVIDRequest& request) {
    if (!s_.mint) {
      return unimplemented("no minting here");
    }
    svid_v1::MintX509SVIDResponse out;
    out.mutable_svid()->add_cert_chain(TRY(s_.mint(request.csr())));
    out.mutable_svid()->set_expires_at(to_unix_seconds(s_.loop_.clock().now()) + request.ttl());
    return out;
  }

  Result<trustdomain_v1::ListFederationRelationshipsResponse> relationships(
      const trustdomain_v1::ListFederationRelationshipsRequest&) {
    ++s_.calls.relationships;
    if (!s_.trust_domain_api) {
      return unimplemented("unknown service spire.api.server.trustdomain.v1.TrustDomain");
    }
    trustdomain_v1::ListFederationRelationshipsResponse out;
    for (const auto& [domain, relationship] : s_.relationships) {
      *out.add_federation_relationships() = relationship;
    }
    return out;
  }

  Result<trustdomain_v1::BatchCreateFederationRelationshipResponse> create_relationships(
      const trustdomain_v1::BatchCreateFederationRelationshipRequest& request) {
    trustdomain_v1::BatchCreateFederationRelationshipResponse out;
    for (const auto& relationship : request.federation_relationships()) {
      s_.relationships[relationship.trust_domain()] = relationship;
      out.add_results()->mutable_status();
    }
    return out;
  }

  Result<trustdomain_v1::BatchUpdateFederationRelationshipResponse> update_relationships(
      const trustdomain_v1::BatchUpdateFederationRelationshipRequest& request) {
    trustdomain_v1::BatchUpdateFederationRelationshipResponse out;
    for (const auto& relationship : request.federation_relationships()) {
      s_.relationships[relationship.trust_domain()] = relationship;
      out.add_results()->mutable_status();
    }
    return out;
  }

  Result<trustdomain_v1::BatchDeleteFederationRelationshipResponse> delete_relationships(
      const trustdomain_v1::BatchDeleteFederationRelationshipRequest& request) {
    trustdomain_v1::BatchDeleteFederationRelationshipResponse out;
    for (const std::string& domain : request.trust_domains()) {
      s_.relationships.erase(domain);
      out.add_results()->mutable_status();
    }
    return out;
  }

  FakeSpireServer& s_;
};

FakeSpireServer::FakeSpireServer(io::SimScheduler& scheduler, io::Network& network,
                                 std::string path)
    : loop_(scheduler), workers_(scheduler), network_(network), path_(std::move(path)) {
  impl_ = std::make_unique<Impl>(*this);
  open();
}

FakeSpireServer::~FakeSpireServer() { close(); }

void FakeSpireServer::open() {
  server_ = std::make_unique<rpc::Server>(rpc::Server::Deps{loop_, workers_, random_},
                                          rpc::ServerOptions{}, rpc::ServerHooks{});
  impl_->add_to(*server_);
  listener_ = network_
                  .listen(loop_, io::Endpoint::unix_socket(path_), {},
                          [this](std::unique_ptr<io::Connection> connection) {
                            server_->serve(std::move(connection));
                          })
                  .take();
}

void FakeSpireServer::close() {
  listener_.reset();
  server_.reset();
}

std::string FakeSpireServer::add(Entry entry) {
  if (entry.id().empty()) {
    entry.set_id(fmt::format("00000000-{:08}", next_id_++));
  }
  std::string id = entry.id();
  entries[id] = std::move(entry);
  return id;
}

Entry FakeSpireServer::entry(const std::string& id_path, const std::string& parent_path,
                             const std::vector<std::string>& selectors) {
  Entry out;
  out.mutable_spiffe_id()->set_trust_domain("example.org");
  out.mutable_spiffe_id()->set_path(id_path);
  out.mutable_parent_id()->set_trust_domain("example.org");
  out.mutable_parent_id()->set_path(parent_path);
  for (const std::string& text : selectors) {
    std::size_t colon = text.find(':');
    CHECK(colon != std::string::npos);
    auto* selector = out.add_selectors();
    selector->set_type(text.substr(0, colon));
    selector->set_value(text.substr(colon + 1));
  }
  return out;
}

std::vector<Entry> FakeSpireServer::with_path(const std::string& path) const {
  std::vector<Entry> out;
  for (const auto& [id, entry] : entries) {
    if (entry.spiffe_id().path() == path) {
      out.push_back(entry);
    }
  }
  return out;
}

}  // namespace steeple::controller
