// SPDX-License-Identifier: Apache-2.0

// The only file that sees Asio. Readiness is asked for with async_wait and nothing else: no Asio
// buffers, no timer object per timer. Every posted task goes through one queue, so that a burst
// from other threads costs one wake-up.

#include "lib/io/asio_loop.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <boost/asio/basic_signal_set.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <csignal>
#include <utility>

#include "lib/base/check.h"
#include "lib/io/file_descriptor.h"

namespace steeple::io {
namespace {

namespace asio = boost::asio;
using Executor = asio::io_context::executor_type;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
using SteadyTimer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, Executor>;
using SignalSet = asio::basic_signal_set<Executor>;

// Asio keeps the record of every descriptor it ever watched. Made one by one between the buffers
// of connections, each would hold a whole page of the heap for good; made in blocks they share few.
constexpr std::size_t kDescriptorBlock = 64;

// Cancelled timers stay in the heap until due; it is rebuilt when they are the majority.
constexpr std::size_t kHeapRebuildMin = 64;

struct Due {
  SteadyTime at;
  std::uint64_t id;
  bool operator>(const Due& other) const { return at != other.at ? at > other.at : id > other.id; }
};

}  // namespace

struct AsioLoop::State : std::enable_shared_from_this<AsioLoop::State> {
  explicit State(Clock& clock)
      : clock(clock), context(1), guard(context.get_executor()), timer(context.get_executor()) {}

  void post(Task task) {
    bool wake = false;
    {
      std::lock_guard lock(mutex);
      wake = posted.empty();
      posted.push_back(std::move(task));
    }
    if (wake) {
      asio::post(context, [this] { drain(); });
    }
  }

  void drain() {
    {
      std::lock_guard lock(mutex);
      std::swap(posted, running);
    }
    for (Task& task : running) {
      Task run = std::move(task);
      run();
    }
    running.clear();
  }

  void arm() {
    if (heap.empty() || heap.front().at >= armed_for) {
      return;
    }
    armed_for = heap.front().at;
    timer.expires_after(std::max(armed_for - clock.steady(), Duration::zero()));
    timer.async_wait([this](const boost::system::error_code& error) {
      if (!error) {
        armed_for = SteadyTime::max();
        fire();
      }
    });
  }

  // Timers that a task starts while we fire wait for the next turn, even when due at once.
  void fire() {
    SteadyTime now = clock.steady();
    std::uint64_t first_new = next_id;
    std::vector<Due> later;
    while (!heap.empty() && heap.front().at <= now) {
      Due due = heap.front();
      std::pop_heap(heap.begin(), heap.end(), std::greater<>());
      heap.pop_back();
      if (due.id >= first_new) {
        later.push_back(due);
        continue;
      }
      auto found = tasks.find(due.id);
      if (found != tasks.end()) {
        Task run = std::move(found->second);
        tasks.erase(found);
        run();
      }
    }
    for (const Due& due : later) {
      push(due);
    }
    arm();
  }

  void push(Due due) {
    heap.push_back(due);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  }

  void forget_cancelled() {
    if (heap.size() < kHeapRebuildMin || heap.size() < 2 * tasks.size()) {
      return;
    }
    std::erase_if(heap, [this](const Due& due) { return !tasks.contains(due.id); });
    std::make_heap(heap.begin(), heap.end(), std::greater<>());
  }

  void count_watcher() {
    if (watchers++ < descriptor_records) {
      return;
    }
    std::vector<std::unique_ptr<Descriptor>> block;
    for (std::size_t i = 0; i < kDescriptorBlock; ++i) {
      int copy = ::dup(spare.get());
      if (copy < 0) {
        break;  // out of descriptors: others will say so
      }
      block.push_back(std::make_unique<Descriptor>(context.get_executor()));
      boost::system::error_code ignored;
      static_cast<void>(block.back()->assign(copy, ignored));
    }
    descriptor_records += kDescriptorBlock;
  }

  void wait_for_signal() {
    signals->async_wait([this](const boost::system::error_code& error, int number) {
      if (!error) {
        wait_for_signal();
        on_signal(number);
      }
    });
  }

  Clock& clock;
  asio::io_context context;
  asio::executor_work_guard<Executor> guard;

  std::mutex mutex;
  std::vector<Task> posted;   // under mutex
  std::vector<Task> running;  // on the loop

  SteadyTimer timer;
  SteadyTime armed_for = SteadyTime::max();
  std::vector<Due> heap;
  std::unordered_map<std::uint64_t, Task> tasks;
  std::uint64_t next_id = 1;

