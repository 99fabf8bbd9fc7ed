// SPDX-License-Identifier: Apache-2.0

// X.501 names as configuration and certificates have them. Encodes as Go's pkix.Name does (order,
// PrintableString where it fits, else UTF8String) and prints as its String does (RFC 2253).

#pragma once

#include <string>
#include <vector>

#include "lib/base/bytes.h"

namespace steeple::x509 {

struct Name {
  struct Extra {
    std::string oid;  // dotted, e.g. "2.5.4.45" for x500UniqueIdentifier
    std::string value;
  };
  std::vector<std::string> country, organization, organizational_unit, locality, province,
      street_address, postal_code;
  std::string serial_number, common_name;
  std::vector<Extra> extra;  // encoded after the others, in order

  bool empty() const;
  // The whole Name element. kInvalidArgument on text that is not UTF-8 or a bad OID.
  Result<Bytes> encode() const;
  // Of a Name element; attributes it has no field for go to `extra`.
  static Result<Name> parse(ByteView der);
  // "CN=a,OU=b,O=SPIRE,C=US": last attribute first.
  std::string to_string() const;

  friend bool operator==(const Name&, const Name&) = default;
};
bool operator==(const Name::Extra& a, const Name::Extra& b);

// {Country US, Organization SPIRE}: the subject of SVIDs and of SPIRE's CSRs.
Name default_svid_subject();
// {Country US, Organization SPIFFE}: the CA's when ca_subject is not configured.
Name default_ca_subject();

}  // namespace steeple::x509
