// SPDX-License-Identifier: Apache-2.0

// A certificate as agent path templates see it: Go's x509.Certificate, as far as an agent's path is
// made of it. Not here are bytes, extensions and times, and SerialNumber, whose forms in Go are
// those of a number of any length: SerialNumberHex beside it serves.

#pragma once

#include "lib/base/result.h"
#include "lib/gotemplate/value.h"
#include "lib/x509/certificate.h"

namespace steeple::server {

// Subject and Issuer (Country, Organization, OrganizationalUnit, Locality, Province, StreetAddress,
// PostalCode, SerialNumber, CommonName), DNSNames, IPAddresses, URIs (Scheme, Host, Path), IsCA.
gotemplate::TypeRef certificate_type();
// An error: a name that does not parse.
Result<gotemplate::Value> certificate_value(const x509::Certificate& certificate);

}  // namespace steeple::server
