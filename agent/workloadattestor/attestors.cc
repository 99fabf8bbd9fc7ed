// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/attestors.h"

#include <fmt/format.h>

#include <atomic>
#include <iterator>
#include <utility>

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

  Answer ask(WorkloadAttestor& attestor, const WorkloadProcess& process) const {
    auto answer =
        attestor.attest(process).during(fmt::format("workloadattestor({})", attestor.name()));
    if (!answer.ok()) {
      tell(attestor.name(), process, answer.error());
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

Attestors::~Attestors() = default;

Result<Selectors> Attestors::attest_here(const WorkloadProcess& process) {
  std::vector<Answer> answers;
  answers.reserve(shared_->attestors.size());
  for (const auto& attestor : shared_->attestors) {
    answers.push_back(shared_->ask(*attestor, process));
  }
  return shared_->join(std::move(answers), process);
}

namespace {

// One attestation that is spread over workers. Each writes its own slot; the last one joins.
struct Round {
  Round(std::shared_ptr<const WorkloadProcess> whom, std::size_t count, io::Loop& where,
        AttestHandler then)
      : process(std::move(whom)),
        answers(count),
        missing(count),
        loop(where),
        handler(std::move(then)) {}

  std::shared_ptr<const WorkloadProcess> process;
  std::vector<Answer> answers;
  std::atomic<std::size_t> missing;
  io::Loop& loop;
  AttestHandler handler;
};

}  // namespace

void Attestors::attest(io::Loop& loop, std::shared_ptr<const WorkloadProcess> process,
                       AttestHandler handler) {
  const std::size_t count = shared_->attestors.size();
  auto round = std::make_shared<Round>(std::move(process), count, loop, std::move(handler));
  auto finish = [shared = shared_, round] {
    auto answer = shared->join(std::move(round->answers), *round->process);
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
    auto submitted = workers_.submit([shared = shared_, round, finish, i] {
      round->answers[i] = shared->ask(*shared->attestors[i], *round->process);
      if (--round->missing == 0) {
        finish();
      }
    });
    if (!submitted.ok()) {
      shared_->tell(shared_->attestors[i]->name(), *round->process, submitted.error());
      round->answers[i] = std::move(submitted).error();
      if (--round->missing == 0) {
        finish();
      }
    }
  }
}

}  // namespace steeple::agent
