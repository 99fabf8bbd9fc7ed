// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/status_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/kube/json.h"

namespace steeple::controller {

using nlohmann::json;

StatusWriter::StatusWriter(Deps deps)
    : deps_(std::move(deps)), backoff_(deps_.random), timer_(deps_.client.loop()) {}

StatusWriter::~StatusWriter() = default;

void StatusWriter::seen(const kube::Resource& resource, const std::string& name,
                        const json& status) {
  auto [at, fresh] = items_.try_emplace(Key(resource.plural, name));
  if (!fresh) {
    return;
  }
  Item& item = at->second;
  item.resource = resource;
  item.written = status.is_object() ? status.dump() : "{}";
  const json* conditions = kube::find(status, {"conditions"});
  if (conditions == nullptr || !conditions->is_array()) {
    return;
  }
  for (const json& condition : *conditions) {
    item.conditions.push_back(
        {{kube::string_at(condition, {"type"}), kube::view_at(condition, {"status"}) == "True",
          kube::string_at(condition, {"reason"}), kube::string_at(condition, {"message"})},
         kube::string_at(condition, {"lastTransitionTime"})});
  }
}

void StatusWriter::set(const kube::Resource& resource, const ObjectMeta& meta,
                       const ResourceStatus& status) {
  Item& item = items_[Key(resource.plural, meta.name)];
  item.resource = resource;
  item.meta = meta;
  std::vector<Timed> conditions;
  json list = json::array();
  for (const Condition& condition : status.conditions) {
    auto before = std::ranges::find_if(item.conditions, [&](const Timed& timed) {
      return timed.condition.type == condition.type;
    });
    bool known = before != item.conditions.end();
    bool same = known && before->condition.status == condition.status && !before->since.empty();
    std::string since = same ? before->since : format_rfc3339(deps_.client.loop().clock().now());
    if (!known || before->condition != condition) {
      tell(item, known ? &before->condition : nullptr, condition);
    }
    list.push_back({{"type", condition.type},
                    {"status", condition.status ? "True" : "False"},
                    {"reason", condition.reason},
                    {"message", condition.message},
                    {"observedGeneration", status.generation},
                    {"lastTransitionTime", since}});
    conditions.push_back({condition, std::move(since)});
  }
  item.conditions = std::move(conditions);
  json whole = status.fields.empty() ? json::object() : json::parse(status.fields, nullptr, false);
  whole["conditions"] = std::move(list);
  item.wanted = whole.dump(-1, ' ', false, json::error_handler_t::replace);
  item.due = item.wanted != item.written;
  pump();
}

void StatusWriter::forget(const kube::Resource& resource, const std::string& name) {
  items_.erase(Key(resource.plural, name));
}

bool StatusWriter::idle() const {
  return !writing_ && std::ranges::none_of(items_, [](const auto& i) { return i.second.due; });
}

void StatusWriter::tell(const Item& item, const Condition* before, const Condition& now) {
  bool news = now.status ? before != nullptr && !before->status
                         : before == nullptr || before->status || before->message != now.message ||
                               before->reason != now.reason;
  if (!news || deps_.events == nullptr || now.reason == "Pending") {
    return;
  }
  deps_.events->record({.about = {.api_version = item.resource.api_version(),
                                  .kind = std::string(item.resource.kind),
                                  .name = item.meta.name,
                                  .uid = item.meta.uid},
                        .type = now.status ? kube::EventType::kNormal : kube::EventType::kWarning,
                        .reason = now.reason,
                        .message = now.message});
}

void StatusWriter::pump() {
  if (writing_) {
    return;
  }
  SteadyTime now = deps_.client.loop().clock().steady();
  SteadyTime next = SteadyTime::max();
  for (auto& [key, item] : items_) {
    if (!item.due) {
      continue;
    }
    if (item.not_before > now) {
      next = std::min(next, item.not_before);
      continue;
    }
    writing_ = true;
    json patch{{"status", json::parse(item.wanted, nullptr, false)}};
    call_ = deps_.client.patch(
        {.resource = item.resource, .name = item.meta.name, .subresource = "status"}, patch,
        {.type = kube::PatchType::kMerge},
        [this, key = key, text = item.wanted](Result<kube::ObjectPtr> answer) {
          wrote(key, text, std::move(answer));
        });
    return;
  }
  if (next != SteadyTime::max()) {
    timer_.start(next - now, [this] { pump(); });
  }
}

void StatusWriter::wrote(const Key& key, const std::string& text, Result<kube::ObjectPtr> answer) {
  writing_ = false;
  auto found = items_.find(key);
  Duration wait = kStatusInterval;
  if (answer.ok()) {
    ++deps_.counters.status_updates;
    backoff_.reset();
    LOG_INFO(deps_.log, "Updated status", {"resource", key.first}, {"name", key.second});
  } else {
    ++deps_.counters.status_failures;
    wait = backoff_.next();
    bool gone = answer.error().code == Code::kNotFound;
    if (!gone) {
      LOG_ERROR(deps_.log, "Failed to update status", {"resource", key.first}, {"name", key.second},
                {"error", answer.error()}, {"retry_in", format_go_duration(wait)});
    } else if (found != items_.end()) {
      found->second.due = false;  // deleted; the watch will say so
    }
  }
  if (found != items_.end()) {
    Item& item = found->second;
    item.not_before = deps_.client.loop().clock().steady() + wait;
    if (answer.ok()) {
      item.written = text;
      item.due = item.wanted != item.written;
    }
  }
  // Not from inside the answer of the call that the next one replaces.
  timer_.start(Duration::zero(), [this] { pump(); });
}

}  // namespace steeple::controller
