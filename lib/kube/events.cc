// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/events.h"

#include <fmt/format.h>

#include <deque>
#include <list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "lib/io/loop.h"
#include "lib/kube/backoff.h"

namespace steeple::kube {
namespace {

using nlohmann::json;

constexpr std::size_t kMessageBytesMax = 1024;  // what the API server takes
constexpr std::size_t kEventNameBytesMax = 253;
constexpr int kTriesMax = 12;
constexpr std::string_view kCombined = "(combined from similar events): ";

// The most recently used values by key.
template <class V>
class Recent {
 public:
  explicit Recent(std::size_t most) : most_(most) {}

  V* find(const std::string& key) {
    auto found = index_.find(key);
    if (found == index_.end()) {
      return nullptr;
    }
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->second;
  }
  V& add(const std::string& key, V value) {
    if (order_.size() >= most_ && !order_.empty()) {
      index_.erase(order_.back().first);
      order_.pop_back();
    }
    order_.emplace_front(key, std::move(value));
    index_[key] = order_.begin();
    return order_.front().second;
  }

 private:
  using Order = std::list<std::pair<std::string, V>>;
  const std::size_t most_;
  Order order_;
  std::unordered_map<std::string, typename Order::iterator> index_;
};

struct Bucket {
  double tokens = 0;
  SteadyTime filled_at{};
};

struct Similar {
  std::size_t distinct = 0;  // texts
  SteadyTime began_at{};
};

struct Told {
  Event event;
  std::string name;  // of the Event object
  std::uint64_t count = 0;
  WallTime first{};
  WallTime last{};
  bool created = false;
  bool queued = false;
};

// Fields joined so that no two different lists of them read the same.
template <class... Parts>
std::string key_of(const Parts&... parts) {
  std::string out;
  ((out += parts, out += '\0'), ...);
  return out;
}

std::string cut(std::string text, std::size_t bytes_max) {
  if (text.size() > bytes_max) {
    std::size_t end = bytes_max - 3;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) {
      --end;  // not within a character
    }
    text.resize(end);
    text += "...";
  }
  return text;
}

}  // namespace

struct EventRecorder::State {
  State(Deps deps, EventOptions with, std::function<void(const Error&)> trouble)
      : client(deps.client),
        random(deps.random),
        options(std::move(with)),
        on_trouble(std::move(trouble)),
        buckets(options.remembered_max),
        similar(options.remembered_max),
        told(options.remembered_max),
        backoff(deps.random, {.first = std::chrono::seconds(1)}),
        timer(deps.client.loop()) {}

  SteadyTime now() const { return client.loop().clock().steady(); }

  bool allowed(const std::string& object) {
    Bucket* bucket = buckets.find(object);
    if (bucket == nullptr) {
      bucket = &buckets.add(object, {static_cast<double>(options.burst), now()});
    }
    double gained = std::chrono::duration<double>(now() - bucket->filled_at) /
                    std::chrono::duration<double>(options.refill);
    bucket->tokens = std::min(bucket->tokens + gained, static_cast<double>(options.burst));
    bucket->filled_at = now();
    if (bucket->tokens < 1) {
      return false;
    }
    bucket->tokens -= 1;
    return true;
  }

  // True when this text is one too many of its kind.
  bool combined(const std::string& kind, bool new_text) {
    Similar* seen = similar.find(kind);
    if (seen == nullptr || now() - seen->began_at > options.similar_interval) {
      seen = seen == nullptr ? &similar.add(kind, {}) : seen;
      *seen = {0, now()};
    }
    seen->distinct += new_text ? 1 : 0;
    return seen->distinct > options.similar_max;
  }

  void record(Event event) {
    event.message = cut(std::move(event.message), kMessageBytesMax);
    const ObjectReference& about = event.about;
    std::string object = key_of(about.kind, about.name_space, about.name, about.uid);
    if (!allowed(object)) {
      ++dropped;
      return;
    }
    std::string kind =
        key_of(object, event.reason, event.type == EventType::kNormal ? "Normal" : "Warning");
    std::string key = key_of(kind, event.message);
    if (combined(kind, told.find(key) == nullptr)) {
      key = kind;
      event.message = cut(std::string(kCombined) + event.message, kMessageBytesMax);
    }
    WallTime at = client.loop().clock().now();
    Told* entry = told.find(key);
    if (entry == nullptr) {
      entry = &told.add(key, {.event = {}, .name = {}, .first = at});
    }
    entry->event = std::move(event);
    entry->last = at;
    ++entry->count;
    if (!entry->queued) {
      if (queue.size() >= options.queue_max) {
        ++dropped;
        return;
      }
      entry->queued = true;
      queue.push_back(std::move(key));
    }
    send_next();
  }

