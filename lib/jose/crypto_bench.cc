// SPDX-License-Identifier: Apache-2.0

// What issuing costs, in microseconds of this thread's CPU time, beside OpenSSL's own P-256 sign
// and verify of the same run: absolute times on shared machines drift, the ratio does not. Each
// figure is the best of several rounds. Arguments: none. Sits here because this is the highest of
// the folders it measures.

#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <time.h>

#include <functional>

#include "lib/crypto/private_key.h"
#include "lib/jose/jwt_svid.h"
#include "lib/x509/builder.h"
#include "lib/x509/csr.h"
#include "lib/x509/verify.h"

namespace steeple {
namespace {

constexpr int kRounds = 15;

double cpu_micros() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

// Best of the rounds: everything that disturbs only adds.
double measure(int count, const std::function<void()>& work) {
  double best = 1e18;
  for (int round = 0; round < kRounds; ++round) {
    double begin = cpu_micros();
    for (int i = 0; i < count; ++i) {
      work();
    }
    best = std::min(best, (cpu_micros() - begin) / count);
  }
  return best;
}

// OpenSSL alone: one context per operation kind, digest given.
struct RawLimit {
  double sign;
  double verify;
};
RawLimit raw_limit() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  std::array<unsigned char, 32> digest{};
  std::array<unsigned char, 128> signature{};
  std::size_t size = signature.size();
  EVP_PKEY_CTX* signer = EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr);
  EVP_PKEY_CTX* verifier = EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr);
  CHECK(EVP_PKEY_sign_init(signer) == 1 && EVP_PKEY_verify_init(verifier) == 1);
  RawLimit limit{};
  limit.sign = measure(500, [&] {
    size = signature.size();
    CHECK(EVP_PKEY_sign(signer, signature.data(), &size, digest.data(), digest.size()) == 1);
  });
  limit.verify = measure(300, [&] {
    CHECK(EVP_PKEY_verify(verifier, signature.data(), size, digest.data(), digest.size()) == 1);
  });
  EVP_PKEY_CTX_free(signer);
  EVP_PKEY_CTX_free(verifier);
  EVP_PKEY_free(key);
  return limit;
}

void print(std::string_view what, double micros, double limit, std::string_view bar) {
  fmt::print("{:<42} {:>8.1f} us  {:>5.2f} x raw limit {:>6.1f}  {}\n", what, micros,
             micros / limit, limit, bar);
}

void measure_tokens(const RawLimit& raw, const std::shared_ptr<const crypto::PrivateKey>& ca_key,
                    const spiffe::SpiffeId& id, WallTime now) {
  jose::JwtSvidClaims claims{id, {"spiffe://example.org/db"}, now + std::chrono::minutes(5), now};
  print("JWT-SVID: sign",
        measure(500, [&] { jose::sign_jwt_svid(claims, *ca_key, "0123456789abcdef").take(); }),
        raw.sign, "bar 40 us");

  std::string token = jose::sign_jwt_svid(claims, *ca_key, "k").take();
  auto ca_public = std::make_shared<const crypto::PublicKey>(ca_key->public_key());
  jose::JwtKeyOf key_of = [&](const spiffe::TrustDomain&, std::string_view)
      -> Result<std::shared_ptr<const crypto::PublicKey>> { return ca_public; };
  print("JWT-SVID: verify",
        measure(300, [&] { jose::verify_jwt_svid(token, claims.audience, key_of, now).take(); }),
        raw.verify, "");
}

void run() {
  using crypto::KeyType;
  using crypto::PrivateKey;
  const WallTime now = from_unix_seconds(1'893'456'000);
  Random& random = system_random();
  RawLimit raw = raw_limit();
  print("OpenSSL P-256 sign", raw.sign, raw.sign, "");
  print("OpenSSL P-256 verify", raw.verify, raw.verify, "");

  auto domain = spiffe::TrustDomain::parse("example.org").take();
  auto id = spiffe::SpiffeId::parse("spiffe://example.org/ns/default/sa/web").take();
  auto ca_key = PrivateKey::generate(KeyType::kEcP256).take();
  Bytes serial = x509::random_serial(random);
  Bytes ca = x509::build_self_signed_ca({domain.id(), x509::ca_subject({}, serial).encode().take(),
                                         serial, x509::validity(now, std::chrono::hours(24))},
                                        *ca_key)
                 .take();
  auto issuer = x509::Issuer::make(x509::Certificate::parse(ca).take(), ca_key).take();
  auto leaf_key = PrivateKey::generate(KeyType::kEcP256).take();
  Bytes csr = x509::build_csr(*leaf_key, {.uri_sans = {id.text()}}).take();
  Bytes subject = x509::svid_subject({}, {}).take();

  print("sign (hash included)",
        measure(500, [&] { ca_key->sign(crypto::SignatureAlgorithm::kEcdsaSha256, csr).take(); }),
        raw.sign, "");
  print("CSR: parse and verify",
        measure(300, [&] { x509::CertificateRequest::parse_and_verify(csr).take(); }), raw.verify,
        "");
  auto parsed = x509::CertificateRequest::parse(csr).take();
  auto issue = [&](const crypto::PublicKey& key) {
    return issuer
        ->issue_svid({id, key, subject, x509::random_serial(random),
                      x509::validity(now, std::chrono::hours(1))})
        .take();
  };
  print("SVID: build and sign", measure(500, [&] { issue(parsed.public_key()); }), raw.sign, "");
  print(
      "SVID: CSR verified, built, signed",
      measure(200,
              [&] { issue(x509::CertificateRequest::parse_and_verify(csr).take().public_key()); }),
      raw.sign + raw.verify, "bar 120 us");
  print(
      "agent: keygen and CSR",
      measure(300,
              [&] { x509::build_csr(*PrivateKey::generate(KeyType::kEcP256).take(), {}).take(); }),
      raw.sign, "bar 60 us");
  print("agent: keygen and PKCS#8",
        measure(300, [&] { PrivateKey::generate(KeyType::kEcP256).take()->to_pkcs8(); }), raw.sign,
        "");
  measure_tokens(raw, ca_key, id, now);

  std::vector<Bytes> chain = {issue(leaf_key->public_key())};
  auto roots = std::make_shared<const x509::Authorities>(
      x509::Authorities{x509::Certificate::parse(ca).take()});
  print(
      "X509-SVID: parse and verify chain",
      measure(
          300,
          [&] {
            x509::verify_svid(chain, [&](const spiffe::TrustDomain&) { return roots; }, now).take();
          }),
      raw.verify, "");
  print("certificate: parse", measure(1000, [&] { x509::Certificate::parse(chain[0]).take(); }),
        raw.verify, "");
}

}  // namespace
}  // namespace steeple

int main() {
  steeple::run();
  return 0;
}