  const FileDescriptor spare{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::size_t watchers = 0;
  std::size_t descriptor_records = 0;

  std::unique_ptr<SignalSet> signals;
  std::function<void(int)> on_signal;

  std::atomic<bool> stop_asked = false;
  std::atomic<pthread_t> runner{};
  std::atomic<bool> is_running = false;
};

// The Asio operation under way holds the shared part, which therefore lives until its handler ran.
class AsioLoop::Watcher final : public FdWatch {
 public:
  Watcher(const std::shared_ptr<State>& loop, int fd) : loop_(loop) {
    loop->count_watcher();
    part_ = std::make_shared<Part>(*loop, fd);
  }
  ~Watcher() override {
    --loop_->watchers;
    part_->closed = true;
    part_->handler.reset();
    part_->descriptor.release();  // ends the waits; the descriptor stays open
  }

  void on_ready(Handler handler) override {
    part_->handler = std::make_shared<const Handler>(std::move(handler));
  }
  void interest(bool readable, bool writable) override {
    part_->want_read = readable;
    part_->want_write = writable;
    part_->arm();
  }

 private:
  struct Part : std::enable_shared_from_this<Part> {
    Part(State& loop, int fd) : descriptor(loop.context.get_executor()) {
      boost::system::error_code error;
      static_cast<void>(descriptor.assign(fd, error));
      CHECK(!error);
    }

    void arm() {
      if (want_read && !reading) {
        reading = true;
        descriptor.async_wait(Descriptor::wait_read,
                              [self = shared_from_this()](const boost::system::error_code& error) {
                                self->reading = false;
                                self->ready(error, self->want_read, false);
                              });
      }
      if (want_write && !writing) {
        writing = true;
        descriptor.async_wait(Descriptor::wait_write,
                              [self = shared_from_this()](const boost::system::error_code& error) {
                                self->writing = false;
                                self->ready(error, false, self->want_write);
                              });
      }
    }

    void ready(const boost::system::error_code& error, bool readable, bool writable) {
      if (closed || error == asio::error::operation_aborted) {
        return;
      }
      if ((readable || writable) && handler) {
        std::shared_ptr<const Handler> run = handler;  // it may replace itself or destroy us
        (*run)(readable, writable);
      }
      if (!closed) {
        arm();
      }
    }

    Descriptor descriptor;
    std::shared_ptr<const Handler> handler;
    bool want_read = false;
    bool want_write = false;
    bool reading = false;
    bool writing = false;
    bool closed = false;
  };

  const std::shared_ptr<State> loop_;
  std::shared_ptr<Part> part_;
};

AsioLoop::AsioLoop(Clock& clock) : state_(std::make_shared<State>(clock)) {
  std::signal(SIGPIPE, SIG_IGN);
}

AsioLoop::~AsioLoop() {
  CHECK(!state_->is_running);
  // What tasks own may post, or cancel timers, as it goes.
  std::unordered_map<std::uint64_t, Task> timers = std::move(state_->tasks);
  timers.clear();
  std::vector<Task> posted;
  {
    std::lock_guard lock(state_->mutex);
    posted = std::move(state_->posted);
    state_->posted.clear();
  }
  posted.clear();
}

void AsioLoop::run() {
  CHECK(!state_->is_running);
  state_->runner = pthread_self();
  state_->is_running = true;
  state_->context.restart();
  if (!state_->stop_asked) {
    state_->context.run();
  }
  state_->stop_asked = false;
  state_->is_running = false;
}

void AsioLoop::stop() {
  state_->stop_asked = true;
  state_->context.stop();
}

void AsioLoop::post(Task task) { state_->post(std::move(task)); }

bool AsioLoop::on_loop() const {
  return !state_->is_running || pthread_equal(state_->runner, pthread_self()) != 0;
}

Clock& AsioLoop::clock() { return state_->clock; }

std::uint64_t AsioLoop::start_timer(Duration after, Task task) {
  CHECK(on_loop());
  std::uint64_t id = state_->next_id++;
  SteadyTime now = state_->clock.steady();
  after = std::max(after, Duration::zero());
  SteadyTime at = after < SteadyTime::max() - now ? now + after : SteadyTime::max();
  state_->tasks.emplace(id, std::move(task));
  state_->push({at, id});
  state_->arm();
  return id;
}

void AsioLoop::cancel_timer(std::uint64_t id) {
  CHECK(on_loop());
  auto found = state_->tasks.find(id);
  if (found == state_->tasks.end()) {
    return;
  }
  Task gone = std::move(found->second);  // destroyed last: it may own what cancels other timers
  state_->tasks.erase(found);
  state_->forget_cancelled();
}

std::unique_ptr<FdWatch> AsioLoop::watch(int fd) {
  CHECK(on_loop());
  return std::make_unique<Watcher>(state_, fd);
}

void AsioLoop::on_signals(const std::vector<int>& signals, std::function<void(int)> handler) {
  CHECK(on_loop() && !state_->signals);
  state_->signals = std::make_unique<SignalSet>(state_->context.get_executor());
  for (int number : signals) {
    state_->signals->add(number);
  }
  state_->on_signal = std::move(handler);
  state_->wait_for_signal();
}

}  // namespace steeple::io
