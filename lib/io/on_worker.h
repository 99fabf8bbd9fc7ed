// SPDX-License-Identifier: Apache-2.0

// Work on a worker, its result back on the loop: the one way in which loop objects do what blocks.
// `work` must own whatever it touches (it may outlive the caller); `then` runs on the loop, unless
// the owner has gone by then, and is never destroyed on the worker.

#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "lib/io/loop.h"
#include "lib/io/workers.h"

namespace steeple::io {

// work: () -> Result<T>; then: (Result<T>) -> void. A full queue is `then` with its error, later.
// On the loop.
template <class Work, class Then>
void on_worker(Workers& workers, Loop& loop, std::weak_ptr<const void> owner, Work work,
               Then then) {
  using Outcome = std::invoke_result_t<Work&>;
  auto shared_then = std::make_shared<Then>(std::move(then));
  Result<void> accepted =
      workers.submit([&loop, owner, work = std::move(work), shared_then]() mutable {
        loop.post([owner = std::move(owner), shared_then = std::move(shared_then),
                   outcome = Outcome(work())]() mutable {
          if (auto alive = owner.lock()) {
            (*shared_then)(std::move(outcome));
          }
        });
      });
  if (!accepted.ok()) {
    loop.post([owner = std::move(owner), shared_then = std::move(shared_then),
               error = std::move(accepted.error())]() mutable {
      if (auto alive = owner.lock()) {
        (*shared_then)(Outcome(std::move(error)));
      }
    });
  }
}

}  // namespace steeple::io
