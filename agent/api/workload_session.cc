// SPDX-License-Identifier: Apache-2.0

#include "agent/api/workload_session.h"

#include <fmt/core.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <set>
#include <utility>

#include "agent/cache/selector_table.h"
#include "lib/base/limits.h"
#include "lib/jose/jwt_svid.h"

namespace steeple::agent {
namespace {

constexpr std::size_t kValidateAudienceBytesMax = std::size_t{64} << 10;

bool is_stream(WorkloadMethod method) {
  return method == WorkloadMethod::kFetchX509Svid || method == WorkloadMethod::kFetchX509Bundles ||
         method == WorkloadMethod::kFetchJwtBundles;
}

std::string text_of(const Selector& selector) {
  return selector.value.empty() ? selector.type : selector.type + ":" + selector.value;
}

// Only what the operator allowed to be logged: selectors may tell secrets.
std::string loggable(const Selectors& selectors, const std::vector<std::string>& prefixes) {
  std::vector<std::string> out;
  for (const Selector& selector : selectors) {
    std::string text = text_of(selector);
    if (std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) {
          return text == prefix || text.starts_with(prefix + ":");
        })) {
      out.push_back(std::move(text));
    }
  }
  std::sort(out.begin(), out.end());
  std::string joined;
  for (const std::string& text : out) {
    joined += joined.empty() ? text : "," + text;
  }
  return joined;
}

}  // namespace

WorkloadSession::WorkloadSession(std::shared_ptr<WorkloadContext> context, WorkloadMethod method,
                                 std::shared_ptr<rpc::ServerStream> stream)
    : context_(std::move(context)), method_(method), stream_(std::move(stream)) {
  Metrics& metrics = context_->deps.metrics;
  metrics.count("workload_api.connection");
  metrics.gauge("workload_api.connections", static_cast<double>(++context_->sessions));
}

WorkloadSession::~WorkloadSession() {
  context_->deps.metrics.gauge("workload_api.connections",
                               static_cast<double>(--context_->sessions));
  context_->streams.erase(number_);
}

void WorkloadSession::begin() {
  auto self = shared_from_this();
  if (is_stream(method_)) {
    number_ = ++context_->streams_begun;
    context_->streams.emplace(number_, weak_from_this());
  }
  stream_->on_closed([self] { self->closed(); });
  stream_->on_message([self](ByteView request) { self->requested(request); });
}

void WorkloadSession::closed() {
  // The stream may be what keeps us: let go of it last.
  auto self = shared_from_this();
  subscription_ = {};
  told_ = nullptr;
  stream_ = nullptr;
}

Logger WorkloadSession::log() const {
  Logger log = context_->deps.log;
  return process_ ? log.with({"pid", process_->pid()}) : log;
}

bool WorkloadSession::is_agent() const {
  return process_ && process_->pid() == context_->options.own_pid;
}

void WorkloadSession::requested(ByteView request) {
  if (!stream_) {
    return;
  }
  if (!is_stream(method_)) {
    Result<void> checked = read_request(request);
    if (!checked.ok()) {
      finish(std::move(checked.error()));
      return;
    }
  }
  attest();
}

Result<void> WorkloadSession::read_request(ByteView request) {
  unary_ = std::make_unique<Unary>();
  auto parse = [&](google::protobuf::MessageLite& message) {
    return message.ParseFromArray(request.data(), static_cast<int>(request.size()));
  };
  if (method_ == WorkloadMethod::kFetchJwtSvid) {
    if (!parse(unary_->fetch)) {
      return internal("grpc: error unmarshalling request");
    }
    const ::JWTSVIDRequest& fetch = unary_->fetch;
    if (fetch.audience().empty()) {
      LOG_ERROR(context_->deps.log, "Missing required audience parameter");
      return invalid_argument("audience must be specified");
    }
    if (static_cast<std::size_t>(fetch.audience_size()) > kJwtAudienceMax) {
      return invalid_argument(fmt::format("more than {} audiences", kJwtAudienceMax));
    }
    if (!fetch.spiffe_id().empty()) {
      auto id = spiffe::SpiffeId::parse(fetch.spiffe_id());
      if (!id.ok()) {
        LOG_ERROR(context_->deps.log, "Invalid requested SPIFFE ID",
                  {"spiffe_id", fetch.spiffe_id()}, {"error", id.error()});
        return invalid_argument("invalid requested SPIFFE ID: " + id.error().message);
      }
    }
    return {};
  }
  if (!parse(unary_->validate)) {
    return internal("grpc: error unmarshalling request");
  }
  if (unary_->validate.audience().empty() ||
      unary_->validate.audience().size() > kValidateAudienceBytesMax) {
    LOG_ERROR(context_->deps.log, "Missing required audience parameter");
    return invalid_argument("audience must be specified");
  }
  if (unary_->validate.svid().empty()) {
    LOG_ERROR(context_->deps.log, "Missing required svid parameter");
    return invalid_argument("svid must be specified");
  }
  return {};
}

