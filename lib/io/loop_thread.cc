// SPDX-License-Identifier: Apache-2.0

#include "lib/io/loop_thread.h"

#include <pthread.h>
#include <signal.h>

#include <future>
#include <thread>

namespace steeple::io {

struct LoopThread::Thread {
  std::thread thread;
};

LoopThread::LoopThread() : thread_(std::make_unique<Thread>()) {
  sigset_t all{};
  sigset_t before{};
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_->thread = std::thread([this] { loop_.run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LoopThread::~LoopThread() {
  loop_.stop();
  thread_->thread.join();
}

void LoopThread::run(std::function<void()> task) {
  // Not on_loop(): before the thread has entered the loop, its builder counts as on it.
  if (std::this_thread::get_id() == thread_->thread.get_id()) {
    task();
    return;
  }
  std::promise<void> done;
  loop_.post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

}  // namespace steeple::io
