// SPDX-License-Identifier: Apache-2.0

// Templates and a pod become an entry. Knows the names that templates see and the rules for what
// they give; keeps nothing between calls. On the loop (a template is foreign text, but bounded).

#pragma once

#include <string>
#include <vector>

#include "controller/crd/cluster_spiffe_id.h"
#include "controller/crd/cluster_static_entry.h"
#include "controller/template/facts.h"
#include "lib/base/result.h"
#include "lib/gotemplate/template.h"
#include "lib/gotemplate/value.h"
#include "spiffe/spiffe_id.h"
#include "spire/api/types/entry.pb.h"

namespace steeple::controller {

using Entry = ::spire::api::types::Entry;

class Renderer {
 public:
  struct Options {
    spiffe::TrustDomain trust_domain;
    std::string cluster_name = {};
    std::string cluster_domain = {};
    std::string parent_id_template = {};  // empty: the k8s_psat agents'
  };
  static Result<Renderer> make(Options options);

  // What the parent's template reads.
  const Projection& needs() const { return parent_needs_; }

  // The agent of a node. Reads nothing of pods.
  Result<spiffe::SpiffeId> parent_id(const Node& node) const;

  // What templates see of one pod; made once for all of its entries.
  Result<gotemplate::Value> data(const Pod& pod, const Node& node) const;
  Result<Entry> pod_entry(const ClusterSpiffeIdSpec& spec, const Pod& pod,
                          const gotemplate::Value& data, const spiffe::SpiffeId& parent,
                          const std::vector<std::string>& service_names,
                          const std::vector<std::string>& federates_with) const;
  // By the pod's annotation: a SPIFFE ID, or a path in the trust domain.
  Result<Entry> annotated_entry(const Pod& pod, const spiffe::SpiffeId& parent) const;
  // The names by which the services of these endpoints are known, sorted.
  std::vector<std::string> service_names(const std::vector<const Endpoints*>& endpoints) const;

  static Entry static_entry(const ClusterStaticEntrySpec& spec,
                            const std::vector<std::string>& federates_with);

 private:
  Renderer(Options options, gotemplate::Template parent);

  Result<spiffe::SpiffeId> spiffe_id(const gotemplate::Template& text,
                                     const gotemplate::Value& data) const;

  Options options_;
  gotemplate::Template parent_;
  Projection parent_needs_;
};

// All that a ClusterSPIFFEID's templates read.
Projection needs_of(const ClusterSpiffeIdSpec& spec);

}  // namespace steeple::controller
