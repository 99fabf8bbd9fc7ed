// SPDX-License-Identifier: Apache-2.0

#include "controller/fake_api_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace steeple::controller {

using nlohmann::json;

struct FakeApiServer::Exchange {
  io::Loop& loop;
  kube::HttpRequest request;
  kube::HttpEvents events;
  Place place = {};
  std::string query = {};
  bool cancelled = false;
};

class FakeApiServer::Handle final : public kube::Call {
 public:
  explicit Handle(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~Handle() override { exchange_->cancelled = true; }

 private:
  const std::shared_ptr<Exchange> exchange_;
};

class FakeApiServer::Way final : public kube::Transport {
 public:
  Way(FakeApiServer& server, io::Loop& loop) : server_(server), loop_(loop) {}

  kube::CallPtr start(kube::HttpRequest request, kube::HttpEvents events) override {
    auto exchange = std::make_shared<Exchange>(
        Exchange{.loop = loop_, .request = std::move(request), .events = std::move(events)});
    loop_.post([this, exchange] {
      if (!exchange->cancelled) {
        server_.serve(exchange);
      }
    });
    return std::make_unique<Handle>(exchange);
  }

 private:
  FakeApiServer& server_;
  io::Loop& loop_;
};

std::unique_ptr<kube::Transport> FakeApiServer::transport(io::Loop& loop) {
  return std::make_unique<Way>(*this, loop);
}

namespace {

std::string key_of(const json& object) {
  const json& meta = object.at("metadata");
  std::string space = meta.value("namespace", "");
  return space.empty() ? meta.value("name", "") : space + "/" + meta.value("name", "");
}

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> out;
  std::string part;
  for (char c : text) {
    if (c == by) {
      out.push_back(std::exchange(part, {}));
    } else {
      part += c;
    }
  }
  out.push_back(part);
  return out;
}

}  // namespace

FakeApiServer::Place FakeApiServer::parse_path(std::string path) {
  std::vector<std::string> parts = split(path.substr(1), '/');
  std::size_t at = parts[0] == "api" ? 2 : 3;  // behind group and version
  Place out;
  for (std::size_t i = 0; i < at; ++i) {
    out.collection += "/" + parts[i];
  }
  if (parts.size() > at + 2 && parts[at] == "namespaces") {
    out.name_space = parts[at + 1];
    at += 2;
  }
  out.collection += "/" + parts.at(at);
  out.name = parts.size() > at + 1 ? parts[at + 1] : "";
  out.subresource = parts.size() > at + 2 ? parts[at + 2] : "";
  return out;
}

std::string FakeApiServer::query_value(const std::string& query, const std::string& name) {
  for (const std::string& part : split(query, '&')) {
    if (part.starts_with(name + "=")) {
      return part.substr(name.size() + 1);
    }
  }
  return {};
}

void FakeApiServer::serve(const std::shared_ptr<Exchange>& exchange) {
  std::string path = exchange->request.url.substr(exchange->request.url.find('/', 8));
  std::size_t question = path.find('?');
  std::string query = question == std::string::npos ? "" : path.substr(question + 1);
  path = path.substr(0, question);
  const std::string& method = exchange->request.method;
  bool watching = query_value(query, "watch") == "true" || query_value(query, "watch") == "1";
  ++counts_[(watching ? "WATCH " : method + " ") + path];
  if (int status = refuse ? refuse(method, path) : 0; status != 0) {
    answer(exchange, status,
           {{"kind", "Status"}, {"code", status}, {"reason", "Refused"}, {"message", "refused"}});
    return;
  }
  Place place = parse_path(path);
  if (method == "GET" && place.name.empty()) {
    watching ? watch(exchange, place, query) : list(exchange, place, query);
  } else if (method == "GET") {
    json object = get(place.collection, place.name_space, place.name);
    answer(exchange, object.is_null() ? 404 : 200,
           object.is_null() ? json{{"kind", "Status"}, {"code", 404}, {"reason", "NotFound"}}
                            : object);
  } else {
    write(exchange, place);
  }
}