// Step 2 to 3 of the flow: who is it.
void WorkloadSession::attest() {
  auto process = WorkloadProcess::of_peer(stream_->context().peer, context_->deps.proc_fs);
  if (!process.ok()) {
    attested(std::move(process.error()));
    return;
  }
  process_ = std::move(*process);
  if (context_->options.attest_on_loop) {
    attested(context_->deps.attestors.attest_here(*process_));
    return;
  }
  context_->turns.enqueue(process_->pid(), shared_from_this());
}

bool WorkloadSession::attest_on_worker() {
  if (!stream_) {
    return false;
  }
  // The context outlives the call, whose turn must be given on in any case.
  context_->deps.attestors.attest(context_->deps.loop, process_,
                                  [context = std::weak_ptr(context_), pid = process_->pid(),
                                   weak = weak_from_this()](Result<Selectors> selectors) {
                                    if (auto self = weak.lock()) {
                                      self->attested(std::move(selectors));
                                    }
                                    if (auto alive = context.lock()) {
                                      alive->turns.finished(pid);
                                    }
                                  });
  return true;
}

void WorkloadSession::attest_again() {
  if (stream_ && process_ && !context_->options.attest_on_loop) {
    context_->turns.enqueue(process_->pid(), shared_from_this());
  }
}

// It has its identities by what was known at first: no failure takes them away.
void WorkloadSession::attested_again(const Result<Selectors>& selectors) {
  if (selectors.ok()) {
    subscribe(*selectors);
  } else {
    LOG_WARN(log(), "Workload attestation failed; the stream goes on with what was known",
             {"error", selectors.error()});
  }
}

void AttestationTurns::enqueue(pid_t pid, const std::shared_ptr<WorkloadSession>& session) {
  auto [queue, first] = waiting_.try_emplace(pid);
  queue->second.push_back(session);
  if (first) {
    finished(pid);
  }
}

void AttestationTurns::finished(pid_t pid) {
  auto queue = waiting_.find(pid);
  while (!queue->second.empty()) {
    auto next = queue->second.front().lock();
    queue->second.pop_front();
    if (next && next->attest_on_worker()) {
      return;
    }
  }
  waiting_.erase(queue);
}

void WorkloadSession::attested(Result<Selectors> selectors) {
  if (!stream_) {
    return;
  }
  if (subscribed_) {
    attested_again(selectors);
    return;
  }
  if (!selectors.ok()) {
    LOG_ERROR(log(), "Workload attestation failed", {"error", selectors.error()});
    finish(unavailable("workload attestation failed"));
    return;
  }
  context_->deps.metrics.sample("workload_api.discovered_selectors",
                                static_cast<double>(selectors->size()));
  if (!allowed_by_rate(*selectors)) {
    context_->deps.metrics.count("workload_api.rate_limit_exceeded",
                                 {{"method", stream_->context().method}});
    finish(unavailable("rate limit exceeded for " + stream_->context().method));
    return;
  }
  if (is_stream(method_)) {
    subscribe(*selectors);
  } else if (method_ == WorkloadMethod::kFetchJwtSvid) {
    fetch_tokens(*selectors);
  } else {
    reply(validate(*selectors));
  }
}

bool WorkloadSession::allowed_by_rate(const Selectors& selectors) {
  RateLimit* limit = nullptr;
  switch (method_) {
    case WorkloadMethod::kFetchX509Svid:
      limit = &context_->x509_svid;
      break;
    case WorkloadMethod::kFetchX509Bundles:
      limit = &context_->x509_bundles;
      break;
    case WorkloadMethod::kFetchJwtSvid:
      limit = &context_->jwt_svid;
      break;
    case WorkloadMethod::kFetchJwtBundles:
      limit = &context_->jwt_bundles;
      break;
    case WorkloadMethod::kValidateJwtSvid:
      return true;
  }
  return !limit->enabled() || is_agent() || limit->allow(SelectorTable::set_key(selectors));
}

// --- streams ------------------------------------------------------------------------------------

void WorkloadSession::subscribe(const Selectors& selectors) {
  subscribed_ = true;
  Interest interest =
      method_ == WorkloadMethod::kFetchX509Svid ? Interest::kX509Svids : Interest::kBundles;
  if (!context_->options.log_selectors.empty()) {
    unary_ = std::make_unique<Unary>();
    unary_->selectors = selectors;
  }
  auto subscription = context_->deps.cache.subscribe(
      selectors, interest, [weak = weak_from_this()](const WorkloadUpdatePtr& update) {
        if (auto self = weak.lock()) {
          self->updated(update);
        }
      });
  if (stream_) {  // the first update may have ended it
    subscription_ = std::move(subscription);
  }
}

