// SPDX-License-Identifier: Apache-2.0

// The configuration file of the controller manager: a ControllerManagerConfig object in YAML, with
// the reference's keys and defaults. Plain data. Unknown keys are no errors, because charts write
// keys that older programs do not know; they are told, so that a misspelt one is seen.

#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"

namespace steeple::controller {

inline constexpr std::string_view kApiVersion = "spire.spiffe.io/v1alpha1";

// How many entries that are not ours may be deleted because nothing declares them.
struct DeletionLimit {
  // Of all entries of the server; kFree may always go.
  static constexpr std::size_t kFree = 10;

  bool is_share = true;
  double share = 0.5;
  std::size_t count = 0;

  bool allows(std::size_t deletions, std::size_t all_entries) const;
  std::string text() const;  // "50%", "25"
};

struct LeaderElectionConfig {
  bool enabled = false;
  std::string name_space = {};  // empty: the pod's
  std::string name = {};
  Duration lease_duration = std::chrono::seconds(15);
  Duration renew_deadline = std::chrono::seconds(10);
  Duration retry_period = std::chrono::seconds(2);
};

struct CacheSelectors {
  std::map<std::string, std::string> labels = {};
  std::map<std::string, std::string> fields = {};
};

struct ReconcileConfig {
  bool spiffe_ids = true;
  bool federated_trust_domains = true;
  bool static_entries = true;
};

struct ControllerConfig {
  std::string cluster_name = {};
  std::string cluster_domain = {};  // empty: asked from DNS at start
  std::string trust_domain = {};
  std::vector<std::string> ignore_namespaces = {"kube-system", "kube-public", "spire-system"};
  std::string webhook_configuration = "spire-controller-manager-webhook";
  Duration gc_interval = std::chrono::seconds(10);
  std::string server_socket = {};
  std::string log_level = "info";
  std::string log_encoding = "console";
  std::string class_name = {};
  bool watch_classless = false;
  std::string parent_id_template = {};  // empty: the k8s_psat agents'
  ReconcileConfig reconcile = {};
  std::string entry_id_prefix = {};                         // with its dot
  std::optional<std::string> entry_id_prefix_cleanup = {};  // with its dot, unless empty
  std::optional<std::string> static_manifest_path = {};
  bool expand_env_static_manifests = false;
  std::size_t grpc_message_bytes_max = std::size_t{4} << 20;
  LeaderElectionConfig leader_election = {};
  std::map<std::string, CacheSelectors> cache_namespaces = {};  // empty: all
  Duration graceful_shutdown = std::chrono::seconds(30);
  std::string metrics_address = ":8080";  // "0": none
  std::string health_address = {};        // "" or "0": none
  std::string readiness_path = "/readyz";
  std::string liveness_path = "/healthz";
  int webhook_port = 9443;
  std::string webhook_host = {};
  // --- ours ---
  DeletionLimit max_foreign_deletions = {};
  std::string spiffe_id_annotation = {};  // empty: pods do not register by annotation
};

// Flags that the configuration file does not have.
struct ControllerFlags {
  std::string config_path = {};
  bool expand_env = false;
  std::string spire_api_socket = {};
  std::string kubeconfig = {};
  std::string zap_log_level = {};
  std::string zap_encoder = {};
  std::string zap_stacktrace_level = {};
  std::string zap_time_encoding = {};
  bool zap_devel = true;
  bool dry_run = false;
};

struct LoadedConfig {
  ControllerConfig config;
  std::vector<std::string> unknown_keys;
  std::vector<std::string> warnings;
};

using Environment = std::function<std::optional<std::string>(std::string_view name)>;

// From the text of the file (may be empty) and the flags. Errors name the key.
Result<LoadedConfig> parse_config(std::string_view text, const ControllerFlags& flags,
                                  const Environment& environment);
// Reads the file that the flags name.
Result<LoadedConfig> load_config(const ControllerFlags& flags, const Environment& environment);

}  // namespace steeple::controller