void FakeApiServer::answer(const std::shared_ptr<Exchange>& exchange, int status,
                           const json& body) {
  kube::HttpHead head{.status = status, .headers = {{"content-type", "application/json"}}};
  if (exchange->events.on_head && !exchange->cancelled) {
    exchange->events.on_head(head);
  }
  if (exchange->events.on_data && !exchange->cancelled) {
    exchange->events.on_data(body.dump());
  }
  if (exchange->events.on_end && !exchange->cancelled) {
    auto end = std::move(exchange->events.on_end);
    end({});
  }
}

bool FakeApiServer::wanted(const json& object, const Place& place, const std::string& query) {
  const json& meta = object.at("metadata");
  if (!place.name_space.empty() && meta.value("namespace", "") != place.name_space) {
    return false;
  }
  std::string fields = query_value(query, "fieldSelector");
  std::size_t at = fields.find("metadata.name%3D");
  return at == std::string::npos || fields.substr(at + 16) == meta.value("name", "");
}

void FakeApiServer::list(const std::shared_ptr<Exchange>& exchange, const Place& place,
                         const std::string& query) {
  std::string limit_text = query_value(query, "limit");
  std::size_t limit = limit_text.empty() ? SIZE_MAX : std::stoul(limit_text);
  std::string from = query_value(query, "continue");
  json items = json::array();
  std::string next;
  for (const auto& [key, object] : objects_[place.collection]) {
    if (!wanted(object, place, query)) {
      continue;
    }
    std::string hex;  // a token without characters that would need escapes
    for (char c : key) {
      hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    }
    if (!from.empty() && hex < from) {
      continue;
    }
    if (items.size() == limit) {
      next = hex;
      break;
    }
    items.push_back(object);
  }
  json meta{{"resourceVersion", std::to_string(version_)}};
  if (!next.empty()) {
    meta["continue"] = next;
  }
  answer(exchange, 200, {{"kind", "List"}, {"metadata", meta}, {"items", std::move(items)}});
}

void FakeApiServer::watch(const std::shared_ptr<Exchange>& exchange, const Place& place,
                          const std::string& query) {
  exchange->place = place;
  exchange->query = query;
  kube::HttpHead head{.status = 200, .headers = {{"content-type", "application/json"}}};
  exchange->events.on_head(head);
  std::uint64_t from = std::stoull(query_value(query, "resourceVersion"));
  for (const Change& change : std::vector<Change>(history_)) {
    if (change.version > from && change.collection == place.collection &&
        wanted(change.object, place, query) && !exchange->cancelled) {
      exchange->events.on_data(json{{"type", change.type}, {"object", change.object}}.dump() +
                               "\n");
    }
  }
  watches_.push_back(exchange);
}

void FakeApiServer::changed(const char* type, const std::string& collection, const json& object) {
  history_.push_back({version_, type, collection, object});
  std::erase_if(watches_, [](const auto& watch) { return watch->cancelled; });
  for (const auto& watch : watches_) {
    if (watch->place.collection != collection || !wanted(object, watch->place, watch->query)) {
      continue;
    }
    std::string line = json{{"type", type}, {"object", object}}.dump() + "\n";
    watch->loop.post([watch, line = std::move(line)] {
      if (!watch->cancelled && watch->events.on_data) {
        watch->events.on_data(line);
      }
    });
  }
}

void FakeApiServer::put(const std::string& collection, json object) {
  auto& of = objects_[collection];
  std::string key = key_of(object);
  auto found = of.find(key);
  json& meta = object["metadata"];
  meta["resourceVersion"] = std::to_string(++version_);
  if (found == of.end()) {
    if (!meta.contains("uid")) {
      meta["uid"] = fmt::format("uid-{}", version_);
    }
    meta["generation"] = 1;
    if (!meta.contains("creationTimestamp")) {
      meta["creationTimestamp"] = format_rfc3339(clock_.now());
    }
  } else {
    const json& before = found->second;
    std::int64_t generation = before["metadata"].value("generation", std::int64_t{1});
    bool same = before.value("spec", json()) == object.value("spec", json());
    meta["generation"] = same ? generation : generation + 1;
    for (const char* member : {"uid", "creationTimestamp"}) {
      if (!meta.contains(member)) {
        meta[member] = before["metadata"][member];
      }
    }
  }
  of[key] = object;
  changed(found == of.end() ? "ADDED" : "MODIFIED", collection, object);
}

