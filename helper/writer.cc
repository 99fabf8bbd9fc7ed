// SPDX-License-Identifier: Apache-2.0

#include "helper/writer.h"

#include "lib/io/on_worker.h"

namespace steeple::helper {

Writer::Writer(io::Loop& loop, io::Workers& workers, RetryTimes times, OnResult on_result)
    : loop_(loop),
      workers_(workers),
      on_result_(std::move(on_result)),
      backoff_(times),
      retry_(loop) {}

void Writer::write(Produce produce) {
  newest_ = std::move(produce);
  backoff_.reset();
  if (busy_) {
    newer_ = true;
  } else {
    run();
  }
}

void Writer::run() {
  busy_ = true;
  retry_.cancel();
  auto work = [produce = newest_]() -> Result<Outcome> {
    Result<std::vector<FileContent>> files = produce();
    if (!files.ok()) {
      return Outcome{std::move(files.error()), false};
    }
    return Outcome{write_files(*files), true};
  };
  io::on_worker(workers_, loop_, alive_, std::move(work), [this](Result<Outcome> outcome) {
    finished(outcome.ok() ? std::move(*outcome) : Outcome{std::move(outcome.error()), true});
  });
}

void Writer::finished(Outcome outcome) {
  busy_ = false;
  if (std::exchange(newer_, false)) {
    run();
  } else if (!outcome.result.ok() && outcome.produced) {
    retry_.start(backoff_.next(), [this] { run(); });
  } else {
    newest_ = nullptr;  // it holds a key
  }
  on_result_(outcome.result);
}

}  // namespace steeple::helper