  void send_next() {
    while (!call && !timer.pending() && !queue.empty()) {
      Told* entry = told.find(queue.front());
      if (entry == nullptr) {  // forgotten meanwhile
        ++dropped;
        queue.pop_front();
        continue;
      }
      send(*entry);
    }
  }

  std::string name_space(const Told& entry) const {
    return entry.event.about.name_space.empty() ? "default" : entry.event.about.name_space;
  }

  void send(Told& entry) {
    auto handler = [this](Result<ObjectPtr> answer) { sent_one(std::move(answer)); };
    if (entry.created) {
      json patch = {{"count", entry.count},
                    {"lastTimestamp", format_rfc3339(entry.last)},
                    {"message", entry.event.message}};
      call = client.patch({kEvents, name_space(entry), entry.name}, patch, {}, std::move(handler));
      return;
    }
    std::string suffix = fmt::format(".{:016x}", random.number());
    entry.name = entry.event.about.name.substr(0, kEventNameBytesMax - suffix.size()) + suffix;
    call = client.create({kEvents, name_space(entry)}, object(entry), {}, std::move(handler));
  }

  json object(const Told& entry) const {
    const ObjectReference& about = entry.event.about;
    json involved = {{"apiVersion", about.api_version}, {"kind", about.kind}, {"name", about.name}};
    for (const auto& [member, value] :
         {std::pair("namespace", &about.name_space), std::pair("uid", &about.uid),
          std::pair("resourceVersion", &about.resource_version)}) {
      if (!value->empty()) {
        involved[member] = *value;
      }
    }
    return {{"apiVersion", kEvents.api_version()},
            {"kind", kEvents.kind},
            {"metadata", {{"name", entry.name}, {"namespace", name_space(entry)}}},
            {"involvedObject", std::move(involved)},
            {"type", entry.event.type == EventType::kNormal ? "Normal" : "Warning"},
            {"reason", entry.event.reason},
            {"message", entry.event.message},
            {"source", {{"component", options.component}}},
            {"reportingComponent", options.component},
            {"reportingInstance", options.instance},
            {"firstTimestamp", format_rfc3339(entry.first)},
            {"lastTimestamp", format_rfc3339(entry.last)},
            {"count", entry.count}};
  }

  void sent_one(Result<ObjectPtr> answer) {
    call.reset();
    std::string key = queue.front();
    Told* entry = told.find(key);
    bool gone = !answer.ok() && answer.error().code == Code::kNotFound && entry != nullptr &&
                std::exchange(entry->created, false);
    if (gone) {  // the server forgets Events after an hour: it is a new one
      entry->first = entry->last;
      entry->count = 1;
      send_next();
      return;
    }
    if (!answer.ok() && may_retry(answer.error())) {
      timer.start(backoff.next(), [this] { send_next(); });
      return;
    }
    tries = 0;
    backoff.reset();
    queue.pop_front();
    if (entry != nullptr) {
      entry->queued = false;
    }
    if (answer.ok()) {
      ++sent;
      finish(entry, key, **answer);
    } else {
      ++dropped;
      if (on_trouble) {
        on_trouble(answer.error());
      }
    }
    send_next();
  }

  // It may have happened again while it was on its way.
  void finish(Told* entry, const std::string& key, const json& answer) {
    if (entry == nullptr) {
      return;
    }
    entry->created = true;
    bool behind = integer_at(answer, {"count"}) < static_cast<std::int64_t>(entry->count);
    if (behind && queue.size() < options.queue_max) {
      entry->queued = true;
      queue.push_back(key);
    }
  }

  bool may_retry(const Error& error) {
    bool transport = error.code == Code::kUnavailable || error.code == Code::kDeadlineExceeded ||
                     error.code == Code::kResourceExhausted;
    return transport && ++tries < kTriesMax;
  }

  Client& client;
  Random& random;
  const EventOptions options;
  const std::function<void(const Error&)> on_trouble;
  Recent<Bucket> buckets;
  Recent<Similar> similar;
  Recent<Told> told;
  std::deque<std::string> queue;  // keys of `told`, the front is under way
  Backoff backoff;
  int tries = 0;
  std::uint64_t sent = 0;
  std::uint64_t dropped = 0;
  io::Timer timer;
  CallPtr call;
};

EventRecorder::EventRecorder(Deps deps, EventOptions options,
                             std::function<void(const Error&)> on_trouble)
    : state_(std::make_unique<State>(deps, std::move(options), std::move(on_trouble))) {}

EventRecorder::~EventRecorder() = default;

void EventRecorder::record(Event event) { state_->record(std::move(event)); }
std::uint64_t EventRecorder::sent() const { return state_->sent; }
std::uint64_t EventRecorder::dropped() const { return state_->dropped; }
bool EventRecorder::idle() const { return state_->queue.empty(); }

}  // namespace steeple::kube
