// SPDX-License-Identifier: Apache-2.0

// Prints what an SVID costs in CPU time, beside the machine's own limit in the same run: one raw
// P-256 signature and one verification, which is what an X509-SVID cannot do without (the CSR's
// proof of possession, the certificate's signature). ninja ca_bench; server/ca/ca_bench [seconds].

#include <fmt/format.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <functional>

#include "lib/base/check.h"
#include "lib/x509/csr.h"
#include "lib/x509/fake_authority.h"
#include "server/ca/ca.h"

namespace steeple::server {
namespace {

double cpu_seconds() {
  timespec now{};
  CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Microseconds of CPU time per call.
double measure(double seconds, const std::function<void()>& work) {
  for (int i = 0; i < 100; ++i) {
    work();
  }
  const double start = cpu_seconds();
  std::uint64_t calls = 0;
  while (cpu_seconds() - start < seconds) {
    for (int i = 0; i < 50; ++i) {
      work();
    }
    calls += 50;
  }
  return (cpu_seconds() - start) / static_cast<double>(calls) * 1e6;
}

void report(std::string_view what, double us, double raw) {
  fmt::print("{:<44} {:>8.1f} us {:>7.2f} x raw\n", what, us, us / raw);
  std::fflush(stdout);
}

void run(double seconds) {
  x509::FakeAuthority root("example.org", system_clock().now());
  Ca ca({.trust_domain = root.domain()}, {system_clock(), system_random(), no_metrics()});
  ca.activate(std::make_shared<const X509SigningAuthority>(X509SigningAuthority{root.issuer()}));
  auto jwt_key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  ca.activate(std::make_shared<const JwtSigningAuthority>(JwtSigningAuthority{
      jwt_key, "0123456789abcdefghijABCDEFGHIJkl", system_clock().now() + std::chrono::hours(24)}));

  auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  const Bytes csr = x509::build_csr(*key, {.uri_sans = {"spiffe://example.org/web"}}).take();
  const auto id = spiffe::SpiffeId::make(root.domain(), "/ns/production/sa/web").take();
  const std::vector<std::string> dns = {"web.production.svc", "web"};
  const std::vector<std::string> audience = {"spiffe://example.org/api"};
  constexpr auto kAlgorithm = crypto::SignatureAlgorithm::kEcdsaSha256;
  const Bytes message(400, 'm');
  const Bytes signature = key->sign(kAlgorithm, message).take();

  const double sign = measure(seconds, [&] { key->sign(kAlgorithm, message).take(); });
  const double verify =
      measure(seconds, [&] { key->public_key().verify(kAlgorithm, message, signature).take(); });
  fmt::print("raw P-256 sign {:.1f} us, verify {:.1f} us\n", sign, verify);
  report(
      "X509-SVID: CSR checked, certificate issued",
      measure(seconds,
              [&] {
                auto request = x509::CertificateRequest::parse_and_verify(csr).take();
                ca.sign_workload_x509_svid({.public_key = request.public_key(), .id = id}).take();
              }),
      sign + verify);
  report("X509-SVID with two DNS names",
         measure(seconds,
                 [&] {
                   auto request = x509::CertificateRequest::parse_and_verify(csr).take();
                   ca.sign_workload_x509_svid(
                         {.public_key = request.public_key(), .id = id, .dns_names = dns})
                       .take();
                 }),
         sign + verify);
  report("X509-SVID: certificate issued",
         measure(seconds,
                 [&] {
                   ca.sign_workload_x509_svid({.public_key = key->public_key(), .id = id}).take();
                 }),
         sign);
  report(
      "JWT-SVID",
      measure(seconds, [&] { ca.sign_workload_jwt_svid({.id = id, .audience = audience}).take(); }),
      sign);
}

}  // namespace
}  // namespace steeple::server

int main(int argc, char** argv) {
  steeple::server::run(argc > 1 ? std::atof(argv[1]) : 1.0);
  return 0;
}
