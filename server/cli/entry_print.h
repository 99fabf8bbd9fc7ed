// SPDX-License-Identifier: Apache-2.0

// The pretty form of a registration entry.

#pragma once

#include <ostream>

#include "spire/api/types/entry.pb.h"

namespace steeple::server {

void print_entry(const spire::api::types::Entry& entry, std::ostream& out);

}  // namespace steeple::server
