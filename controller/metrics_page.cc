// SPDX-License-Identifier: Apache-2.0

#include "controller/metrics_page.h"

#include <fmt/format.h>

#include "lib/telemetry/metric_sink.h"

namespace steeple::controller {

namespace {

void add(std::string& out, const char* name, const char* type, const char* help,
         std::uint64_t value, const std::string& labels = {}) {
  out +=
      fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0}{3} {4}\n", name, help, type, labels, value);
}

}  // namespace

std::string metrics_page(const MetricsView& view) {
  const Counters& c = view.counters;
  std::string out;
  add(out, "cluster_static_entry_failures", "gauge",
      "Number of cluster static entry render failures", c.static_render_failures);
  out += fmt::format(
      "# HELP controller_runtime_reconcile_total Total number of reconciliations per controller\n"
      "# TYPE controller_runtime_reconcile_total counter\n"
      "controller_runtime_reconcile_total{{controller=\"pod\",result=\"success\"}} {}\n"
      "controller_runtime_reconcile_total{{controller=\"pod\",result=\"error\"}} {}\n",
      c.pods_rendered, c.entry_failures);
  if (!view.leader_election_name.empty()) {
    add(out, "leader_election_master_status", "gauge",
        "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 "
        "indicates master.",
        view.leading ? 1 : 0, fmt::format("{{name=\"{}\"}}", view.leader_election_name));
  }
  add(out, "workqueue_depth", "gauge", "Current depth of workqueue", view.pods_waiting,
      "{controller=\"pod\",name=\"pod\"}");
  add(out, "spire_controller_manager_pods", "gauge", "Pods that are watched", view.pods);
  add(out, "spire_controller_manager_declared_entries", "gauge",
      "Entries that custom resources and pods declare", view.declared_entries);
  add(out, "spire_controller_manager_server_entries", "gauge",
      "Entries of the SPIRE server that are known", view.server_entries);
  out += fmt::format(
      "# HELP spire_controller_manager_entry_writes_total Entries written to the SPIRE server\n"
      "# TYPE spire_controller_manager_entry_writes_total counter\n"
      "spire_controller_manager_entry_writes_total{{operation=\"create\"}} {}\n"
      "spire_controller_manager_entry_writes_total{{operation=\"update\"}} {}\n"
      "spire_controller_manager_entry_writes_total{{operation=\"delete\"}} {}\n",
      c.entries_created, c.entries_updated, c.entries_deleted);
  add(out, "spire_controller_manager_entry_failures_total", "counter",
      "Entries that the SPIRE server refused", c.entry_failures);
  add(out, "spire_controller_manager_spire_call_failures_total", "counter",
      "Calls of the SPIRE server that failed as a whole", c.rpc_failures);
  add(out, "spire_controller_manager_entry_lists_total", "counter",
      "Full lists of the SPIRE server's entries", c.full_lists);
  out += fmt::format(
      "# HELP spire_controller_manager_status_writes_total Status updates of custom resources\n"
      "# TYPE spire_controller_manager_status_writes_total counter\n"
      "spire_controller_manager_status_writes_total{{result=\"success\"}} {}\n"
      "spire_controller_manager_status_writes_total{{result=\"error\"}} {}\n",
      c.status_updates, c.status_failures);
  return out + process_metrics();
}

}  // namespace steeple::controller
