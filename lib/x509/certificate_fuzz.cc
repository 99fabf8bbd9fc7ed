// SPDX-License-Identifier: Apache-2.0

// Fuzz target: the DER reader, certificates, names and chain verification from foreign bytes.

#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/crypto/pem.h"
#include "lib/x509/fake_authority.h"
#include "lib/x509/name_constraints.h"
#include "lib/x509/verify.h"

std::vector<std::string> steeple::fuzz_seeds() {
  const WallTime now = from_unix_seconds(1'893'456'000);
  x509::FakeAuthority root("example.org", now);
  x509::FakeAuthority below = root.intermediate(now);
  Bytes leaf = root.issue("/web", now).chain.front();
  Bytes chain;
  for (const Bytes& der : below.issue("/web", now).chain) {
    chain += der;
  }
  Bytes pem = crypto::pem_encode("CERTIFICATE", leaf);
  return {leaf, leaf + root.certificate()->der(),    chain, chain + root.certificate()->der(),
          pem,  Bytes(root.certificate()->subject())};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  ByteView bytes(reinterpret_cast<const char*>(data), size);
  (void)x509::parse_pem_certificates(bytes);
  if (auto name = x509::Name::parse(bytes); name.ok()) {
    (void)name->to_string();
    (void)name->encode();
  }
  auto chain = x509::parse_concatenated(bytes, 16);
  if (!chain.ok() || chain->empty()) {
    return 0;
  }
  const x509::Certificate& leaf = *chain->front();
  CHECK(bytes.starts_with(leaf.der()));
  (void)leaf.serial_decimal();
  (void)leaf.issuer_name();
  (void)leaf.subject_name();
  (void)leaf.self_signed();
  if (!leaf.name_constraints().empty()) {
    (void)x509::check_name_constraints(leaf.name_constraints(), leaf);
  }
  // The last certificate as root: a path may be found, but never to a stranger.
  auto roots = std::make_shared<const x509::Authorities>(x509::Authorities{chain->back()});
  auto verified = x509::verify_svid(
      *chain, [&](const spiffe::TrustDomain&) { return roots; }, leaf.not_before());
  if (verified.ok()) {
    CHECK(verified->path.back()->der() == chain->back()->der());
  }
  return 0;
}
