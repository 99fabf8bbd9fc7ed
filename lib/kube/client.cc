// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/client.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "lib/base/check.h"
#include "lib/kube/array_reader.h"
#include "lib/kube/exchange.h"

namespace steeple::kube {
namespace {

using nlohmann::json;

constexpr std::string_view kListMetadata =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
constexpr std::string_view kWatchMetadata =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
constexpr auto kWatchGrace = std::chrono::seconds(30);  // beyond what the server was asked for

class Query {
 public:
  void add(std::string_view name, std::string_view value) {
    if (!value.empty()) {
      text_ += fmt::format("{}{}={}", text_.empty() ? '?' : '&', name, percent_encode(value));
    }
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string write_query(const WriteOptions& options) {
  Query query;
  query.add("fieldManager", options.field_manager);
  query.add("dryRun", options.dry_run ? "All" : "");
  return query.text();
}

Result<Bytes> dump(const json& value) {
  try {
    return value.dump();
  } catch (const std::exception& error) {
    return invalid_argument(fmt::format("object is not valid JSON: {}", error.what()));
  }
}

std::string_view content_type(PatchType type) {
  switch (type) {
    case PatchType::kMerge:
      return "application/merge-patch+json";
    case PatchType::kJson:
      return "application/json-patch+json";
    case PatchType::kStrategic:
      return "application/strategic-merge-patch+json";
    case PatchType::kApply:
      return "application/apply-patch+yaml";
  }
  return {};
}

// Keeps a whole body up to the limit and gives it at the end.
struct Collector {
  Bytes body;

  static ExchangeEvents events(std::move_only_function<void(Result<Bytes>)> handler) {
    auto self = std::make_shared<Collector>();
    return {.on_body = [self](ByteView bytes) -> Result<void> {
              if (self->body.size() + bytes.size() > kObjectBytesMax) {
                return resource_exhausted(
                    fmt::format("the answer is larger than {} bytes", kObjectBytesMax));
              }
              self->body += bytes;
              return {};
            },
            .on_end =
                [self, handler = std::move(handler)](Result<void> how) mutable {
                  if (how.ok()) {
                    handler(std::move(self->body));
                  } else {
                    handler(std::move(how.error()));
                  }
                }};
  }
};

ExchangeEvents one_object(ObjectHandler handler) {
  return Collector::events([handler = std::move(handler)](Result<Bytes> body) mutable {
    if (!body.ok()) {
      handler(std::move(body.error()));
      return;
    }
    Result<json> object = parse_object(*body).during("answer of the API server");
    if (object.ok()) {
      handler(std::make_shared<const json>(std::move(*object)));
    } else {
      handler(std::move(object.error()));
    }
  });
}

// Cuts a watch stream into lines and reads each.
class WatchReader {
 public:
  explicit WatchReader(std::function<void(WatchEvent, const json&)> on_event)
      : on_event_(std::move(on_event)) {}

  // `alive` is asked before each event: a handler may have cancelled us.
  Result<void> feed(ByteView bytes, const std::function<bool()>& alive) {
    while (!bytes.empty() && alive()) {
      std::size_t newline = bytes.find('\n');
      std::string_view part = bytes.substr(0, newline);
      if (line_.size() + part.size() > kObjectBytesMax) {
        return resource_exhausted(
            fmt::format("a watch event is larger than {} bytes", kObjectBytesMax));
      }
      if (newline == std::string_view::npos) {
        line_ += part;
        return {};
      }
      bytes.remove_prefix(newline + 1);
      if (!line_.empty()) {
        line_ += part;
        part = line_;
      }
      TRY(parse_watch_line(part, on_event_));
      line_.clear();
    }
    return {};
  }

 private:
  const std::function<void(WatchEvent, const json&)> on_event_;
  std::string line_;  // as far as it came
};

// One list: page after page until there is no continue token.
class Lister final : public std::enable_shared_from_this<Lister> {
 public:
  Lister(ExchangeContext context, std::string path, ListOptions options, ListHandlers handlers)
      : context_(std::move(context)),
        path_(std::move(path)),
        options_(std::move(options)),
        handlers_(std::move(handlers)) {}

  void next_page() {
    Query query;
    query.add("labelSelector", options_.label_selector);
    query.add("fieldSelector", options_.field_selector);
    query.add("limit", options_.page == 0 ? "" : std::to_string(options_.page));
    query.add("continue", continue_);
    // A handler may end the list, and us with it: `weak` tells.
    std::weak_ptr<Lister> weak = weak_from_this();
    reader_ = std::make_shared<ArrayReader>("items", [weak](const json& item) -> Result<void> {
      auto self = weak.lock();
      if (!self || self->cancelled_) {
        return cancelled("the list was given up");
      }
      self->handlers_.on_item(item);
      return {};
    });
    HttpRequest request{.method = "GET", .url = path_ + query.text()};
    if (options_.metadata_only) {
      request.headers.push_back({"accept", std::string(kListMetadata)});
    }
    auto reader = reader_;
    call_ = start_exchange(context_, std::move(request),
                           {.on_body = [reader](ByteView bytes) { return reader->feed(bytes); },
                            .on_end =
                                [weak](Result<void> how) {
                                  if (auto self = weak.lock(); self && !self->cancelled_) {
                                    self->page_ended(std::move(how));
                                  }
                                }});
  }
  void cancel() {
    cancelled_ = true;
    call_.reset();
  }

 private:
  void page_ended(Result<void> how) {
    if (!how.ok()) {
      if (is_gone(how.error()) && !continue_.empty()) {
        restart();
      } else {
        handlers_.on_done(std::move(how.error()));
      }
      return;
    }
    Result<json> rest = reader_->finish().during("list");
    if (!rest.ok()) {
      handlers_.on_done(std::move(rest.error()));
      return;
    }
    std::string token = string_at(*rest, {"metadata", "continue"});
    if (token.empty()) {
      handlers_.on_done(string_at(*rest, {"metadata", "resourceVersion"}));
    } else if (token == continue_) {
      handlers_.on_done(internal("list: the server gave the same continue token twice"));
    } else {
      continue_ = std::move(token);
      next_page();
    }
  }

  // The second time in one piece: pages that took too long once would again.
  void restart() {
    continue_.clear();
    options_.page = 0;
    if (handlers_.on_restart) {
      handlers_.on_restart();
    }
    if (!cancelled_) {
      next_page();
    }
  }

  const ExchangeContext context_;
  const std::string path_;
  ListOptions options_;
  ListHandlers handlers_;
  std::string continue_;
  std::shared_ptr<ArrayReader> reader_;
  CallPtr call_;
  bool cancelled_ = false;
};

class ListCall final : public Call {
 public:
  explicit ListCall(std::shared_ptr<Lister> lister) : lister_(std::move(lister)) {}
  ~ListCall() override { lister_->cancel(); }

 private:
  std::shared_ptr<Lister> lister_;
};

Result<void> check_name(const Target& target) {
  return target.name.empty() ? Result<void>(invalid_argument("the object's name is missing"))
                             : Result<void>();
}

}  // namespace

Result<void> parse_watch_line(std::string_view line,
                              const std::function<void(WatchEvent, const json&)>& on_event) {
  if (line.empty() || line == "\r") {
    return {};
  }
  const json event = TRY(parse_object(line, kObjectBytesMax, false).during("watch"));
  std::string_view type = view_at(event, {"type"});
  const json* object = find(event, {"object"});
  if (object == nullptr || !object->is_object()) {
    return invalid_argument("watch: an event without object");
  }
  if (type == "ERROR") {
    return api_error(ApiStatus{.code = static_cast<int>(integer_at(*object, {"code"}, 500)),
                               .reason = string_at(*object, {"reason"}),
                               .message = string_at(*object, {"message"})});
  }
  constexpr std::pair<std::string_view, WatchEvent> kTypes[] = {
      {"ADDED", WatchEvent::kAdded},
      {"MODIFIED", WatchEvent::kModified},
      {"DELETED", WatchEvent::kDeleted},
      {"BOOKMARK", WatchEvent::kBookmark}};
  for (const auto& [name, value] : kTypes) {
    if (name == type) {
      on_event(value, *object);
      return {};
    }
  }
  return invalid_argument("watch: an event of unknown type");
}

struct Client::State {
  ExchangeContext context;

