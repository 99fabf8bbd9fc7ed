// SPDX-License-Identifier: Apache-2.0

#include "lib/io/worker_pool.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace steeple::io {

struct WorkerPool::State {
  explicit State(Options chosen) : options(chosen) {}

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      while (queue.empty() && !closing) {
        ++idle;
        wake.wait(lock);
        --idle;
        waking = false;
      }
      if (queue.empty()) {
        return;
      }
      Task task = std::move(queue.front());
      queue.pop_front();
      bool call_another = !queue.empty() && wants_wake();
      lock.unlock();
      if (call_another) {
        wake.notify_one();
      }
      task();
      task = nullptr;  // what it owns goes before we wait, and outside the lock
      lock.lock();
    }
  }

  // Under the lock: is it for the caller to wake a worker? One is on its way at a time, and wakes
  // the next when there is more to do; waking one for each of many short tasks costs more than the
  // tasks.
  bool wants_wake() { return idle > 0 && !std::exchange(waking, true); }

  const Options options;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Task> queue;
  std::size_t idle = 0;  // workers that wait
  bool waking = false;   // one of them has been told and has not come yet
  bool closing = false;
  std::vector<std::thread> threads;
};

WorkerPool::WorkerPool(Options options) : state_(std::make_unique<State>(options)) {
  CHECK(options.threads > 0);
  for (std::size_t i = 0; i < options.threads; ++i) {
    state_->threads.emplace_back([state = state_.get()] { state->work(); });
    pthread_setname_np(state_->threads.back().native_handle(), fmt::format("worker-{}", i).c_str());
  }
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->closing = true;
  }
  state_->wake.notify_all();
  for (std::thread& thread : state_->threads) {
    thread.join();
  }
}

Result<void> WorkerPool::submit(Task task) {
  bool call_one = false;
  {
    std::lock_guard lock(state_->mutex);
    if (state_->queue.size() >= state_->options.queue_max) {
      return resource_exhausted("worker queue is full");
    }
    state_->queue.push_back(std::move(task));
    call_one = state_->wants_wake();
  }
  if (call_one) {
    state_->wake.notify_one();
  }
  return {};
}

}  // namespace steeple::io
