// SPDX-License-Identifier: Apache-2.0

#include "agent/fake_server.h"

#include <algorithm>

#include "lib/base/check.h"
#include "lib/jose/jwt_svid.h"
#include "lib/tls/spiffe_policy.h"
#include "lib/x509/csr.h"
#include "spire/api/server/agent/v1/agent.pb.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/server/entry/v1/entry.pb.h"
#include "spire/api/server/svid/v1/svid.pb.h"
#include "spire/api/types/status.pb.h"
#include "steeple/server/push/v1/push.pb.h"

namespace steeple::agent {

namespace agent_v1 = ::spire::api::server::agent::v1;
namespace bundle_v1 = ::spire::api::server::bundle::v1;
namespace entry_v1 = ::spire::api::server::entry::v1;
namespace svid_v1 = ::spire::api::server::svid::v1;
namespace push_v1 = ::steeple::server::push::v1;
namespace types = ::spire::api::types;
using StreamPtr = std::shared_ptr<rpc::ServerStream>;
using Denied = types::PermissionDeniedDetails;

namespace {

constexpr std::uint16_t kPort = 8081;

Error denied(Denied::Reason reason) {
  Denied details;
  details.set_reason(reason);
  Error error = permission_denied("agent is not welcome");
  error.details.push_back(
      {"type.googleapis.com/spire.api.types.PermissionDeniedDetails", details.SerializeAsString()});
  return error;
}

template <class Message>
Message parsed(ByteView raw) {
  Message message;
  CHECK(message.ParseFromArray(raw.data(), static_cast<int>(raw.size())));
  return message;
}

}  // namespace

// The handlers, apart from what tests see.
class FakeServer::Impl {
 public:
  explicit Impl(FakeServer& server) : s_(server) {}

  void add_to(rpc::Server& server) {
    server.stream("/spire.api.server.agent.v1.Agent/AttestAgent",
                  [this](const StreamPtr& stream) { attest(stream); });
    unary<agent_v1::RenewAgentRequest, agent_v1::RenewAgentResponse>(
        server, "/spire.api.server.agent.v1.Agent/RenewAgent", &Impl::renew);
    if (s_.options.post_status) {
      unary<agent_v1::PostStatusRequest, agent_v1::PostStatusResponse>(
          server, "/spire.api.server.agent.v1.Agent/PostStatus", &Impl::post_status);
    }
    unary<bundle_v1::GetBundleRequest, types::Bundle>(
        server, "/spire.api.server.bundle.v1.Bundle/GetBundle", &Impl::bundle);
    unary<bundle_v1::GetFederatedBundleRequest, types::Bundle>(
        server, "/spire.api.server.bundle.v1.Bundle/GetFederatedBundle", &Impl::federated);
    unary<entry_v1::GetAuthorizedEntriesRequest, entry_v1::GetAuthorizedEntriesResponse>(
        server, "/spire.api.server.entry.v1.Entry/GetAuthorizedEntries", &Impl::all_entries);
    if (s_.options.sync_rpc) {
      server.stream("/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries",
                    [this](const StreamPtr& stream) { sync(stream); });
    }
    unary<svid_v1::BatchNewX509SVIDRequest, svid_v1::BatchNewX509SVIDResponse>(
        server, "/spire.api.server.svid.v1.SVID/BatchNewX509SVID", &Impl::batch);
    unary<svid_v1::NewJWTSVIDRequest, svid_v1::NewJWTSVIDResponse>(
        server, "/spire.api.server.svid.v1.SVID/NewJWTSVID", &Impl::jwt);
    if (s_.options.push) {
      server.stream("/steeple.server.push.v1.Push/WatchChanges",
                    [this](StreamPtr stream) { watch(std::move(stream)); });
    }
  }

 private:
  template <class Request, class Response>
  void unary(rpc::Server& server, std::string method,
             Result<Response> (Impl::*handler)(rpc::CallContext&, const Request&)) {
    rpc::add_unary<Request, Response>(
        server, std::move(method), s_.options.on_workers ? rpc::Where::kWorker : rpc::Where::kLoop,
        [this, handler](rpc::CallContext& call, const Request& request) {
          return (this->*handler)(call, request);
        });
  }

  WallTime now() const { return s_.deps_.loop.clock().now(); }

