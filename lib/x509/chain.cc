// SPDX-License-Identifier: Apache-2.0

// Certificates in rows: concatenated DER (Workload API) and PEM (files).

#include <fmt/format.h>

#include "lib/crypto/der.h"
#include "lib/crypto/pem.h"
#include "lib/x509/certificate.h"

namespace steeple::x509 {

Result<std::vector<Bytes>> split_concatenated(ByteView der, std::size_t count_max) {
  std::vector<Bytes> out;
  crypto::DerReader reader(der);
  while (!reader.empty()) {
    if (out.size() == count_max) {
      return invalid_argument(fmt::format("x509: more than {} certificates", count_max));
    }
    auto element = reader.element(crypto::tag::kSequence);
    out.emplace_back(TRY(std::move(element).during("x509: malformed certificate")).raw);
  }
  return out;
}

Result<std::vector<CertificatePtr>> parse_chain(const std::vector<Bytes>& chain) {
  std::vector<CertificatePtr> out;
  out.reserve(chain.size());
  for (const Bytes& der : chain) {
    out.push_back(TRY(Certificate::parse(der)));
  }
  return out;
}

Result<std::vector<CertificatePtr>> parse_concatenated(ByteView der, std::size_t count_max) {
  std::vector<Bytes> chain = TRY(split_concatenated(der, count_max));
  return parse_chain(chain);
}

Result<std::vector<CertificatePtr>> parse_pem_certificates(std::string_view pem) {
  std::vector<CertificatePtr> out;
  std::vector<crypto::PemBlock> blocks = TRY(crypto::pem_decode(pem));
  for (const crypto::PemBlock& block : blocks) {
    if (block.label != "CERTIFICATE") {
      return invalid_argument(
          fmt::format("invalid block type; expected \"CERTIFICATE\", got \"{}\"", block.label));
    }
    out.push_back(TRY(Certificate::parse(block.der)));
  }
  if (out.empty()) {
    return invalid_argument("no PEM blocks");
  }
  return out;
}

std::string certificate_to_pem(ByteView der) { return crypto::pem_encode("CERTIFICATE", der); }

std::string chain_to_pem(const std::vector<Bytes>& chain) {
  std::string out;
  for (const Bytes& der : chain) {
    out += certificate_to_pem(der);
  }
  return out;
}

}  // namespace steeple::x509
