// SPDX-License-Identifier: Apache-2.0

// A device of an external PKI for tests: a certificate with whatever names a test wants, assembled
// by hand (our issuer makes SVIDs only), and its key.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/crypto/der.h"
#include "lib/x509/fake_authority.h"

namespace steeple::server {

struct FakeDevice {
  struct Options {
    std::string common_name = {};
    std::vector<std::string> uris = {};
    std::vector<Bytes> ips = {};
    crypto::KeyType key_type = crypto::KeyType::kEcP256;
  };

  std::vector<Bytes> chain;  // leaf first
  std::shared_ptr<const crypto::PrivateKey> key;

  static FakeDevice make(const x509::FakeAuthority& pki, WallTime now, const Options& options) {
    FakeDevice out{{}, crypto::PrivateKey::generate(options.key_type).take()};
    x509::Name subject;
    subject.common_name = options.common_name;
    const x509::Validity validity = x509::validity(now, std::chrono::hours(1));
    const Bytes version =
        crypto::der(crypto::tag::context_constructed(0), crypto::der_unsigned_integer("\x02"));
    const Bytes algorithm = crypto::der_sequence({object_id("1.2.840.10045.4.3.2")});
    const Bytes times = crypto::der_sequence(
        {crypto::der_time(validity.not_before), crypto::der_time(validity.not_after)});
    const Bytes list =
        extension("2.5.29.15", crypto::der_named_bits(x509::key_usage::kDigitalSignature)) +
        alt_names(options);
    const Bytes extensions =
        crypto::der(crypto::tag::context_constructed(3), crypto::der(crypto::tag::kSequence, list));
    const Bytes tbs = crypto::der_sequence(
        {version, crypto::der_unsigned_integer("\x0a\xbc"), algorithm, pki.certificate()->subject(),
         times, subject.encode().take(), out.key->public_key().spki(), extensions});
    const Bytes signature = pki.key()->sign(crypto::SignatureAlgorithm::kEcdsaSha256, tbs).take();
    out.chain.push_back(crypto::der_sequence({tbs, algorithm, crypto::der_bit_string(signature)}));
    return out;
  }

 private:
  static Bytes object_id(std::string_view dotted) {
    return crypto::der(crypto::tag::kOid, crypto::oid_encode(dotted).take());
  }
  static Bytes extension(std::string_view oid, ByteView value) {
    return crypto::der_sequence({object_id(oid), crypto::der(crypto::tag::kOctetString, value)});
  }
  static Bytes alt_names(const Options& options) {
    Bytes names;
    for (const std::string& uri : options.uris) {
      names += crypto::der(crypto::tag::context(6), uri);
    }
    for (const Bytes& ip : options.ips) {
      names += crypto::der(crypto::tag::context(7), ip);
    }
    return names.empty() ? Bytes()
                         : extension("2.5.29.17", crypto::der(crypto::tag::kSequence, names));
  }
};

}  // namespace steeple::server