  // Caller class "agent" of the real server.
  Result<void> authorize(const rpc::CallContext& call) {
    const io::Peer& peer = *call.peer;
    if (!peer.spiffe_id || peer.spiffe_id->text() != s_.agent_id_) {
      return permission_denied("authorization denied for method " + call.method);
    }
    if (s_.banned_) {
      return denied(Denied::AGENT_BANNED);
    }
    if (!s_.attested_) {
      return denied(Denied::AGENT_NOT_ATTESTED);
    }
    auto leaf = TRY(x509::Certificate::parse(peer.chain.front()));
    if (leaf->not_after() <= now()) {
      return denied(Denied::AGENT_EXPIRED);
    }
    Bytes serial(leaf->serial());
    if (serial == s_.new_serial_) {
      s_.serial_ = std::exchange(s_.new_serial_, {});  // used for the first time
    } else if (serial != s_.serial_) {
      return denied(Denied::AGENT_NOT_ACTIVE);
    }
    return {};
  }

  Result<Bytes> sign(const spiffe::SpiffeId& id, ByteView csr, Duration ttl) {
    auto request = TRY(x509::CertificateRequest::parse_and_verify(csr));
    Bytes subject = TRY(x509::svid_subject({}, {}));
    x509::SvidOptions how{id, request.public_key(), subject, x509::random_serial(s_.deps_.random),
                          x509::validity(now(), ttl)};
    return s_.authority().issuer()->issue_svid(how);
  }

  // --- Agent ---

  void attest(const StreamPtr& stream) {
    ++s_.calls.attest;
    auto csr = std::make_shared<Bytes>();
    std::weak_ptr<rpc::ServerStream> weak = stream;
    stream->on_message([this, weak, csr](ByteView raw) {
      auto open = weak.lock();
      auto request = parsed<agent_v1::AttestAgentRequest>(raw);
      if (request.has_params()) {
        *csr = request.params().params().csr();
        const std::string& token = request.params().data().payload();
        if (s_.banned_) {
          open->finish(denied(Denied::AGENT_BANNED));
          return;
        }
        bool known =
            s_.options.reattestable ? s_.tokens_.contains(token) : s_.tokens_.erase(token) > 0;
        if (!known) {
          open->finish(invalid_argument(
              "failed to attest: join token does not exist or has already been used"));
          return;
        }
        s_.agent_id_ = s_.domain_.id_string() + "/spire/agent/join_token/" + token;
        if (s_.options.challenge) {
          agent_v1::AttestAgentResponse response;
          response.set_challenge("?");
          open->send(response.SerializeAsString());
          return;
        }
      } else if (request.challenge_response() != "!") {
        open->finish(permission_denied("wrong answer"));
        return;
      }
      finish_attestation(*open, *csr);
    });
  }

  void finish_attestation(rpc::ServerStream& stream, const Bytes& csr) {
    auto id = spiffe::SpiffeId::parse(s_.agent_id_).take();
    auto certificate = sign(id, csr, s_.options.agent_ttl);
    if (!certificate.ok()) {
      stream.finish(std::move(certificate.error()));
      return;
    }
    s_.attested_ = true;
    s_.serial_ = Bytes(x509::Certificate::parse(*certificate).take()->serial());
    s_.new_serial_.clear();
    agent_v1::AttestAgentResponse response;
    response.mutable_result()->set_reattestable(s_.options.reattestable);
    response.mutable_result()->mutable_svid()->add_cert_chain(*certificate);
    stream.send(response.SerializeAsString());
    stream.finish({});
  }

  Result<agent_v1::RenewAgentResponse> renew(rpc::CallContext& call,
                                             const agent_v1::RenewAgentRequest& request) {
    ++s_.calls.renew;
    TRY(authorize(call));
    if (s_.options.reattestable) {
      return denied(Denied::AGENT_MUST_REATTEST);
    }
    auto id = spiffe::SpiffeId::parse(s_.agent_id_).take();
    Bytes certificate = TRY(sign(id, request.params().csr(), s_.options.agent_ttl));
    s_.new_serial_ = Bytes(TRY(x509::Certificate::parse(certificate))->serial());
    if (s_.overtake_renewals) {
      s_.new_serial_ = "nobody's";
    }
    if (s_.forget_renewals) {
      return unavailable("the answer was lost");
    }
    agent_v1::RenewAgentResponse response;
    response.mutable_svid()->add_cert_chain(certificate);
    return response;
  }

