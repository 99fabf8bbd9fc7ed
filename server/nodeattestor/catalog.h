// SPDX-License-Identifier: Apache-2.0

// The table of node attestors that are built in, and their configuration. Names that SPIRE knows
// and we do not build, external plugins, and settings that need what is not built, are refused by
// name.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/hcl/plugins.h"
#include "lib/kube/lazy_client.h"
#include "server/datastore/datastore.h"
#include "server/nodeattestor/node_attestor.h"
#include "server/nodeattestor/x509pop.h"

namespace steeple::server {

struct NodeAttestorDeps {
  Datastore& datastore;
  X509PopDeps x509pop;  // also the clock and the log of the others
  // How clusters are reached. Null: not at all, and k8s_psat is refused.
  const kube::LazyClientDeps* kube = nullptr;
};

class NodeAttestors {
 public:
  // Blocks: reads CA bundles. `plugins` are the enabled NodeAttestor plugins. join_token is always
  // there, as in the reference.
  static Result<NodeAttestors> make(const std::vector<const hcl::PluginConfig*>& plugins,
                                    const spiffe::TrustDomain& trust_domain,
                                    const NodeAttestorDeps& deps);

  // Null when there is none of that type.
  const NodeAttestor* find(std::string_view type) const;

 private:
  std::map<std::string, std::unique_ptr<NodeAttestor>, std::less<>> attestors_;
};

// Checks a configuration without touching files (`validate`); gives every mistake at once.
Result<void> check_node_attestor(const hcl::PluginConfig& plugin);

}  // namespace steeple::server
