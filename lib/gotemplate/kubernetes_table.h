// SPDX-License-Identifier: Apache-2.0

// The table of Kubernetes' Go types, for kubernetes.cc.

#pragma once

#include <string_view>

namespace steeple::gotemplate::kubernetes {

extern const std::string_view kTable[2];

}  // namespace steeple::gotemplate::kubernetes
