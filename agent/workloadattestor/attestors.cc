// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/attestors.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <utility>

#include "lib/base/check.h"

namespace steeple::agent {
namespace {

using Answer = Result<Selectors>;

Error attestation_failed() { return unavailable("workload attestation failed"); }

}  // namespace

struct Attestors::Shared {
  std::vector<std::unique_ptr<WorkloadAttestor>> attestors;
  AttestorsHooks hooks;

  void tell(const std::string& attestor, const WorkloadProcess& process, const Error& error) const {
    if (hooks.failed) {
      hooks.failed(attestor, process.pid(), error);
    }
  }

  CallCounter counter(std::string_view key) const {
    return {hooks.metrics != nullptr ? *hooks.metrics : no_metrics(),
            hooks.clock != nullptr ? *hooks.clock : system_clock(), key};
  }
  CallCounter counter_of(const std::string& attestor) const {
    CallCounter call = counter("workload_api.workload_attestor");
    call.label("attestor", attestor);
    return call;
  }

  // An attestor's word, with its name in front of an error, told to the hook.
  Answer heard(CallCounter call, const std::string& attestor, const WorkloadProcess& process,
               Answer answer) const {
    call.done(answer);
    answer = std::move(answer).during(fmt::format("workloadattestor({})", attestor));
    if (!answer.ok()) {
      tell(attestor, process, answer.error());
    }
    return answer;
  }

  // The answers in the order of the attestors.
  Answer join(std::vector<Answer> answers, const WorkloadProcess& process) const {
    Selectors selectors;
    std::size_t successes = 0;
    for (Answer& answer : answers) {
      if (answer.ok()) {
        ++successes;
        std::ranges::move(*answer, std::back_inserter(selectors));
      }
    }
    if (successes == 0 && !answers.empty()) {
      return attestation_failed();
    }
    auto alive = process.alive().during("could not verify existence of the original caller");
    if (!alive.ok()) {
      tell({}, process, alive.error());
      return attestation_failed();
    }
    return selectors;
  }
};

Attestors::Attestors(io::Workers& workers, std::vector<std::unique_ptr<WorkloadAttestor>> attestors,
                     AttestorsHooks hooks)
    : workers_(workers),
      shared_(std::make_shared<Shared>(Shared{std::move(attestors), std::move(hooks)})) {}

// What waits holds its attestor through its handler.
Attestors::~Attestors() {
  for (const auto& attestor : shared_->attestors) {
    attestor->stop();
  }
}

bool Attestors::all_blocking() const {
  return std::ranges::all_of(shared_->attestors, [](const auto& attestor) {
    return dynamic_cast<const BlockingAttestor*>(attestor.get()) != nullptr;
  });
}

Result<Selectors> Attestors::attest_here(const WorkloadProcess& process) {
  CallCounter all = shared_->counter("workload_api.workload_attestation");
  std::vector<Answer> answers;
  answers.reserve(shared_->attestors.size());
  for (const auto& attestor : shared_->attestors) {
    auto* blocking = dynamic_cast<BlockingAttestor*>(attestor.get());
    CHECK(blocking != nullptr);
    CallCounter call = shared_->counter_of(attestor->name());
    Answer answer = blocking->attest(process);
    answers.push_back(
        shared_->heard(std::move(call), attestor->name(), process, std::move(answer)));
  }
  Answer joined = shared_->join(std::move(answers), process);
  all.done(joined);
  return joined;
}

namespace {

// One attestation, whose attestors answer on any thread. Each writes its own slot; the last one
// joins.
struct Round {
  Round(std::shared_ptr<const WorkloadProcess> whom, std::size_t count, io::Loop& where,
        SelectorsHandler then, CallCounter counter)
      : call(std::move(counter)),
        process(std::move(whom)),
        answers(count),
        missing(count),
        loop(where),
        handler(std::move(then)) {}

  CallCounter call;
  std::shared_ptr<const WorkloadProcess> process;
  std::vector<Answer> answers;
  std::atomic<std::size_t> missing;
  io::Loop& loop;
  SelectorsHandler handler;
};

}  // namespace

void Attestors::attest(io::Loop& loop, std::shared_ptr<const WorkloadProcess> process,
                       SelectorsHandler handler) {
  const std::size_t count = shared_->attestors.size();
  auto round = std::make_shared<Round>(std::move(process), count, loop, std::move(handler),
                                       shared_->counter("workload_api.workload_attestation"));
  auto finish = [shared = shared_, round] {
    auto answer = shared->join(std::move(round->answers), *round->process);
    round->call.done(answer);
    // The handler goes along, so that what it owns is destroyed on the loop, too.
    round->loop.post([then = std::move(round->handler), answer = std::move(answer)]() mutable {
      then(std::move(answer));
    });
  };
  if (count == 0) {
    finish();
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    WorkloadAttestor& attestor = *shared_->attestors[i];
    attestor.start(workers_, round->process,
                   [shared = shared_, round, finish, i,
                    call = shared_->counter_of(attestor.name())](Answer answer) mutable {
                     round->answers[i] =
                         shared->heard(std::move(call), shared->attestors[i]->name(),
                                       *round->process, std::move(answer));
                     if (--round->missing == 0) {
                       finish();
                     }
                   });
  }
}

void BlockingAttestor::start(io::Workers& workers, std::shared_ptr<const WorkloadProcess> process,
                             SelectorsHandler handler) {
  auto shared = std::make_shared<SelectorsHandler>(std::move(handler));
  auto submitted =
      workers.submit([this, process = std::move(process), shared] { (*shared)(attest(*process)); });
  if (!submitted.ok()) {
    (*shared)(std::move(submitted).error());
  }
}

}  // namespace steeple::agent
