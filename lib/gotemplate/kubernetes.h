// SPDX-License-Identifier: Apache-2.0

// The Go types of Kubernetes' core/v1 that ClusterSPIFFEID templates see, with their field names
// and JSON names: from_json(metadata, kubernetes::object_meta()) gives .Name, .Labels, .UID ... The
// types are made on first use and live as long as the program.

#pragma once

#include <string_view>

#include "lib/gotemplate/value.h"

namespace steeple::gotemplate::kubernetes {

TypeRef object_meta();  // v1.ObjectMeta
TypeRef pod_spec();     // v1.PodSpec
TypeRef node_spec();    // v1.NodeSpec
// Any other type of the table by its Go name ("v1.Container"); null if there is none.
TypeRef type(std::string_view go_name);

}  // namespace steeple::gotemplate::kubernetes
