// SPDX-License-Identifier: Apache-2.0

#include "agent/sync/svid_requests.h"

#include <algorithm>

#include "agent/config/backoff.h"
#include "lib/crypto/private_key.h"
#include "lib/io/on_worker.h"
#include "lib/x509/csr.h"
#include "lib/x509/verify.h"

namespace steeple::agent {
namespace {

// The wall clock may jump: wishes that come with time are looked for at least this often.
constexpr auto kLookAgainMax = std::chrono::seconds(30);

struct Prepared {
  EntryPtr entry;
  std::shared_ptr<const crypto::PrivateKey> key;
  Bytes csr;
};

Result<std::vector<Prepared>> prepare(const std::vector<EntryPtr>& entries,
                                      crypto::KeyType key_type) {
  std::vector<Prepared> out;
  out.reserve(entries.size());
  for (const EntryPtr& entry : entries) {
    Prepared one{.entry = entry, .key = {}, .csr = {}};
    one.key = TRY(crypto::PrivateKey::generate(key_type));
    one.csr = TRY(x509::build_csr(*one.key, {.uri_sans = {entry->spiffe_id.text()}}));
    out.push_back(std::move(one));
  }
  return out;
}

// What the server signed is what we asked for, or it is refused.
Result<X509SvidPtr> check_svid(const Prepared& asked, const std::vector<Bytes>& chain) {
  auto certificates = TRY(x509::parse_chain(chain).during("invalid SVID cert chain"));
  const x509::Certificate& leaf = *certificates.front();
  auto id = TRY(x509::id_from_certificate(leaf));
  if (id != asked.entry->spiffe_id) {
    return internal("the server signed \"" + id.text() + "\" instead of \"" +
                    asked.entry->spiffe_id.text() + "\"");
  }
  if (!(leaf.public_key() == asked.key->public_key())) {
    return internal("the server signed another key");
  }
  auto out = std::make_shared<X509Svid>();
  for (const auto& certificate : certificates) {
    out->chain_der += certificate->der();
    out->authority_key_ids.emplace_back(certificate->authority_key_id());
  }
  out->key_pkcs8 = asked.key->to_pkcs8();
  out->not_before = leaf.not_before();
  out->not_after = leaf.not_after();
  return X509SvidPtr(std::move(out));
}

}  // namespace

class SvidRequests::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(crypto::KeyType key_type, RotationPolicy rotation, Deps deps)
      : key_type_(key_type), rotation_(rotation), deps_(std::move(deps)), timer_(deps_.loop) {}

  void look() {
    if (scheduled_) {
      return;
    }
    scheduled_ = true;
    deps_.loop.post([weak = weak_from_this()] {
      if (auto self = weak.lock()) {
        self->scheduled_ = false;
        self->work();
      }
    });
  }

  void server_is_back() {
    if (retry_at_ != SteadyTime()) {
      retry_at_ = {};
      backoff_.reset();
      awaited_backoff_.reset();
    }
    look();
  }

 private:
  void work() {
    if (running_) {
      return;  // looks again when it is done
    }
    if (!deps_.cache.has_wishes()) {
      wait_for_next();
      return;
    }
    SteadyTime now = deps_.loop.clock().steady();
    if (retry_at_ > now) {
      SteadyTime until = retry_at_;
      if (deps_.cache.has_awaited_wishes()) {
        until = std::min(until, awaited_retry_at_);
      }
      if (until > now) {
        timer_.start(until - now, [this] { work(); });
        return;
      }
    }
    request();
  }

  void wait_for_next() {
    Duration wait = kLookAgainMax;
    if (auto at = deps_.cache.next_wish_at()) {
      wait = std::clamp<Duration>(*at - deps_.loop.clock().now(), std::chrono::milliseconds(1),
                                  kLookAgainMax);
    }
    timer_.start(wait, [this] { work(); });
  }

  void request() {
    running_ = true;
    timer_.cancel();
    std::vector<SvidWish> wishes = deps_.cache.take_wishes(batch_);
    std::vector<EntryPtr> entries;
    LOG_DEBUG(deps_.log, "Renewing stale entries", {"cache_type", "workload"},
              {"count", wishes.size()}, {"limit", batch_});
    for (const SvidWish& wish : wishes) {
      entries.push_back(wish.entry);
      Logger log = deps_.log.with({"entry_id", wish.entry->id})
                       .with({"spiffe_id", wish.entry->spiffe_id.text()});
      if (wish.expires_at) {
        LOG_INFO(log, "Renewing X509-SVID", {"expires_at", format_rfc3339(*wish.expires_at)});
      } else {
        LOG_INFO(log, "Creating X509-SVID");
      }
    }
    io::on_worker(
        deps_.workers, deps_.loop, weak_from_this(),
        [entries, key_type = key_type_] { return prepare(entries, key_type); },
        [this, entries](Result<std::vector<Prepared>> prepared) {
          if (!prepared.ok()) {
            failed(entries, prepared.error());
            return;
          }
          send(std::move(*prepared));
        });
  }

