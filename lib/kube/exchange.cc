// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/exchange.h"

#include <algorithm>
#include <utility>

namespace steeple::kube {
namespace {

constexpr std::size_t kRefusalBytesMax = std::size_t{64} << 10;

class Exchange final : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(const ExchangeContext& context, HttpRequest request, ExchangeEvents events)
      : loop_(context.loop),
        transport_(context.transport),
        access_(context.access),
        user_agent_(context.options.user_agent),
        request_(std::move(request)),
        events_(std::move(events)) {
    // Watches bring a time of their own.
    if (request_.timeout == HttpRequest{}.timeout) {
      request_.timeout = context.options.timeout;
    }
  }

  void begin() {
    Result<Credential> credential = access_.credential();
    if (!credential.ok()) {
      fail(std::move(credential.error()).during("credentials for the API server"));
      return;
    }
    HttpRequest request = request_;
    request.url = access_.server() + request.url;
    request.tls = credential->tls;
    auto named = [&request](std::string_view name) {
      return std::ranges::any_of(request.headers,
                                 [&](const HttpHeader& header) { return header.name == name; });
    };
    if (!named("accept")) {
      request.headers.push_back({"accept", "application/json"});
    }
    request.headers.push_back({"user-agent", user_agent_});
    if (!credential->authorization.empty()) {
      request.headers.push_back({"authorization", credential->authorization});
    }
    std::weak_ptr<Exchange> weak = weak_from_this();
    call_ = transport_.start(std::move(request),
                             {.on_head =
                                  [weak](const HttpHead& head) {
                                    if (auto self = weak.lock()) {
                                      self->head_ = head;
                                    }
                                  },
                              .on_data =
                                  [weak](ByteView bytes) {
                                    if (auto self = weak.lock(); self && !self->over_) {
                                      self->body(bytes);
                                    }
                                  },
                              .on_end =
                                  [weak](Result<void> how) {
                                    if (auto self = weak.lock(); self && !self->over_) {
                                      self->ended(std::move(how));
                                    }
                                  }});
  }

  // `on_end` follows on the next turn.
  void fail(Error error) {
    loop_.post([weak = weak_from_this(), error = std::move(error)]() mutable {
      if (auto self = weak.lock(); self && !self->over_) {
        self->finish(std::move(error));
      }
    });
  }

  void cancel() {
    over_ = true;
    call_.reset();
  }

 private:
  bool success() const { return head_.status >= 200 && head_.status < 300; }

  void body(ByteView bytes) {
    if (!success()) {
      refusal_ += bytes.substr(0, kRefusalBytesMax - std::min(refusal_.size(), kRefusalBytesMax));
      return;
    }
    Result<void> taken = events_.on_stream ? events_.on_stream(bytes, [this] { return !over_; })
                                           : events_.on_body(bytes);
    if (!taken.ok() && !over_) {
      finish(std::move(taken));
    }
  }

  void ended(Result<void> how) {
    if (!how.ok()) {
      finish(std::move(how).during("API server"));
    } else if (success()) {
      finish({});
    } else if (head_.status == 401 && !std::exchange(retried_, true) && access_.refused()) {
      head_ = {};
      refusal_.clear();
      begin();
    } else {
      finish(api_error(head_, refusal_));
    }
  }

  void finish(Result<void> how) {
    over_ = true;
    auto on_end = std::move(events_.on_end);
    call_.reset();
    on_end(std::move(how));
  }

  io::Loop& loop_;
  Transport& transport_;
  Access& access_;
  const std::string user_agent_;
  HttpRequest request_;
  ExchangeEvents events_;
  HttpHead head_;
  std::string refusal_;
  bool retried_ = false;
  bool over_ = false;
  CallPtr call_;
};

class ExchangeCall final : public Call {
 public:
  explicit ExchangeCall(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~ExchangeCall() override { exchange_->cancel(); }

 private:
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace

CallPtr start_exchange(const ExchangeContext& context, HttpRequest request, ExchangeEvents events) {
  auto exchange = std::make_shared<Exchange>(context, std::move(request), std::move(events));
  exchange->begin();
  return std::make_unique<ExchangeCall>(std::move(exchange));
}

CallPtr fail_exchange(const ExchangeContext& context, Error error, ExchangeEvents events) {
  auto exchange = std::make_shared<Exchange>(context, HttpRequest{}, std::move(events));
  exchange->fail(std::move(error));
  return std::make_unique<ExchangeCall>(std::move(exchange));
}

}  // namespace steeple::kube
