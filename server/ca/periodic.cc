// SPDX-License-Identifier: Apache-2.0

#include "server/ca/periodic.h"

#include <utility>

#include "lib/base/check.h"

namespace steeple::server {

// Shared with the run under way, which may end after the Periodic; `timer` is only touched on the
// loop, and is gone when the Periodic is.
struct Periodic::State : std::enable_shared_from_this<Periodic::State> {
  State(io::Loop& its_loop, io::Workers& its_workers, Duration its_interval,
        std::function<void()> its_work)
      : loop(its_loop),
        workers(its_workers),
        interval(its_interval),
        work(std::move(its_work)),
        timer(std::make_unique<io::Timer>(its_loop)) {}

  void wait() {
    timer->start(interval, [this] { run(); });
  }

  void run() {
    timer->cancel();
    running = true;
    again = false;
    auto submitted = workers.submit([self = shared_from_this()] {
      self->work();
      self->loop.post([self] { self->done(); });
    });
    if (!submitted.ok()) {  // the queue is full: the next interval will do
      done();
    }
  }

  void done() {
    running = false;
    if (idle) {
      io::Task told = std::exchange(idle, nullptr);
      told();
    }
    if (!timer) {
      return;  // stopped meanwhile
    }
    if (again) {
      run();
    } else {
      wait();
    }
  }

  io::Loop& loop;
  io::Workers& workers;
  const Duration interval;
  const std::function<void()> work;
  std::unique_ptr<io::Timer> timer;
  io::Task idle;
  bool running = false;
  bool again = false;
};

Periodic::Periodic(io::Loop& loop, io::Workers& workers, Duration interval,
                   std::function<void()> work)
    : state_(std::make_shared<State>(loop, workers, interval, std::move(work))) {
  state_->wait();
}

Periodic::~Periodic() { state_->timer.reset(); }

void Periodic::soon() {
  CHECK(state_->loop.on_loop());
  if (!state_->timer) {
    return;
  }
  if (state_->running) {
    state_->again = true;
  } else {
    state_->run();
  }
}

void Periodic::stop(io::Task idle) {
  CHECK(state_->loop.on_loop());
  state_->timer.reset();
  if (state_->running) {
    state_->idle = std::move(idle);
  } else {
    idle();
  }
}

}  // namespace steeple::server
