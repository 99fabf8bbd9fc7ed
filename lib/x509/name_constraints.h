// SPDX-License-Identifier: Apache-2.0

// Inside lib/x509 only: name constraints of a CA (RFC 5280 4.2.1.10) for the kinds of names an SVID
// may carry: DNS, URI, IP. A constraint on any other kind of name cannot be judged here and refuses
// the chain.

#pragma once

#include "lib/x509/certificate.h"

namespace steeple::x509 {

// Does `certificate` keep to the constraints (an extension's value) of a CA above it?
Result<void> check_name_constraints(ByteView constraints, const Certificate& certificate);

}  // namespace steeple::x509
