// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/reflector.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "lib/io/loop.h"
#include "lib/kube/informer.h"

namespace steeple::kube {

using nlohmann::json;

namespace {

// A stream that ends sooner without a word is no good end, whatever the server says.
constexpr auto kWatchTooShort = std::chrono::seconds(1);
// After so many refusals in a row the version itself may be what the server cannot serve (an etcd
// restored from a backup has older ones).
constexpr int kRefusalsBeforeList = 3;

bool may_be_our_version(const Error& error) {
  auto status = api_status(error);
  return status && status->code != 401 && status->code != 403 && status->code != 429 &&
         status->code != 503;
}

}  // namespace

struct Reflector::State {
  State(Deps on, Target what, ReflectorOptions with, ReflectorSink& to)
      : client(on.client),
        random(on.random),
        collection(std::move(what)),
        options(std::move(with)),
        sink(to),
        backoff(on.random, options.backoff),
        timer(on.client.loop()) {}

  void list() {
    ++lists;
    sink.list_began();
    call = client.list(collection,
                       {.label_selector = options.label_selector,
                        .field_selector = options.field_selector,
                        .page = options.page,
                        .metadata_only = options.metadata_only},
                       {.on_item = [this](const json& object) { sink.listed(object); },
                        .on_restart = [this] { sink.list_began(); },
                        .on_done = [this](Result<std::string> at) { listed(std::move(at)); }});
  }

  void listed(Result<std::string> at) {
    if (at.ok() && at->empty()) {
      at = internal("list: the answer has no resourceVersion");
    }
    if (!at.ok()) {
      again(at.error(), [this] { list(); });
      return;
    }
    version = std::move(*at);
    backoff.reset();
    sink.list_ended();
    watch();
  }

  void watch() {
    ++watches;
    began_at = client.loop().clock().steady();
    events_seen = 0;
    // Spread, so that the streams of many clients do not end together.
    Duration life = options.watch_min +
                    Duration(static_cast<std::int64_t>(
                        random.below(static_cast<std::uint64_t>(options.watch_min.count()) + 1)));
    call = client.watch(
        collection,
        {.label_selector = options.label_selector,
         .field_selector = options.field_selector,
         .resource_version = version,
         .timeout = life,
         .metadata_only = options.metadata_only},
        {.on_event = [this](WatchEvent type, const json& object) { event(type, object); },
         .on_done = [this](Result<void> how) { watched(std::move(how)); }});
  }

  void event(WatchEvent type, const json& object) {
    if (events_seen++ == 0) {
      backoff.reset();
      refusals = 0;
    }
    if (std::string_view at = view_at(object, {"metadata", "resourceVersion"}); !at.empty()) {
      version = at;
    }
    switch (type) {
      case WatchEvent::kAdded:
      case WatchEvent::kModified:
        sink.stored(object);
        break;
      case WatchEvent::kDeleted:
        sink.removed(object);
        break;
      case WatchEvent::kBookmark:
        break;
    }
  }

  void watched(Result<void> how) {
    if (!how.ok() && is_gone(how.error())) {
      // The first time at once; a server that says so again and again is not hurried.
      Error error = std::move(how.error());
      if (std::exchange(gone_before, true) && events_seen == 0) {
        again(error, [this] { list(); });
      } else {
        sink.troubled(error, Duration::zero());
        list();
      }
      return;
    }
    bool too_short = client.loop().clock().steady() - began_at < kWatchTooShort;
    if (how.ok() && (events_seen > 0 || !too_short)) {
      gone_before = false;
      watch();
      return;
    }
    Error error = how.ok() ? unavailable("watch: the stream ended at once") : how.error();
    refusals = may_be_our_version(error) ? refusals + 1 : 0;
    if (refusals >= kRefusalsBeforeList) {
      refusals = 0;
      again(error, [this] { list(); });
    } else {
      again(error, [this] { watch(); });
    }
  }

  void again(const Error& error, io::Task task) {
    auto status = api_status(error);
    Duration wait = backoff.next(status ? status->retry_after : std::nullopt);
    timer.start(wait, std::move(task));
    sink.troubled(error, wait);
  }

  Client& client;
  Random& random;
  const Target collection;
  const ReflectorOptions options;
  ReflectorSink& sink;
  Backoff backoff;
  std::string version;
  std::uint64_t lists = 0;
  std::uint64_t watches = 0;
  SteadyTime began_at{};
  std::uint64_t events_seen = 0;
  bool gone_before = false;
  int refusals = 0;
  io::Timer timer;
  CallPtr call;
};

Reflector::Reflector(Deps deps, Target collection, ReflectorOptions options, ReflectorSink& sink)
    : state_(std::make_unique<State>(deps, std::move(collection), std::move(options), sink)) {}

Reflector::~Reflector() = default;

void Reflector::start() { state_->list(); }
const std::string& Reflector::resource_version() const { return state_->version; }
std::uint64_t Reflector::lists() const { return state_->lists; }
std::uint64_t Reflector::watches() const { return state_->watches; }

// FNV-1a. Two versions of one object that collide would hide a change: 1 in 2^64.
std::uint64_t version_mark(const json& object) {
  std::string_view text = view_at(object, {"metadata", "resourceVersion"});
  if (text.empty()) {
    return 0;
  }
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
  return hash == 0 ? 1 : hash;
}

}  // namespace steeple::kube
