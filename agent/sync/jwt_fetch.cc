// SPDX-License-Identifier: Apache-2.0

#include "agent/sync/jwt_fetch.h"

#include <fmt/core.h>

#include <map>

#include "agent/config/backoff.h"
#include "agent/sync/server_api.h"
#include "lib/jose/jws.h"

namespace steeple::agent {
namespace {

constexpr auto kJwtRetryFirst = std::chrono::seconds(1);
constexpr auto kJwtRetryMax = std::chrono::seconds(24);

// As the reference: what may work a moment later.
bool is_retriable(const Error& error) {
  switch (error.code) {
    case Code::kUnknown:
    case Code::kCancelled:
    case Code::kDeadlineExceeded:
    case Code::kInvalidArgument:
    case Code::kUnimplemented:
    case Code::kPermissionDenied:
      return false;
    default:
      return true;
  }
}

}  // namespace

class JwtFetch::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Duration cache_hit_timeout, Deps deps)
      : cache_hit_timeout_(cache_hit_timeout), deps_(std::move(deps)), server_(deps_.identity) {}

  void fetch(const EntryPtr& entry, const std::vector<std::string>& audience, Reply reply) {
    std::string key = JwtCache::key(entry->spiffe_id, audience);
    WallTime now = deps_.loop.clock().now();
    JwtSvidPtr cached = entry->unique_jwt_id ? nullptr : deps_.cache.find(key);
    if (cached && !cached->should_refresh(now)) {
      reply(std::move(cached));
      return;
    }
    if (entry->unique_jwt_id) {
      // Each asker gets a token of his own.
      key += fmt::format("\nunique {}", next_unique_++);
    } else {
      // Entries may share a SPIFFE ID and differ in what their tokens look like.
      key += "\nentry " + entry->id;
    }
    auto running = calls_.find(key);
    if (running != calls_.end()) {
      running->second->waiting.push_back(std::move(reply));
      return;
    }
    if (calls_.size() >= kJwtCallsMax) {
      if (cached && !cached->expired(now)) {
        reply(std::move(cached));
      } else {
        reply(resource_exhausted("too many JWT-SVIDs are being fetched"));
      }
      return;
    }
    auto call = std::make_shared<Call>(deps_.loop);
    call->entry = entry;
    call->audience = audience;
    call->cached = std::move(cached);
    call->waiting.push_back(std::move(reply));
    bool hit = call->cached && !call->cached->expired(now);
    call->deadline = deps_.loop.clock().steady() + (hit ? cache_hit_timeout_ : kServerCallTimeout);
    calls_.emplace(key, call);
    ask(key, *call);
  }

 private:
  struct Call {
    explicit Call(io::Loop& loop) : timer(loop) {}
    EntryPtr entry;
    std::vector<std::string> audience;
    JwtSvidPtr cached;  // the old one, maybe expired
    SteadyTime deadline{};
    Backoff backoff{kJwtRetryFirst, kJwtRetryMax};
    std::vector<Reply> waiting;
    ServerApi::Handle handle;
    io::Timer timer;
  };

  void ask(const std::string& key, Call& call) {
    Duration left = call.deadline - deps_.loop.clock().steady();
    if (left <= Duration::zero()) {
      finish(key, deadline_exceeded("failed to fetch JWT SVID: context deadline exceeded"));
      return;
    }
    call.handle = server_.new_jwt_svid(
        call.entry->id, call.audience, left,
        [this, key](Result<NewJwtSvid> svid) { answered(key, std::move(svid)); });
  }

  void answered(const std::string& key, Result<NewJwtSvid> svid) {
    Call& call = *calls_.at(key);
    if (svid.ok() && svid->id != call.entry->spiffe_id) {
      svid = internal(fmt::format("the server signed \"{}\" instead of \"{}\"", svid->id.text(),
                                  call.entry->spiffe_id.text()));
    }
    if (svid.ok()) {
      auto made = std::make_shared<JwtSvid>();
      auto jws = jose::Jws::parse(svid->token);
      if (jws.ok()) {
        made->key_id = jws->header().key_id;
      }
      made->token = std::move(svid->token);
      made->issued_at = svid->issued_at;
      made->expires_at = svid->expires_at;
      made->refresh_at = rotation_time({}, svid->issued_at, svid->expires_at, deps_.random);
      if (!call.entry->unique_jwt_id) {
        deps_.cache.put(JwtCache::key(call.entry->spiffe_id, call.audience), made);
      }
      finish(key, JwtSvidPtr(std::move(made)));
      return;
    }
    WallTime now = deps_.loop.clock().now();
    if (call.cached && !call.cached->expired(now)) {
      LOG_WARN(deps_.log, "Unable to renew JWT; returning cached copy",
               {"spiffe_id", call.entry->spiffe_id.text()}, {"error", svid.error()});
      deps_.identity.handle_denial(svid.error());
      finish(key, call.cached);
      return;
    }
    Duration wait = call.backoff.next(deps_.random);
    if (is_retriable(svid.error()) && deps_.loop.clock().steady() + wait < call.deadline) {
      LOG_DEBUG(deps_.log, "Failed to fetch JWT SVID; retrying", {"error", svid.error()});
      call.timer.start(wait, [this, key] { ask(key, *calls_.at(key)); });
      return;
    }
    LOG_ERROR(deps_.log, "Failed to fetch JWT SVID", {"error", svid.error()});
    deps_.identity.handle_denial(svid.error());
    finish(key, std::move(svid.error()));
  }

  void finish(const std::string& key, Result<JwtSvidPtr> result) {
    auto node = calls_.extract(key);
    auto self = shared_from_this();
    for (Reply& reply : node.mapped()->waiting) {
      if (result.ok()) {
        reply(*result);
      } else {
        reply(Error(result.error()));
      }
    }
  }

  Duration cache_hit_timeout_;
  Deps deps_;
  ServerApi server_;
  std::uint64_t next_unique_ = 0;
  std::map<std::string, std::shared_ptr<Call>> calls_;
};

JwtFetch::JwtFetch(Duration cache_hit_timeout, Deps deps)
    : core_(std::make_shared<Core>(cache_hit_timeout, std::move(deps))) {}

JwtFetch::~JwtFetch() = default;

void JwtFetch::fetch(const EntryPtr& entry, const std::vector<std::string>& audience, Reply reply) {
  core_->fetch(entry, audience, std::move(reply));
}

}  // namespace steeple::agent
