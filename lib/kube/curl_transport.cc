// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/curl_transport.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "lib/base/check.h"
#include "lib/io/asio_loop.h"
#include "lib/kube/curl_transfer.h"

namespace steeple::kube {
namespace {

constexpr long kConnectionsKept = 8;
constexpr long kConnectionsMax = 64;  // more requests at once wait for their turn

}  // namespace

struct CurlTransport::State : std::enable_shared_from_this<CurlTransport::State> {
  explicit State(io::AsioLoop& on) : loop(on), timer(on) {}
  ~State() {
    if (multi == nullptr) {
      return;
    }
    closing = true;
    for (const auto& transfer : running) {
      curl->multi_remove_handle(multi, transfer->handle());
    }
    curl->multi_cleanup(multi);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Result<void> open() {
    const Result<CurlLibrary>& library = curl_library();
    if (!library.ok()) {
      return library.error();
    }
    if (multi != nullptr) {
      return {};
    }
    curl = &*library;
    multi = curl->multi_init();
    if (multi == nullptr) {
      return resource_exhausted("libcurl has no memory");
    }
    curl->multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &State::socket_news);
    curl->multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
    curl->multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &State::timer_news);
    curl->multi_setopt(multi, CURLMOPT_TIMERDATA, this);
    curl->multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, kConnectionsMax);
    curl->multi_setopt(multi, CURLMOPT_MAXCONNECTS, kConnectionsKept);
    return {};
  }

  static int socket_news(CURL*, curl_socket_t fd, int what, void* target, void*) {
    auto* self = static_cast<State*>(target);
    if (what == CURL_POLL_REMOVE) {
      self->watches.erase(fd);
      return 0;
    }
    if (self->closing) {
      return 0;
    }
    auto& watch = self->watches[fd];
    if (!watch) {
      watch = self->loop.watch(fd);
      watch->on_ready([weak = self->weak_from_this(), fd](bool readable, bool writable) {
        if (auto state = weak.lock()) {
          state->act(fd, (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0));
        }
      });
    }
    watch->interest((what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0);
    return 0;
  }

  static int timer_news(CURLM*, long ms, void* target) {
    auto* self = static_cast<State*>(target);
    if (ms < 0 || self->closing) {
      self->timer.cancel();
    } else {
      self->timer.start(std::chrono::milliseconds(ms), [weak = self->weak_from_this()] {
        if (auto state = weak.lock()) {
          state->act(CURL_SOCKET_TIMEOUT, 0);
        }
      });
    }
    return 0;
  }

  void act(curl_socket_t fd, int mask) {
    int still_running = 0;
    curl->multi_socket_action(multi, fd, mask, &still_running);
    int left = 0;
    while (CURLMsg* message = curl->multi_info_read(multi, &left)) {
      if (message->msg == CURLMSG_DONE) {
        done(message->easy_handle, message->data.result);
      }
    }
    tell();
  }

  void done(CURL* handle, CURLcode code) {
    CurlTransfer* transfer = nullptr;
    curl->easy_getinfo(handle, CURLINFO_PRIVATE, &transfer);
    curl->multi_remove_handle(multi, handle);
    transfer->ended(code);
    note(*transfer);
    std::erase_if(running, [&](const auto& other) { return other.get() == transfer; });
  }

  void note(CurlTransfer& transfer) {
    for (const auto& other : running) {
      if (other.get() == &transfer && std::ranges::find(news, other) == news.end()) {
        news.push_back(other);
      }
    }
  }

  void tell() {
    auto self = shared_from_this();
    auto told = std::exchange(news, {});
    for (const auto& transfer : told) {
      transfer->tell();
    }
  }

  void remove(const std::shared_ptr<CurlTransfer>& transfer) {
    transfer->cancel();
    if (std::erase(running, transfer) > 0) {
      curl->multi_remove_handle(multi, transfer->handle());
    }
  }

  io::AsioLoop& loop;
  const CurlLibrary* curl = nullptr;
  CURLM* multi = nullptr;
  bool closing = false;
  io::Timer timer;
  std::map<curl_socket_t, std::unique_ptr<io::FdWatch>> watches;
  std::vector<std::shared_ptr<CurlTransfer>> running;  // in the multi handle
  std::vector<std::shared_ptr<CurlTransfer>> news;     // have something to tell
};

namespace {

template <class State>
class CurlCall final : public Call {
 public:
  CurlCall(std::weak_ptr<State> state, std::shared_ptr<CurlTransfer> transfer)
      : state_(std::move(state)), transfer_(std::move(transfer)) {}
  ~CurlCall() override {
    if (auto state = state_.lock()) {
      state->remove(transfer_);
    }
  }

 private:
  std::weak_ptr<State> state_;
  std::shared_ptr<CurlTransfer> transfer_;
};

// What could not even begin; its end is told on the next turn.
class FailedCall final : public Call {
 public:
  explicit FailedCall(std::shared_ptr<HttpEvents> events) : events_(std::move(events)) {}

 private:
  std::shared_ptr<HttpEvents> events_;
};

}  // namespace

CurlTransport::CurlTransport(io::Loop& loop) {
  auto* real = dynamic_cast<io::AsioLoop*>(&loop);
  CHECK(real != nullptr);
  state_ = std::make_shared<State>(*real);
}

CurlTransport::~CurlTransport() = default;

CallPtr CurlTransport::start(HttpRequest request, HttpEvents events) {
  auto fail = [this](HttpEvents those, Error error) {
    auto shared = std::make_shared<HttpEvents>(std::move(those));
    state_->loop.post([weak = std::weak_ptr(shared), error = std::move(error)]() mutable {
      if (auto alive = weak.lock()) {
        auto on_end = std::move(alive->on_end);
        on_end(std::move(error));
      }
    });
    return std::make_unique<FailedCall>(std::move(shared));
  };
  if (Result<void> opened = state_->open(); !opened.ok()) {
    return fail(std::move(events), std::move(opened.error()));
  }
  auto transfer =
      std::make_shared<CurlTransfer>(*state_->curl, std::move(request), std::move(events),
                                     [state = state_.get()](CurlTransfer& it) { state->note(it); });
  Result<void> prepared = transfer->prepare();
  if (prepared.ok()) {
    state_->running.push_back(transfer);
    if (state_->curl->multi_add_handle(state_->multi, transfer->handle()) == CURLM_OK) {
      return std::make_unique<CurlCall<State>>(state_, std::move(transfer));
    }
    state_->running.pop_back();
    prepared = internal("libcurl refuses a request");
  }
  state_->loop.post([weak = std::weak_ptr(transfer), error = prepared.error()]() mutable {
    if (auto alive = weak.lock()) {
      alive->ended(std::move(error));
      alive->tell();
    }
  });
  return std::make_unique<CurlCall<State>>(state_, std::move(transfer));
}

}  // namespace steeple::kube
