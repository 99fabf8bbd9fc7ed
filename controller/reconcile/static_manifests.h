// SPDX-License-Identifier: Apache-2.0

// Static mode: ClusterStaticEntry and ClusterFederatedTrustDomain objects from the *.yaml files of
// a folder instead of an API server, read again every interval. When a file cannot be read or
// parsed, nothing changes and the log says why. On the loop; files are read on a worker.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "controller/config/controller_config.h"
#include "controller/crd/cluster_federated_trust_domain.h"
#include "controller/crd/cluster_static_entry.h"
#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/telemetry/log.h"

namespace steeple::controller {

inline constexpr std::size_t kManifestFilesMax = 10'000;
inline constexpr std::size_t kManifestBytesMax = std::size_t{1} << 20;  // of one file

// File name to text.
using ManifestTexts = std::map<std::string, std::string>;
// Blocks.
Result<ManifestTexts> read_manifests(const std::string& folder, bool expand,
                                     const Environment& environment);

class StaticManifests {
 public:
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    Logger log;
  };
  struct Options {
    std::string folder;
    bool expand_env = false;
    Environment environment;
    Duration interval;
  };
  struct Hooks {
    std::function<void(ClusterStaticEntry)> put_entry;
    std::function<void(const std::string& name)> remove_entry;
    std::function<void(ClusterFederatedTrustDomain)> put_domain;
    std::function<void(const std::string& name)> remove_domain;
    std::function<void()> complete;  // the first reading that succeeded
  };

  StaticManifests(Deps deps, Options options, Hooks hooks);

  void start() { read(); }

 private:
  void read();
  void apply(Result<ManifestTexts> texts);

  Deps deps_;
  const Options options_;
  const Hooks hooks_;
  ManifestTexts known_;
  std::set<std::string> entries_;
  std::set<std::string> domains_;
  bool complete_ = false;
  std::string trouble_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
  io::Timer timer_;
};

}  // namespace steeple::controller
