// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/workload.h"

#include <algorithm>

#include "lib/crypto/hash.h"
#include "lib/crypto/private_key.h"
#include "lib/jose/jwk.h"
#include "lib/jose/jwt_svid.h"
#include "workload.pb.h"

namespace steeple::simulation {
namespace {

using namespace std::chrono_literals;

constexpr const char* kOwnDomain = "spiffe://example.org";
constexpr const char* kForeignDomain = "spiffe://other.org";
constexpr Duration kRetryMax = 30s;
constexpr Duration kDeniedRetryMax = 5min;
constexpr Duration kCallTimeout = 1min;
// Replaced between 0.4 and 0.6 of the life; the rest is for slow moments.
constexpr double kFreshShare = 0.36;
constexpr std::size_t kCertificatesMax = 16;

rpc::CallOptions options(Duration timeout = Duration::max()) {
  rpc::CallOptions out;
  out.metadata = {{"workload.spiffe.io", "true"}};
  out.timeout = timeout;
  return out;
}

std::string path_of(const std::string& id) {
  auto parsed = spiffe::SpiffeId::parse(id);
  return parsed.ok() ? std::string(parsed->path()) : "?" + id;
}

}  // namespace

Result<spiffe::SpiffeId> Verifier::verify(const std::vector<x509::CertificatePtr>& chain,
                                          const x509::AuthoritiesPtr& roots, WallTime wall) {
  Bytes all;
  bool current = true;
  for (const auto& certificate : chain) {
    all += certificate->der();
    current &= certificate->not_before() <= wall && wall < certificate->not_after();
  }
  for (const auto& root : *roots) {
    all += root->der();
  }
  Bytes key = crypto::sha256(all);
  auto found = good_.find(key);
  // With one root that has expired and one that has not, the memory does not know by which it was.
  if (found != good_.end() && current &&
      std::ranges::all_of(*roots, [&](const auto& root) { return wall < root->not_after(); })) {
    return found->second;
  }
  auto verified = x509::verify_svid(chain, [&](const spiffe::TrustDomain&) { return roots; }, wall);
  if (!verified.ok()) {
    return std::move(verified.error());
  }
  good_.insert_or_assign(key, verified->id);
  return verified->id;
}

std::string Workload::host(std::size_t node) { return fmt::format("node{}", node); }

Workload::Workload(Options options, Deps deps)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      selectors_{fmt::format("uid:{}", options_.uid), fmt::format("gid:{}", options_.gid)},
      random_(options_.seed),
      token_timer_(deps_.loop) {}

Workload::~Workload() { exit(); }

void Workload::start(pid_t pid) {
  CHECK(!running_);
  running_ = true;
  pid_ = pid;
  started_ = now();
  deps_.procs.start(pid, {.uid = options_.uid, .gid = options_.gid});
  auto peer = deps_.procs.connect(pid, false);
  network_ = deps_.wires.join(host(options_.node), {.pid = pid,
                                                    .uid = options_.uid,
                                                    .gid = options_.gid,
                                                    .start_time = peer->process->start_time});
  channel_ = std::make_unique<rpc::Channel>(
      rpc::Channel::Deps{deps_.loop, *network_, nullptr, random_},
      io::Endpoint::unix_socket(kSocket), nullptr, rpc::ChannelOptions{.backoff_max = 1s});
  x509_ = std::make_unique<Stream>(deps_.loop);
  jwt_ = std::make_unique<Stream>(deps_.loop);
  open_x509();
  open_jwt_bundles();
  token_timer_.start(random_.jitter(options_.token_every, 0.9), [this] { ask_token(); });
}

void Workload::exit() {
  if (!std::exchange(running_, false)) {
    return;
  }
  token_timer_.cancel();
  token_call_.reset();
  validate_call_.reset();
  x509_.reset();
  jwt_.reset();
  channel_.reset();
  network_.reset();
  deps_.procs.exit(pid_);
  held_.clear();
  roots_.reset();
  jwt_keys_.clear();
}

// --- streams -------------------------------------------------------------------------------------

void Workload::open(Stream& stream, const char* method, std::function<void(ByteView)> on_message) {
  std::function<void()> again = [this, &stream, method, on_message] {
    open(stream, method, on_message);
  };
  stream.call.reset();
  stream.call = channel_->stream(
      std::string("/SpiffeWorkloadAPI/") + method, simulation::options(),
      {.on_message =
           [&stream, on_message](ByteView raw) {
             stream.backoff = 1s;
             stream.live = true;
             on_message(raw);
           },
       .on_done = [this, &stream, method,
                   again](const Result<void>& status) { ended(stream, method, status, again); }});
  stream.call->send({});
  stream.call->close_send();
}

void Workload::open_x509() {
  open(*x509_, "FetchX509SVID", [this](ByteView raw) { got_x509(raw); });
}

void Workload::open_jwt_bundles() {
  open(*jwt_, "FetchJWTBundles", [this](ByteView raw) { got_jwt_bundles(raw); });
}

void Workload::ended(Stream& stream, const char* method, const Result<void>& status,
                     std::function<void()> again) {
  stream.live = false;
  std::string why = status.ok() ? "OK" : std::string(code_name(status.error().code));
  deps_.trace.event("{} {} ended: {}", options_.name, method, why);
  bool denied = !status.ok() && status.error().code == Code::kPermissionDenied;
  if (denied) {
    auto must =
        deps_.oracle.must_have(options_.node, selectors_, deps_.oracle.known(options_.node, now()));
    if (!must.empty()) {
      deps_.trace.fail("{} was denied by {} although it has {}: {}", options_.name, method,
                       must.begin()->first, status.error().message);
    }
    held_.clear();
  } else if (!status.ok() && status.error().code != Code::kUnavailable &&
             status.error().code != Code::kCancelled) {
    deps_.trace.fail("{} {} ended with {}: {}", options_.name, method, why, status.error().message);
  }
  stream.retry.start(random_.jitter(stream.backoff, 0.2), std::move(again));
  stream.backoff = std::min(stream.backoff * 2, denied ? kDeniedRetryMax : kRetryMax);
}

void Workload::got_x509(ByteView raw) {
  ++updates_;
  ::X509SVIDResponse response;
  if (!response.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
    deps_.trace.fail("{}: malformed X509SVIDResponse", options_.name);
    return;
  }
  WallTime wall = deps_.clock.now();
  HeldMap given;
  x509::AuthoritiesPtr roots;
  for (const ::X509SVID& svid : response.svids()) {
    std::string path = path_of(svid.spiffe_id());
    if (!deps_.oracle.may_have(options_.node, selectors_, path, now())) {
      deps_.trace.fail("{} must not have {}", options_.name, path);
    }
    Bytes received = svid.x509_svid() + svid.x509_svid_key() + svid.bundle();
    auto before = held_.find(path);
    if (before != held_.end() && before->second.verified == received &&
        before->second.hint == svid.hint() && wall < before->second.not_after) {
      given.insert(*before);
      roots = roots_;
      continue;
    }
    auto bundle = x509::parse_concatenated(svid.bundle(), 64);
    auto chain = x509::parse_concatenated(svid.x509_svid(), kCertificatesMax);
    auto key = crypto::PrivateKey::from_pkcs8(svid.x509_svid_key());
    if (!bundle.ok() || !chain.ok() || !key.ok() || chain->empty()) {
      deps_.trace.fail("{}: {} does not parse", options_.name, path);
      return;
    }
    for (const auto& root : *bundle) {
      seen_roots_.insert(root->der());
    }
    roots = std::make_shared<const x509::Authorities>(std::move(*bundle));
    auto verified = deps_.verifier.verify(*chain, roots, wall);
    if (!verified.ok()) {
      deps_.trace.fail("{}: {} does not verify: {}", options_.name, path, verified.error().message);
    } else if (verified->text() != svid.spiffe_id()) {
      deps_.trace.fail("{}: {} holds {}", options_.name, path, verified->text());
    } else if (!((*key)->public_key() == chain->front()->public_key())) {
      deps_.trace.fail("{}: the key of {} is another's", options_.name, path);
    }
    WallTime from = chain->front()->not_before();
    WallTime until = chain->front()->not_after();
    given[path] = {std::move(*chain), from, until, svid.hint(), std::move(received)};
  }
  for (const auto& [domain, der] : response.federated_bundles()) {
    if (domain != kForeignDomain || !deps_.oracle.may_be_federated(der, options_.node, now())) {
      deps_.trace.fail("{}: the bundle of {} is none that was set", options_.name, domain);
    }
  }
  std::string names;
  for (const auto& [path, held] : given) {
    names += fmt::format(" {}({})", path, to_unix_seconds(held.not_after));
  }
  deps_.trace.event("{} got{} roots {} federated {}", options_.name, names,
                    roots ? roots->size() : 0, response.federated_bundles_size());
  roots_ = std::move(roots);
  check_svid_set(given);
}

// What is missing must be gone, or the agent had no chance to get it.
void Workload::check_svid_set(const HeldMap& given) {
  HeldMap kept = given;
  auto must =
      deps_.oracle.must_have(options_.node, selectors_, deps_.oracle.known(options_.node, now()));
  for (const auto& [path, version] : must) {
    auto found = given.find(path);
    if (found == given.end()) {
      auto before = held_.find(path);
      if (!deps_.oracle.may_lack_svids(options_.node, now())) {
        deps_.trace.fail("{} was not given {}", options_.name, path);
      } else if (before != held_.end()) {
        kept.insert(*before);
      }
    } else if (found->second.hint != version->hint) {
      // Of two with one hint only the older is shown with it, so hints are never shared here.
      deps_.trace.fail("{}: {} has the hint \"{}\", not \"{}\"", options_.name, path,
                       found->second.hint, version->hint);
    }
  }
  held_ = std::move(kept);
}

void Workload::check() {
  SteadyTime since = deps_.oracle.settled(options_.node, now());
  if (!running_ || started_ > since) {
    return;  // it had no time yet
  }
  bool quiet = deps_.oracle.quiet(options_.node, now());
  WallTime wall = deps_.clock.now();
  for (const auto& [path, version] : deps_.oracle.must_have(options_.node, selectors_, since)) {
    auto found = held_.find(path);
    if (found == held_.end()) {
      deps_.trace.fail("{} has no {}", options_.name, path);
      continue;
    }
    const Held& held = found->second;
    if (wall >= held.not_after) {
      deps_.trace.fail("{}: {} has expired", options_.name, path);
    }
    double left = std::chrono::duration<double>(held.not_after - wall) /
                  std::chrono::duration<double>(held.not_after - held.not_before);
    if (quiet && left < kFreshShare) {
      deps_.trace.fail("{}: {} is stale, {:.2f} of its life is left", options_.name, path, left);
    }
  }
}

void Workload::check_converged() {
  auto must = deps_.oracle.must_have(options_.node, selectors_, now());
  std::string want, have;
  for (const auto& [path, version] : must) {
    want += " " + path;
  }
  for (const auto& [path, held] : held_) {
    have += " " + path;
  }
  if (want != have) {
    deps_.trace.fail("{} ends with{} instead of{}", options_.name, have, want);
  }
}

void Workload::check_peer(const Workload& other) {
  if (!roots_ || held_.empty()) {
    return;
  }
  for (const auto& [path, held] : other.held_) {
    auto verified = deps_.verifier.verify(held.chain, roots_, deps_.clock.now());
    if (!verified.ok()) {
      deps_.trace.fail("{} does not accept {} of {}: {}", options_.name, path, other.options_.name,
                       verified.error().message);
    }
  }
}

// --- JWT -----------------------------------------------------------------------------------------

void Workload::got_jwt_bundles(ByteView raw) {
  ::JWTBundlesResponse response;
  if (!response.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
    deps_.trace.fail("{}: malformed JWTBundlesResponse", options_.name);
    return;
  }
  auto own = response.bundles().find(kOwnDomain);
  auto keys = jose::parse_jwks(own == response.bundles().end() ? "" : own->second);
  if (!keys.ok()) {
    deps_.trace.fail("{}: JWT bundle: {}", options_.name, keys.error().message);
    return;
  }
  jwt_keys_.clear();
  for (const jose::Jwk& key : *keys) {
    jwt_keys_[key.key_id] = std::make_shared<const crypto::PublicKey>(key.key);
    seen_keys_.insert(key.key_id);
  }
  deps_.trace.event("{} has {} JWT keys", options_.name, jwt_keys_.size());
}

void Workload::ask_token() {
  token_timer_.start(random_.jitter(options_.token_every, 0.5), [this] { ask_token(); });
  ::JWTSVIDRequest request;
  request.add_audience(fmt::format("audience-{}", random_.below(3)));
  std::set<std::string> must;
  for (const auto& [path, version] : deps_.oracle.must_have(
           options_.node, selectors_, deps_.oracle.known(options_.node, now()))) {
    must.insert(path);
  }
  bool quiet = deps_.oracle.quiet(options_.node, now());
  token_call_ = channel_->unary(
      "/SpiffeWorkloadAPI/FetchJWTSVID", request.SerializeAsString(),
      simulation::options(kCallTimeout), [this, quiet, must](Result<Bytes> raw) {
        got_token(std::move(raw), quiet && deps_.oracle.quiet(options_.node, now()), must);
      });
}

void Workload::got_token(Result<Bytes> raw, bool was_quiet, std::set<std::string> must) {
  // What was taken away meanwhile is no longer owed.
  auto still =
      deps_.oracle.must_have(options_.node, selectors_, deps_.oracle.known(options_.node, now()));
  std::erase_if(must, [&](const std::string& path) { return !still.contains(path); });
  if (!raw.ok()) {
    const Error& error = raw.error();
    deps_.trace.event("{} got no token: {}", options_.name, code_name(error.code));
    bool denied = error.code == Code::kPermissionDenied;
    if (!must.empty() && (was_quiet || denied)) {
      deps_.trace.fail("{} got no JWT-SVID: {} {}", options_.name, code_name(error.code),
                       error.message);
    }
    return;
  }
  ::JWTSVIDResponse response;
  if (!response.ParseFromString(*raw)) {
    deps_.trace.fail("{}: malformed JWTSVIDResponse", options_.name);
    return;
  }
  for (const ::JWTSVID& svid : response.svids()) {
    std::string path = path_of(svid.spiffe_id());
    must.erase(path);
    check_token(path, svid.svid());
  }
  if (!must.empty() && was_quiet) {
    deps_.trace.fail("{} got no JWT-SVID of {}", options_.name, *must.begin());
  }
}

void Workload::check_token(const std::string& path, const std::string& token) {
  ++tokens_;
  auto parsed = jose::parse_jwt_svid_insecure(token, {}, deps_.clock.now());
  if (!parsed.ok()) {
    deps_.trace.fail("{}: JWT-SVID: {}", options_.name, parsed.error().message);
    return;
  }
  if (parsed->id.path() != path || !deps_.oracle.may_have(options_.node, selectors_, path, now())) {
    deps_.trace.fail("{} must not have a JWT-SVID of {}", options_.name, parsed->id.text());
  }
  if (parsed->expires_at <= deps_.clock.now()) {
    deps_.trace.fail("{}: the JWT-SVID has expired", options_.name);
  }
  bool quiet = deps_.oracle.quiet(options_.node, now());
  deps_.trace.event("{} got a token of {}", options_.name, path);
  if (quiet && jwt_->live) {
    auto verified = jose::verify_jwt_svid(
        token, {},
        [this](const spiffe::TrustDomain&,
               std::string_view id) -> Result<std::shared_ptr<const crypto::PublicKey>> {
          auto key = jwt_keys_.find(std::string(id));
          if (key == jwt_keys_.end()) {
            return not_found("no such key");
          }
          return key->second;
        },
        deps_.clock.now());
    if (!verified.ok()) {
      deps_.trace.fail("{}: its JWT-SVID does not verify with its bundle: {}", options_.name,
                       verified.error().message);
    }
  }
  if (Workload* peer = deps_.peer(random_)) {
    peer->deps_.loop.post(
        [this, peer, token, path, quiet] { peer->validate_for(*this, token, path, quiet); });
  }
}

void Workload::validate_for(const Workload& owner, const std::string& token,
                            const std::string& path, bool must) {
  if (!running_) {
    return;
  }
  ::ValidateJWTSVIDRequest request;
  auto parsed = jose::parse_jwt_svid_insecure(token, {}, owner.deps_.clock.now());
  request.set_audience(parsed.ok() && !parsed->audience.empty() ? parsed->audience.front() : "a");
  std::string shown = token;
  bool forged = random_.below(8) == 0;
  if (forged) {
    char& letter = shown[shown.size() - 10];
    letter = letter == 'A' ? 'B' : 'A';
  }
  request.set_svid(shown);
  must = must && deps_.oracle.quiet(options_.node, now());
  validate_call_ = channel_->unary(
      "/SpiffeWorkloadAPI/ValidateJWTSVID", request.SerializeAsString(),
      simulation::options(kCallTimeout),
      [this, path, forged, must, name = owner.options_.name](Result<Bytes> raw) {
        deps_.trace.event("{} validated a {} token of {}: {}", options_.name,
                          forged ? "forged" : "good", name,
                          raw.ok() ? "OK" : code_name(raw.error().code));
        if (forged && raw.ok()) {
          deps_.trace.fail("{} accepts a forged token of {}", options_.name, name);
        } else if (!forged && must && !raw.ok() && deps_.oracle.quiet(options_.node, now())) {
          deps_.trace.fail("{} refuses a token of {}: {}", options_.name, name,
                           raw.error().message);
        } else if (raw.ok()) {
          ::ValidateJWTSVIDResponse response;
          if (!response.ParseFromString(*raw) || path_of(response.spiffe_id()) != path) {
            deps_.trace.fail("{}: the token of {} is said to be of {}", options_.name, path,
                             response.spiffe_id());
          }
        }
      });
}

}  // namespace steeple::simulation
