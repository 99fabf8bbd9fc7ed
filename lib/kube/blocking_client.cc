// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/blocking_client.h"

#include <future>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/base/check.h"

namespace steeple::kube {
namespace {

// What the caller and the loop share. The caller may have gone by the deadline: then the call is
// dropped on the loop, and whoever comes last frees this.
template <class T>
struct Rendezvous {
  std::promise<Result<T>> promise;
  CallPtr call;  // on the loop
  bool over = false;
};

// start: (handler) -> CallPtr, on the loop.
template <class T, class Start>
Result<T> wait_for(io::Loop& loop, Duration deadline, Start start) {
  CHECK(!loop.on_loop());
  auto shared = std::make_shared<Rendezvous<T>>();
  std::future<Result<T>> answer = shared->promise.get_future();
  loop.post([shared, start = std::move(start)]() mutable {
    shared->call = start([weak = std::weak_ptr(shared)](Result<T> result) {
      if (auto self = weak.lock(); self && !std::exchange(self->over, true)) {
        self->promise.set_value(std::move(result));
      }
    });
  });
  auto drop = [&loop, &shared] {
    loop.post([shared = std::move(shared)] {
      shared->over = true;
      shared->call.reset();
    });
  };
  bool ready = answer.wait_for(deadline) == std::future_status::ready;
  drop();
  if (!ready) {
    return deadline_exceeded("the API server did not answer in time");
  }
  return answer.get();
}

}  // namespace

BlockingClient::BlockingClient(Client& client, Duration deadline)
    : client_(client), deadline_(deadline) {}

// The loop may run a call after its caller gave up, so that each takes copies of what it needs.

Result<ObjectPtr> BlockingClient::get(const Target& target) {
  return wait_for<ObjectPtr>(client_.loop(), deadline_,
                             [&client = client_, target](ObjectHandler handler) {
                               return client.get(target, std::move(handler));
                             });
}

Result<ObjectPtr> BlockingClient::create(const Target& target, const nlohmann::json& object,
                                         const WriteOptions& options) {
  return wait_for<ObjectPtr>(client_.loop(), deadline_,
                             [&client = client_, target, object, options](ObjectHandler handler) {
                               return client.create(target, object, options, std::move(handler));
                             });
}

Result<ObjectPtr> BlockingClient::update(const Target& target, const nlohmann::json& object,
                                         const WriteOptions& options) {
  return wait_for<ObjectPtr>(client_.loop(), deadline_,
                             [&client = client_, target, object, options](ObjectHandler handler) {
                               return client.update(target, object, options, std::move(handler));
                             });
}

Result<ObjectPtr> BlockingClient::patch(const Target& target, const nlohmann::json& patch,
                                        const PatchOptions& options) {
  return wait_for<ObjectPtr>(client_.loop(), deadline_,
                             [&client = client_, target, patch, options](ObjectHandler handler) {
                               return client.patch(target, patch, options, std::move(handler));
                             });
}

Result<ObjectPtr> BlockingClient::remove(const Target& target, const DeleteOptions& options) {
  return wait_for<ObjectPtr>(client_.loop(), deadline_,
                             [&client = client_, target, options](ObjectHandler handler) {
                               return client.remove(target, options, std::move(handler));
                             });
}

Result<std::string> BlockingClient::list(const Target& collection, const ListOptions& options,
                                         std::function<void(const nlohmann::json&)> on_item,
                                         std::function<void()> on_restart) {
  using Handler = std::move_only_function<void(Result<std::string>)>;
  return wait_for<std::string>(
      client_.loop(), deadline_,
      [&client = client_, collection, options, on_item = std::move(on_item),
       on_restart = std::move(on_restart)](Handler handler) {
        return client.list(
            collection, options,
            {.on_item = on_item, .on_restart = on_restart, .on_done = std::move(handler)});
      });
}

Result<TokenReview> BlockingClient::review_token(const std::string& token,
                                                 const std::vector<std::string>& audiences) {
  using Handler = std::move_only_function<void(Result<TokenReview>)>;
  return wait_for<TokenReview>(
      client_.loop(), deadline_, [&client = client_, token, audiences](Handler handler) {
        return kube::review_token(client, token, audiences, std::move(handler));
      });
}

}  // namespace steeple::kube