  // The request with the target's path, or its refusal as the exchange's end.
  CallPtr send(Result<HttpRequest> request, ExchangeEvents events) {
    if (!request.ok()) {
      return fail_exchange(context, std::move(request.error()), std::move(events));
    }
    return start_exchange(context, std::move(*request), std::move(events));
  }

  static Result<HttpRequest> with_body(std::string method, const Target& target,
                                       const std::string& query, const json& body,
                                       std::string_view type) {
    HttpRequest request{.method = std::move(method), .url = {}};
    request.url = TRY(target_path(target)) + query;
    request.headers.push_back({"content-type", std::string(type)});
    request.body = TRY(dump(body));
    return request;
  }
};

Client::Client(Deps deps, ClientOptions options)
    : state_(std::make_shared<State>(
          ExchangeContext{deps.loop, deps.transport, deps.access, std::move(options)})) {}

Client::~Client() = default;

io::Loop& Client::loop() { return state_->context.loop; }

CallPtr Client::get(const Target& target, ObjectHandler handler) {
  auto request = [&]() -> Result<HttpRequest> {
    TRY(check_name(target));
    std::string url = TRY(target_path(target));
    return HttpRequest{.method = "GET", .url = std::move(url)};
  };
  return state_->send(request(), one_object(std::move(handler)));
}

CallPtr Client::create(const Target& target, const json& object, const WriteOptions& options,
                       ObjectHandler handler) {
  auto request = [&]() -> Result<HttpRequest> {
    Target where = target;
    if (where.subresource.empty()) {
      where.name.clear();
      if (where.resource.namespaced && where.name_space.empty()) {
        return invalid_argument("the namespace is missing");
      }
    }
    return State::with_body("POST", where, write_query(options), object, "application/json");
  };
  return state_->send(request(), one_object(std::move(handler)));
}

CallPtr Client::update(const Target& target, const json& object, const WriteOptions& options,
                       ObjectHandler handler) {
  auto request = [&]() -> Result<HttpRequest> {
    TRY(check_name(target));
    return State::with_body("PUT", target, write_query(options), object, "application/json");
  };
  return state_->send(request(), one_object(std::move(handler)));
}

CallPtr Client::patch(const Target& target, const json& patch, const PatchOptions& options,
                      ObjectHandler handler) {
  auto request = [&]() -> Result<HttpRequest> {
    TRY(check_name(target));
    if (options.type == PatchType::kApply && options.field_manager.empty()) {
      return invalid_argument("server-side apply needs a field manager");
    }
    Query query;
    query.add("fieldManager", options.field_manager);
    query.add("force", options.force && options.type == PatchType::kApply ? "true" : "");
    query.add("dryRun", options.dry_run ? "All" : "");
    return State::with_body("PATCH", target, query.text(), patch, content_type(options.type));
  };
  return state_->send(request(), one_object(std::move(handler)));
}

CallPtr Client::remove(const Target& target, const DeleteOptions& options, ObjectHandler handler) {
  auto request = [&]() -> Result<HttpRequest> {
    TRY(check_name(target));
    json body = {{"apiVersion", "v1"}, {"kind", "DeleteOptions"}};
    if (!options.uid.empty()) {
      body["preconditions"]["uid"] = options.uid;
    }
    if (!options.resource_version.empty()) {
      body["preconditions"]["resourceVersion"] = options.resource_version;
    }
    if (options.grace_period_seconds) {
      body["gracePeriodSeconds"] = *options.grace_period_seconds;
    }
    if (!options.propagation_policy.empty()) {
      body["propagationPolicy"] = options.propagation_policy;
    }
    return State::with_body("DELETE", target, "", body, "application/json");
  };
  return state_->send(request(), one_object(std::move(handler)));
}

CallPtr Client::list(const Target& collection, ListOptions options, ListHandlers handlers) {
  Target where = collection;
  where.name.clear();
  Result<std::string> path = target_path(where);
  if (!path.ok()) {
    return fail_exchange(
        state_->context, std::move(path.error()),
        {.on_body = {}, .on_end = [done = std::move(handlers.on_done)](Result<void> how) mutable {
           done(std::move(how.error()));
         }});
  }
  auto lister = std::make_shared<Lister>(state_->context, std::move(*path), std::move(options),
                                         std::move(handlers));
  lister->next_page();
  return std::make_unique<ListCall>(std::move(lister));
}

CallPtr Client::watch(const Target& collection, const WatchOptions& options,
                      WatchHandlers handlers) {
  auto request = [&]() -> Result<HttpRequest> {
    Target where = collection;
    where.name.clear();
    Query query;
    query.add("watch", "true");
    query.add("allowWatchBookmarks", "true");
    query.add("labelSelector", options.label_selector);
    query.add("fieldSelector", options.field_selector);
    query.add("resourceVersion", options.resource_version);
    query.add("timeoutSeconds",
              std::to_string(std::chrono::ceil<std::chrono::seconds>(options.timeout).count()));
    HttpRequest out{.method = "GET", .url = {}};
    out.url = TRY(target_path(where)) + query.text();
    if (options.metadata_only) {
      out.headers.push_back({"accept", std::string(kWatchMetadata)});
    }
    out.timeout = options.timeout + kWatchGrace;
    return out;
  };
  auto reader = std::make_shared<WatchReader>(std::move(handlers.on_event));
  return state_->send(request(),
                      {.on_body = {},
                       .on_end = std::move(handlers.on_done),
                       .on_stream = [reader](ByteView bytes, const std::function<bool()>& alive) {
                         return reader->feed(bytes, alive);
                       }});
}

CallPtr Client::raw(std::string method, std::string path, Bytes body,
                    std::move_only_function<void(Result<Bytes>)> handler) {
  HttpRequest request{.method = std::move(method), .url = std::move(path)};
  request.body = std::move(body);
  if (!request.body.empty()) {
    request.headers.push_back({"content-type", "application/json"});
  }
  return state_->send(std::move(request), Collector::events(std::move(handler)));
}

CallPtr Client::stream(std::string path, std::function<Result<void>(ByteView)> on_data,
                       std::move_only_function<void(Result<void>)> on_done) {
  return state_->send(HttpRequest{.method = "GET", .url = std::move(path)},
                      {.on_body = std::move(on_data), .on_end = std::move(on_done)});
}

}  // namespace steeple::kube