Error WorkloadSession::no_identity() const {
  if (!is_agent()) {
    Logger line = log().with({"registered", false});
    const auto& prefixes = context_->options.log_selectors;
    if (unary_ && !prefixes.empty()) {
      std::string shown = loggable(unary_->selectors, prefixes);
      if (!shown.empty()) {
        line = line.with({"selectors", shown});
      }
    }
    LOG_ERROR(line, "No identity issued");
  }
  return permission_denied("no identity issued");
}

Result<Bytes> WorkloadSession::response_to(const WorkloadUpdatePtr& update) const {
  bool entitled = update->has_identity() || (method_ != WorkloadMethod::kFetchX509Svid &&
                                             context_->options.allow_unauthenticated_verifiers);
  if (!entitled) {
    return no_identity();
  }
  if (!update->own_bundle()) {
    return unavailable("could not serialize response: bundle not available");
  }
  return encoded(*update);
}

const Bytes& WorkloadSession::encoded(const WorkloadUpdate& update) const {
  switch (method_) {
    case WorkloadMethod::kFetchX509Svid:
      return update.x509_svid_response();
    case WorkloadMethod::kFetchX509Bundles:
      return update.x509_bundles_response();
    default:
      return update.jwt_bundles_response();
  }
}

void WorkloadSession::updated(const WorkloadUpdatePtr& update) {
  if (!stream_) {
    return;
  }
  Result<Bytes> response = response_to(update);
  if (!response.ok()) {
    finish(std::move(response.error()));
    return;
  }
  WorkloadUpdatePtr before = std::exchange(told_, update);
  if (before && *response == encoded(*before)) {
    return;
  }
  push(*response);
  if (method_ == WorkloadMethod::kFetchX509Svid && stream_ && !is_agent() &&
      context_->deps.log.enabled(LogLevel::kDebug)) {
    WallTime now = context_->deps.loop.clock().now();
    Logger line = log().with({"registered", true}).with({"count", update->identities().size()});
    for (const X509Identity& identity : update->identities()) {
      double ttl = std::chrono::duration<double>(identity.svid->not_after - now).count();
      LOG_DEBUG(line, "Fetched X.509 SVID", {"spiffe_id", identity.entry->spiffe_id.text()},
                {"ttl", ttl});
    }
  }
}

void WorkloadSession::push(const Bytes& response) {
  Result<void> alive = process_->alive();
  if (!alive.ok()) {
    LOG_ERROR(log(), "Workload attestation failed", {"error", alive.error()});
    finish(unavailable("workload attestation failed"));
    return;
  }
  if (stream_->buffered_bytes() > kStreamBacklogMax) {
    finish(resource_exhausted("the workload does not read its updates"));
    return;
  }
  stream_->send(response);
}

// --- unary --------------------------------------------------------------------------------------

void WorkloadSession::fetch_tokens(const Selectors& selectors) {
  unary_->selectors = selectors;
  std::vector<EntryPtr> entries;
  const std::string& wanted = unary_->fetch.spiffe_id();
  for (const EntryPtr& entry : context_->deps.cache.look(selectors)->entries()) {
    if (wanted.empty() || entry->spiffe_id.text() == wanted) {
      entries.push_back(entry);
    }
  }
  if (entries.empty()) {
    finish(no_identity());
    return;
  }
  std::vector<std::string> audience(unary_->fetch.audience().begin(),
                                    unary_->fetch.audience().end());
  unary_->waiting = entries.size();
  unary_->entries = entries;
  unary_->errors.resize(entries.size());
  for (const EntryPtr& entry : entries) {
    ::JWTSVID* token = unary_->tokens.add_svids();
    token->set_spiffe_id(entry->spiffe_id.text());
    token->set_hint(entry->hint);
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    context_->deps.tokens.fetch(
        entries[i], audience, [weak = weak_from_this(), i](Result<JwtSvidPtr> svid) {
          auto self = weak.lock();
          if (!self || !self->stream_) {
            return;
          }
          Unary& unary = *self->unary_;
          if (svid.ok()) {
            unary.tokens.mutable_svids(static_cast<int>(i))->set_svid((*svid)->token);
          } else {
            unary.errors[i] = std::move(svid.error());
          }
          if (--unary.waiting == 0) {
            self->tokens_done();
          }
        });
  }
}