  Result<agent_v1::PostStatusResponse> post_status(rpc::CallContext& call,
                                                   const agent_v1::PostStatusRequest&) {
    ++s_.calls.post_status;
    TRY(authorize(call));
    return agent_v1::PostStatusResponse();
  }

  // --- Bundle ---

  Result<types::Bundle> bundle(rpc::CallContext&, const bundle_v1::GetBundleRequest&) {
    ++s_.calls.bundle;
    types::Bundle out;
    out.set_trust_domain(s_.domain_.name());
    out.set_sequence_number(s_.sequence_);
    for (const x509::FakeAuthority& authority : s_.authorities_) {
      auto* shown = out.add_x509_authorities();
      shown->set_asn1(authority.certificate()->der());
      shown->set_tainted(s_.tainted_.contains(authority.certificate()->der()));
    }
    for (const JwtKey& key : s_.jwt_keys_) {
      auto* shown = out.add_jwt_authorities();
      shown->set_key_id(key.id);
      shown->set_public_key(key.key->public_key().spki());
      shown->set_tainted(key.tainted);
    }
    return out;
  }

  Result<types::Bundle> federated(rpc::CallContext& call,
                                  const bundle_v1::GetFederatedBundleRequest& request) {
    TRY(authorize(call));
    auto found = s_.federated_.find(request.trust_domain());
    if (found == s_.federated_.end()) {
      return not_found("bundle not found");
    }
    types::Bundle out;
    out.set_trust_domain(request.trust_domain());
    out.add_x509_authorities()->set_asn1(found->second);
    return out;
  }

  // --- Entry ---

  Result<entry_v1::GetAuthorizedEntriesResponse> all_entries(
      rpc::CallContext& call, const entry_v1::GetAuthorizedEntriesRequest&) {
    ++s_.calls.get_entries;
    TRY(authorize(call));
    entry_v1::GetAuthorizedEntriesResponse out;
    for (const auto& [id, entry] : s_.entries_) {
      *out.add_entries() = entry;
    }
    return out;
  }

  void sync(const StreamPtr& stream) {
    ++s_.calls.sync;
    Result<void> allowed = authorize(stream->context());
    if (allowed.ok() && s_.sync_error) {
      allowed = Error(*s_.sync_error);
    }
    if (!allowed.ok()) {
      stream->finish(std::move(allowed));
      return;
    }
    std::weak_ptr<rpc::ServerStream> weak = stream;
    auto first = std::make_shared<bool>(true);
    stream->on_message([this, weak, first](ByteView raw) {
      auto open = weak.lock();
      auto request = parsed<entry_v1::SyncAuthorizedEntriesRequest>(raw);
      if (std::exchange(*first, false)) {
        send_first(*open);
      } else {
        send_entries(*open, request);
      }
    });
    stream->on_half_close([weak] { weak.lock()->finish({}); });
  }

  void send_first(rpc::ServerStream& stream) {
    entry_v1::SyncAuthorizedEntriesResponse response;
    if (s_.entries_.size() <= s_.options.page) {
      for (const auto& [id, entry] : s_.entries_) {
        *response.add_entries() = entry;
      }
      stream.send(response.SerializeAsString());
      return;
    }
    std::size_t left = s_.entries_.size();
    for (const auto& [id, entry] : s_.entries_) {
      auto* revision = response.add_entry_revisions();
      revision->set_id(id);
      revision->set_revision_number(entry.revision_number());
      revision->set_created_at(entry.created_at());
      --left;
      if (static_cast<std::size_t>(response.entry_revisions_size()) == s_.options.page ||
          left == 0) {
        response.set_more(left > 0);
        stream.send(response.SerializeAsString());
        response.Clear();
      }
    }
  }

  // In pieces, as a server may.
  void send_entries(rpc::ServerStream& stream,
                    const entry_v1::SyncAuthorizedEntriesRequest& request) {
    if (static_cast<std::size_t>(request.ids_size()) > s_.options.page) {
      stream.finish(invalid_argument("too many ids"));
      return;
    }
    entry_v1::SyncAuthorizedEntriesResponse response;
    for (int i = 0; i < request.ids_size(); ++i) {
      auto found = s_.entries_.find(request.ids(i));
      if (found != s_.entries_.end()) {
        *response.add_entries() = found->second;
        ++s_.calls.full_entries;
      }
      bool last = i + 1 == request.ids_size();
      if (last || response.entries_size() == 3) {
        response.set_more(!last);
        stream.send(response.SerializeAsString());
        response.Clear();
      }
    }
  }