  void send(std::vector<Prepared> prepared) {
    std::vector<NewSvidRequest> requests;
    requests.reserve(prepared.size());
    for (Prepared& one : prepared) {
      requests.push_back({one.entry->id, std::move(one.csr)});
    }
    auto counter = std::make_shared<CallCounter>(deps_.metrics, deps_.loop.clock(),
                                                 "manager.sync.fetch_svids_updates");
    call_ =
        deps_.server.batch_new_x509_svid(requests, [this, prepared = std::move(prepared), counter](
                                                       Result<std::vector<NewSvidResult>> results) {
          counter->done(results);
          if (!results.ok()) {
            std::vector<EntryPtr> entries;
            for (const Prepared& one : prepared) {
              entries.push_back(one.entry);
            }
            failed(entries, results.error());
            return;
          }
          received(prepared, *results);
        });
  }

  void received(const std::vector<Prepared>& prepared, const std::vector<NewSvidResult>& results) {
    std::vector<SignedSvid> svids;
    std::vector<std::string> refused;
    for (std::size_t i = 0; i < prepared.size(); ++i) {
      const EntryPtr& entry = prepared[i].entry;
      Result<X509SvidPtr> svid = results[i].chain.ok() ? check_svid(prepared[i], *results[i].chain)
                                                       : results[i].chain.error();
      if (!svid.ok()) {
        LOG_WARN(deps_.log, "Failed to mint X509 SVID", {"entry_id", entry->id},
                 {"status", static_cast<int>(svid.error().code)}, {"error", svid.error()});
        refused.push_back(entry->id);
        continue;
      }
      if (falls_back_to_half_life(rotation_, (*svid)->not_after - (*svid)->not_before)) {
        LOG_WARN(deps_.log,
                 "X509 SVID lifetime isn't long enough to guarantee the availability_target, "
                 "falling back to the default rotation strategy",
                 {"entry_id", entry->id}, {"spiffe_id", entry->spiffe_id.text()});
      }
      svids.push_back({entry, std::move(*svid)});
    }
    running_ = false;
    batch_ = std::min(batch_ * 2, kSvidBatchMax);
    retry_at_ = {};
    backoff_.reset();
    awaited_backoff_.reset();
    // Last: the cache's subscribers run in here.
    deps_.cache.set_svids(svids);
    deps_.cache.refuse_wishes(refused);
    look();
  }

  void failed(const std::vector<EntryPtr>& entries, const Error& error) {
    running_ = false;
    LOG_ERROR(deps_.log, "SVID sync failed", {"error", error});
    batch_ = std::max<std::size_t>(batch_ / 2, 1);
    SteadyTime now = deps_.loop.clock().steady();
    retry_at_ = now + backoff_.next(deps_.random);
    awaited_retry_at_ = now + awaited_backoff_.next(deps_.random);
    std::vector<std::string> ids;
    ids.reserve(entries.size());
    for (const EntryPtr& entry : entries) {
      ids.push_back(entry->id);
    }
    deps_.cache.return_wishes(ids);
    deps_.failed(error);
    look();
  }

  crypto::KeyType key_type_;
  RotationPolicy rotation_;
  Deps deps_;
  std::size_t batch_ = kSvidBatchMax;
  bool scheduled_ = false;
  bool running_ = false;
  SteadyTime retry_at_{}, awaited_retry_at_{};
  Backoff backoff_{kSvidBackoffFirst, kSvidBackoffMax};
  Backoff awaited_backoff_{kSvidBackoffFirst, kSvidBackoffAwaitedMax};
  ServerApi::Handle call_;
  io::Timer timer_;
};

SvidRequests::SvidRequests(crypto::KeyType key_type, RotationPolicy rotation, Deps deps)
    : core_(std::make_shared<Core>(key_type, rotation, std::move(deps))) {}

SvidRequests::~SvidRequests() = default;

void SvidRequests::look() { core_->look(); }

void SvidRequests::server_is_back() { core_->server_is_back(); }

}  // namespace steeple::agent
