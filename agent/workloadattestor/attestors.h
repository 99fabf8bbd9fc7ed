// SPDX-License-Identifier: Apache-2.0

// Step 3 of the flow: asks every configured attestor about a process and joins the selectors in the
// order of configuration. A failing attestor is told to the hook and dropped; when all fail the
// answer is kUnavailable "workload attestation failed". After the selectors are collected the
// process is checked once more: had its pid been reused meanwhile, some selectors would be another
// process's, so nothing is returned (fail closed).

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/workloadattestor/workload_attestor.h"
#include "lib/base/result.h"
#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/telemetry/metrics.h"

namespace steeple::agent {

struct AttestorsHooks {
  // For the log, on the thread that found out.
  std::function<void(const std::string& attestor, pid_t pid, const Error& error)> failed = {};
  // Counts every attestation and every attestor's share of it; both or none.
  Metrics* metrics = nullptr;
  Clock* clock = nullptr;
};

class Attestors {
 public:
  // `workers` must outlive this.
  Attestors(io::Workers& workers, std::vector<std::unique_ptr<WorkloadAttestor>> attestors,
            AttestorsHooks hooks = {});
  ~Attestors();
  Attestors(const Attestors&) = delete;
  Attestors& operator=(const Attestors&) = delete;

  // All of them only read files of this machine.
  bool all_blocking() const;
  // Only with `all_blocking`: one after the other on this thread.
  Result<Selectors> attest_here(const WorkloadProcess& process);
  // All at once; the handler runs on the loop, once. May be called from any thread. Running
  // attestations survive this object.
  void attest(io::Loop& loop, std::shared_ptr<const WorkloadProcess> process,
              SelectorsHandler handler);

 private:
  struct Shared;
  io::Workers& workers_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace steeple::agent
