// SPDX-License-Identifier: Apache-2.0

// The volumes of this node: the Workload API's directory, shown at a target path in each pod. Makes
// and removes them, says how they are, and mends those that show a directory that is no longer the
// Workload API's. Nothing is kept on disk: what is published stands in the kernel's mount table,
// and whose a volume is in the kubelet's `vol_data.json` beside it.
//
// A bind mount shows a directory, not a path: when an agent makes its socket anew, a pod sees it;
// when the directory itself is replaced (a tmpfs mounted again, `rm -r` and `mkdir`), the pod keeps
// looking into the old one for ever. Such a volume gets the new directory on top of the old one,
// and not in its stead: what lies on top spreads to the containers that share the mount
// (mountPropagation: HostToContainer), also to running ones; others see it when they next start.
//
// Threads: one at a time; the driver uses one worker. The calls block.

#pragma once

#include <set>
#include <string>
#include <vector>

#include "csi/mount/mounts.h"
#include "lib/telemetry/log.h"

namespace steeple::csi {

class Volumes {
 public:
  struct Options {
    std::string source;  // the Workload API's socket directory
    std::string driver;  // our name in vol_data.json: "csi.spiffe.io"
  };
  struct Condition {
    bool abnormal = false;
    std::string message = "mounted";
  };
  // What `mend` found.
  struct Health {
    bool source_missing = false;
    bool source_deleted = false;  // we hold a directory that no path leads to any more
    std::size_t volumes = 0;
    std::size_t mended = 0;
    std::size_t failed = 0;

    bool source_ok() const { return !source_missing && !source_deleted; }
    bool operator==(const Health&) const = default;
  };

  Volumes(Mounts& mounts, Logger log, Options options)
      : mounts_(mounts), log_(std::move(log)), options_(std::move(options)) {}

  // True when it was published already. Errors are kInternal.
  Result<bool> publish(const std::string& target);
  // No error when there is none.
  Result<void> unpublish(const std::string& target);
  // kNotFound when there is no such path.
  Result<Condition> condition(const std::string& path);
  // Gives today's directory to every volume that shows another one.
  Result<Health> mend();

 private:
  // Targets that are ours, each once.
  std::set<std::string> published(const std::vector<Mount>& mounts) const;
  bool kubelet_says_ours(const std::string& mount_point) const;
  Result<void> mend_one(const std::string& target, std::size_t layers);

  Mounts& mounts_;
  const Logger log_;
  const Options options_;
  std::set<std::string> bare_;       // lost their mount and could not be given the new one yet
  std::set<std::string> made_here_;  // published by this process: targets outside a kubelet's tree
};

}  // namespace steeple::csi