void WorkloadSession::tokens_done() {
  // What was taken from the workload meanwhile is neither given to it nor a reason to fail.
  std::set<std::pair<std::string, spiffe::SpiffeId>> still;
  for (const EntryPtr& entry : context_->deps.cache.look(unary_->selectors)->entries()) {
    still.emplace(entry->id, entry->spiffe_id);
  }
  ::JWTSVIDResponse response;
  for (std::size_t i = 0; i < unary_->entries.size(); ++i) {
    const EntryPtr& entry = unary_->entries[i];
    if (!still.contains({entry->id, entry->spiffe_id})) {
      continue;
    }
    if (unary_->errors[i]) {
      LOG_ERROR(log(), "Could not fetch JWT-SVID", {"error", *unary_->errors[i]});
      finish(unavailable("could not fetch JWT-SVID: " + unary_->errors[i]->message));
      return;
    }
    *response.add_svids() = std::move(*unary_->tokens.mutable_svids(static_cast<int>(i)));
    LOG_DEBUG(log().with({"registered", true}), "Fetched JWT SVID",
              {"spiffe_id", entry->spiffe_id.text()});
  }
  if (response.svids().empty()) {
    finish(no_identity());
    return;
  }
  reply(response.SerializeAsString());
}

Result<Bytes> WorkloadSession::validate(const Selectors& selectors) const {
  WorkloadUpdatePtr update = context_->deps.cache.look(selectors);
  auto key_of = [&](const spiffe::TrustDomain& domain,
                    std::string_view key_id) -> Result<std::shared_ptr<const crypto::PublicKey>> {
    const TrustBundle* bundle = nullptr;
    if (update->own_bundle() && update->own_bundle()->bundle.trust_domain == domain) {
      bundle = update->own_bundle().get();
    }
    for (const TrustBundlePtr& federated : update->federated_bundles()) {
      if (federated->bundle.trust_domain == domain) {
        bundle = federated.get();
      }
    }
    if (bundle == nullptr) {
      return not_found(fmt::format("no keys found for trust domain \"{}\"", domain.name()));
    }
    auto key = bundle->jwt_keys.find(key_id);
    if (key == bundle->jwt_keys.end()) {
      return not_found(
          fmt::format("public key \"{}\" not found in trust domain \"{}\"", key_id, domain.name()));
    }
    return key->second;
  };
  auto svid = jose::verify_jwt_svid(unary_->validate.svid(), {unary_->validate.audience()}, key_of,
                                    context_->deps.loop.clock().now());
  if (!svid.ok()) {
    LOG_WARN(log(), "Failed to validate JWT", {"audience", unary_->validate.audience()},
             {"error", svid.error()});
    return invalid_argument(svid.error().message);
  }
  LOG_DEBUG(log(), "Successfully validated JWT", {"audience", unary_->validate.audience()},
            {"spiffe_id", svid->id.text()});
  auto response =
      TRY(validation_response(svid->claims_json, svid->id, context_->options.trust_domain,
                              context_->options.allowed_foreign_jwt_claims));
  return response.SerializeAsString();
}

Result<::ValidateJWTSVIDResponse> validation_response(
    const std::string& claims_json, const spiffe::SpiffeId& id, const spiffe::TrustDomain& own,
    const std::set<std::string, std::less<>>& allowed_foreign_claims) {
  ::ValidateJWTSVIDResponse response;
  response.set_spiffe_id(id.text());
  auto status = google::protobuf::util::JsonStringToMessage(claims_json, response.mutable_claims());
  if (!status.ok()) {
    return invalid_argument(status.ToString());
  }
  auto& fields = *response.mutable_claims()->mutable_fields();
  if (!id.member_of(own)) {
    std::vector<std::string> removed;
    for (const auto& [name, value] : fields) {
      if (name != "sub" && name != "exp" && name != "aud" &&
          !allowed_foreign_claims.contains(name)) {
        removed.push_back(name);
      }
    }
    for (const std::string& name : removed) {
      fields.erase(name);
    }
  }
  // RFC 7519 4.1.3 allows a single audience as plain text; callers always get a list.
  auto audience = fields.find("aud");
  if (audience != fields.end() && audience->second.has_string_value()) {
    std::string only = audience->second.string_value();
    audience->second.mutable_list_value()->add_values()->set_string_value(only);
  }
  return response;
}

void WorkloadSession::reply(Result<Bytes> response) {
  if (!response.ok()) {
    finish(std::move(response.error()));
    return;
  }
  push(*response);
  finish({});
}

void WorkloadSession::finish(Result<void> status) {
  if (stream_) {
    auto stream = stream_;
    subscription_ = {};
    stream->finish(std::move(status));
  }
}

}  // namespace steeple::agent