void FakeApiServer::remove(const std::string& collection, const std::string& name_space,
                           const std::string& name) {
  auto& of = objects_[collection];
  auto found = of.find(name_space.empty() ? name : name_space + "/" + name);
  if (found != of.end()) {
    json object = std::move(found->second);
    of.erase(found);
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    changed("DELETED", collection, object);
  }
}

json FakeApiServer::get(const std::string& collection, const std::string& name_space,
                        const std::string& name) const {
  auto of = objects_.find(collection);
  if (of == objects_.end()) {
    return {};
  }
  auto found = of->second.find(name_space.empty() ? name : name_space + "/" + name);
  return found == of->second.end() ? json() : found->second;
}

std::vector<json> FakeApiServer::all(const std::string& collection) const {
  std::vector<json> out;
  if (auto of = objects_.find(collection); of != objects_.end()) {
    for (const auto& [key, object] : of->second) {
      out.push_back(object);
    }
  }
  return out;
}

namespace {

// Strategic merge of lists of objects with names, as webhooks are; everything else as RFC 7386.
void merge(json& to, const json& patch, bool strategic) {
  for (const auto& [name, value] : patch.items()) {
    if (strategic && value.is_array() && to.contains(name)) {
      for (const json& item : value) {
        for (json& old : to[name]) {
          if (old.value("name", "") == item.value("name", "?")) {
            merge(old, item, true);
          }
        }
      }
    } else if (value.is_object() && to.contains(name) && to[name].is_object()) {
      merge(to[name], value, strategic);
    } else if (value.is_null()) {
      to.erase(name);
    } else {
      to[name] = value;
    }
  }
}

}  // namespace

void FakeApiServer::write(const std::shared_ptr<Exchange>& exchange, const Place& place) {
  const std::string& method = exchange->request.method;
  json body = json::parse(exchange->request.body, nullptr, false);
  if (method == "POST") {
    if (!place.name_space.empty()) {
      body["metadata"]["namespace"] = place.name_space;
    }
    if (body["metadata"].value("name", "").empty()) {
      body["metadata"]["name"] = fmt::format("generated-{}", version_ + 1);
    }
    std::string key = key_of(body);
    if (objects_[place.collection].contains(key)) {
      answer(exchange, 409, {{"kind", "Status"}, {"code", 409}, {"reason", "AlreadyExists"}});
      return;
    }
    put(place.collection, body);
    answer(exchange, 201, objects_[place.collection][key]);
    return;
  }
  json object = get(place.collection, place.name_space, place.name);
  if (object.is_null()) {
    answer(exchange, 404, {{"kind", "Status"}, {"code", 404}, {"reason", "NotFound"}});
    return;
  }
  if (method == "PATCH") {
    bool strategic = std::ranges::any_of(exchange->request.headers, [](const auto& header) {
      return header.value.contains("strategic");
    });
    merge(object, body, strategic);
  } else if (method == "PUT") {
    object = body;
  } else {
    remove(place.collection, place.name_space, place.name);
    answer(exchange, 200, object);
    return;
  }
  put(place.collection, object);
  answer(exchange, 200, get(place.collection, place.name_space, place.name));
}

void FakeApiServer::cut_watches() {
  for (const auto& watch : std::exchange(watches_, {})) {
    watch->loop.post([watch] {
      if (!watch->cancelled && watch->events.on_end) {
        auto end = std::move(watch->events.on_end);
        end(unavailable("connection reset by peer"));
      }
    });
  }
}

int FakeApiServer::count(const std::string& method, const std::string& path) const {
  int out = 0;
  for (const auto& [key, times] : counts_) {
    out += key.starts_with(method + " " + path) ? times : 0;
  }
  return out;
}

}  // namespace steeple::controller
