// SPDX-License-Identifier: Apache-2.0

// Which parts of pods and nodes the present templates can read. Everything else is dropped as the
// objects pass by, so that a pod costs some hundred bytes instead of some kilobytes. Grows when a
// new template reads more; then the objects are listed once again.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "lib/gotemplate/template.h"

namespace steeple::controller {

// Of one ObjectMeta or Spec, by JSON name. For labels and annotations single keys.
struct MemberSet {
  bool everything = false;
  std::set<std::string, std::less<>> members = {};
  std::set<std::string, std::less<>> label_keys = {};
  std::set<std::string, std::less<>> annotation_keys = {};

  bool covers(const MemberSet& other) const;
  void add(const MemberSet& other);
  // The JSON text of what is wanted of `object` (may be null).
  std::string project(const nlohmann::json* object) const;
};

struct Projection {
  MemberSet pod_meta = {};
  MemberSet pod_spec = {};
  MemberSet node_meta = {};
  MemberSet node_spec = {};

  // What the template may read.
  static Projection of(const gotemplate::Template& text);
  void add(const Projection& other);
  bool covers(const Projection& other) const;
};

}  // namespace steeple::controller