  // --- SVID ---

  Result<svid_v1::BatchNewX509SVIDResponse> batch(rpc::CallContext& call,
                                                  const svid_v1::BatchNewX509SVIDRequest& request) {
    ++s_.calls.batch;
    TRY(authorize(call));
    if (s_.svid_error) {
      return Error(*s_.svid_error);
    }
    auto size = static_cast<std::size_t>(request.params_size());
    s_.calls.batch_largest = std::max(s_.calls.batch_largest, size);
    svid_v1::BatchNewX509SVIDResponse out;
    for (const auto& params : request.params()) {
      auto* result = out.add_results();
      auto found = s_.entries_.find(params.entry_id());
      if (found == s_.entries_.end() || s_.refused_entries.contains(params.entry_id())) {
        result->mutable_status()->set_code(static_cast<int>(Code::kNotFound));
        result->mutable_status()->set_message("entry not found or not authorized");
        continue;
      }
      auto id = spiffe::SpiffeId::make(s_.domain_, found->second.spiffe_id().path()).take();
      result->mutable_svid()->add_cert_chain(TRY(sign(id, params.csr(), s_.options.svid_ttl)));
      ++s_.calls.svids;
    }
    return out;
  }

  Result<svid_v1::NewJWTSVIDResponse> jwt(rpc::CallContext& call,
                                          const svid_v1::NewJWTSVIDRequest& request) {
    ++s_.calls.jwt;
    TRY(authorize(call));
    if (s_.jwt_error) {
      return Error(*s_.jwt_error);
    }
    auto found = s_.entries_.find(request.entry_id());
    if (found == s_.entries_.end()) {
      return not_found("entry not found or not authorized");
    }
    WallTime issued = truncate_to_seconds(now());
    jose::JwtSvidClaims claims{
        .subject = spiffe::SpiffeId::make(s_.domain_, found->second.spiffe_id().path()).take(),
        .audience = {request.audience().begin(), request.audience().end()},
        .expires_at = issued + s_.options.jwt_ttl,
        .issued_at = issued};
    const JwtKey& key = s_.jwt_keys_.back();
    svid_v1::NewJWTSVIDResponse out;
    out.mutable_svid()->set_token(TRY(jose::sign_jwt_svid(claims, *key.key, key.id)));
    out.mutable_svid()->mutable_id()->set_trust_domain(s_.domain_.name());
    out.mutable_svid()->mutable_id()->set_path(found->second.spiffe_id().path());
    out.mutable_svid()->set_issued_at(to_unix_seconds(issued));
    out.mutable_svid()->set_expires_at(to_unix_seconds(claims.expires_at));
    return out;
  }

  // --- Push ---

  void watch(StreamPtr stream) {
    ++s_.calls.push;
    Result<void> allowed = authorize(stream->context());
    if (!allowed.ok()) {
      stream->finish(std::move(allowed));
      return;
    }
    std::weak_ptr<rpc::ServerStream> weak = stream;
    stream->on_message([this, weak](ByteView raw) {
      auto request = parsed<push_v1::WatchChangesRequest>(raw);
      push_v1::WatchChangesResponse response;
      response.set_revision(s_.revision_);
      response.set_server_instance(s_.instance_);
      bool news = request.after_revision() != 0 && (request.server_instance() != s_.instance_ ||
                                                    request.after_revision() < s_.revision_);
      response.set_entries_changed(news);
      response.set_bundles_changed(news);
      weak.lock()->send(response.SerializeAsString());
    });
    stream->on_closed([this, weak] {
      std::erase_if(s_.watchers_, [&](const StreamPtr& one) { return one == weak.lock(); });
    });
    s_.watchers_.push_back(std::move(stream));
  }

  FakeServer& s_;
};

FakeServer::FakeServer(Options how, Deps deps)
    : options(how),
      deps_(deps),
      domain_(spiffe::TrustDomain::parse("example.org").take()),
      instance_(deps.random.alphanumeric(8)) {
  authorities_.emplace_back("example.org", deps_.loop.clock().now(), std::chrono::hours(24 * 365));
  rotate_jwt_key();
  auto policy = std::make_shared<tls::ServerPolicy>();
  policy->identity = [this] {
    auto svid = authority().issue("/spire/server", deps_.loop.clock().now());
    return std::make_shared<const tls::Identity>(tls::Identity{svid.chain, svid.key});
  };
  policy->verify_client = tls::verify_member_or_admin(
      domain_, {},
      [this](const spiffe::TrustDomain&) {
        auto all = std::make_shared<x509::Authorities>();
        for (const x509::FakeAuthority& one : authorities_) {
          all->push_back(one.certificate());
        }
        return x509::AuthoritiesPtr(std::move(all));
      },
      deps_.loop.clock());
  policy_ = std::move(policy);
}

FakeServer::~FakeServer() { close(); }

void FakeServer::listen() {
  server_ =
      std::make_unique<rpc::Server>(rpc::Server::Deps{deps_.loop, deps_.workers, deps_.random},
                                    rpc::ServerOptions{}, rpc::ServerHooks{});
  handlers_ = std::make_shared<Impl>(*this);
  handlers_->add_to(*server_);
  listener_ = deps_.network
                  .listen(deps_.loop, io::Endpoint::tcp("server", kPort), {},
                          [this](std::unique_ptr<io::Connection> raw) {
                            deps_.handshake.accept(
                                deps_.loop, std::move(raw), policy_, std::chrono::seconds(10),
                                [this](Result<std::unique_ptr<io::Connection>> secure) {
                                  if (secure.ok() && server_) {
                                    server_->serve(std::move(*secure));
                                  }
                                });
                          })
                  .take();
}

void FakeServer::close() {
  listener_ = nullptr;
  server_ = nullptr;
  watchers_.clear();
  handlers_ = nullptr;
}

void FakeServer::changed(bool entries, bool bundles) {
  ++revision_;
  push_v1::WatchChangesResponse response;
  response.set_revision(revision_);
  response.set_server_instance(instance_);
  response.set_entries_changed(entries);
  response.set_bundles_changed(bundles);
  auto watchers = watchers_;
  for (const StreamPtr& watcher : watchers) {
    watcher->send(response.SerializeAsString());
  }
}

void FakeServer::put_entry(const std::string& id, const std::string& path,
                           const std::vector<std::string>& selectors) {
  types::Entry entry;
  entry.set_id(id);
  entry.mutable_spiffe_id()->set_trust_domain(domain_.name());
  entry.mutable_spiffe_id()->set_path(path);
  for (const std::string& value : selectors) {
    auto* selector = entry.add_selectors();
    std::size_t slash = value.find('/');
    selector->set_type(slash == std::string::npos ? "unix" : value.substr(0, slash));
    selector->set_value(slash == std::string::npos ? value : value.substr(slash + 1));
  }
  put_entry(std::move(entry));
}

void FakeServer::put_entry(types::Entry entry) {
  auto old = entries_.find(entry.id());
  if (old != entries_.end()) {
    entry.set_revision_number(old->second.revision_number() + 1);
    entry.set_created_at(old->second.created_at());
  } else {
    entry.set_created_at(to_unix_seconds(deps_.loop.clock().now()));
  }
  std::string id = entry.id();
  entries_[id] = std::move(entry);
  changed(true, false);
}

void FakeServer::remove_entry(const std::string& id) {
  entries_.erase(id);
  changed(true, false);
}

void FakeServer::set_federated(const std::string& domain, x509::FakeAuthority& authority) {
  federated_[domain] = authority.certificate()->der();
  changed(false, true);
}

void FakeServer::rotate_ca() {
  authorities_.emplace_back("example.org", deps_.loop.clock().now(), std::chrono::hours(24 * 365));
  ++sequence_;
  changed(false, true);
}

void FakeServer::taint_old_ca() {
  tainted_.insert(authorities_.front().certificate()->der());
  ++sequence_;
  changed(false, true);
}

void FakeServer::rotate_jwt_key() {
  jwt_keys_.push_back({"jwt-" + std::to_string(jwt_keys_.size()),
                       crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take(), false});
  ++sequence_;
  changed(false, true);
}

void FakeServer::taint_old_jwt_key() {
  jwt_keys_.front().tainted = true;
  ++sequence_;
  changed(false, true);
}

}  // namespace steeple::agent
