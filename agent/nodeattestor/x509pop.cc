// SPDX-License-Identifier: Apache-2.0

// The agent's half of x509pop: presents a certificate chain from files and signs the server's nonce
// with its key.

#include "lib/x509pop/x509pop.h"

#include <fmt/core.h>

#include "agent/nodeattestor/node_attestor.h"
#include "lib/base/limits.h"
#include "lib/crypto/private_key.h"
#include "lib/hcl/schema.h"
#include "lib/io/directory.h"
#include "lib/x509/certificate.h"

namespace steeple::agent {
namespace {

struct X509PopConfig {
  std::string private_key_path;
  std::string certificate_path;
  std::string intermediates_path;
  std::string spiffe_endpoint_socket;
};

const hcl::Schema<X509PopConfig>& schema() {
  using C = X509PopConfig;
  static const auto schema =
      hcl::Schema<C>("x509pop", "Proof of possession of an X.509 certificate's key.")
          .key("private_key_path", &C::private_key_path, "PEM file of the key")
          .key("certificate_path", &C::certificate_path, "PEM file of the certificate")
          .key("intermediates_path", &C::intermediates_path, "PEM file of further certificates")
          .key("spiffe_endpoint_socket", &C::spiffe_endpoint_socket,
               "SPIFFE mode: identity from another agent; not built")
          .allow_unknown();
  return schema;
}

struct Credentials {
  std::shared_ptr<const crypto::PrivateKey> key;
  std::vector<Bytes> certificates;
};

Result<std::vector<Bytes>> read_certificates(const std::string& path) {
  Bytes pem = TRY(io::read_file(path, limits::kBundleBytesMax));
  std::vector<Bytes> out;
  for (const auto& certificate : TRY(x509::parse_pem_certificates(pem))) {
    out.push_back(certificate->der());
  }
  return out;
}

Result<Credentials> read_key_pair(const X509PopConfig& config) {
  Credentials out;
  out.certificates = TRY(read_certificates(config.certificate_path));
  Bytes pem = TRY(io::read_file(config.private_key_path, limits::kBundleBytesMax));
  auto key = crypto::PrivateKey::from_pem(pem);
  wipe(pem);
  out.key = TRY(std::move(key));
  auto leaf = TRY(x509::Certificate::parse(out.certificates.front()));
  if (!(leaf->public_key() == out.key->public_key())) {
    return invalid_argument("private key does not match public key");
  }
  return out;
}

Result<Credentials> read_credentials(const X509PopConfig& config) {
  Credentials out = TRY(read_key_pair(config).during("unable to load keypair"));
  if (config.intermediates_path.find_first_not_of(" \t\n") != std::string::npos) {
    auto more = TRY(read_certificates(config.intermediates_path)
                        .during("unable to load intermediate certificates"));
    out.certificates.insert(out.certificates.end(), more.begin(), more.end());
  }
  return out;
}

class X509PopProof final : public Proof {
 public:
  X509PopProof(Credentials credentials, Random& random)
      : credentials_(std::move(credentials)), random_(random) {}
  Result<Bytes> payload() override {
    return x509pop::encode_attestation(credentials_.certificates);
  }
  Result<Bytes> answer(ByteView challenge) override {
    auto parsed = TRY(x509pop::parse_challenge(challenge).during("unable to unmarshal challenge"));
    auto response = TRY(x509pop::respond(*credentials_.key, parsed, random_)
                            .during("failed to calculate challenge response"));
    return x509pop::encode_response(response);
  }

 private:
  Credentials credentials_;
  Random& random_;
};

class X509PopAttestor final : public NodeAttestor {
 public:
  X509PopAttestor(X509PopConfig config, Random& random)
      : config_(std::move(config)), random_(random) {}
  const std::string& name() const override { return name_; }
  Result<std::unique_ptr<Proof>> begin() override {
    return std::unique_ptr<Proof>(
        std::make_unique<X509PopProof>(TRY(read_credentials(config_)), random_));
  }

 private:
  std::string name_ = "x509pop";
  X509PopConfig config_;
  Random& random_;
};

}  // namespace

Result<std::unique_ptr<NodeAttestor>> x509pop_attestor(const hcl::Value& plugin_data,
                                                       Random& random) {
  X509PopConfig config = TRY(schema().decode(plugin_data).during("unable to decode configuration"));
  if (!config.spiffe_endpoint_socket.empty()) {
    return unimplemented("x509pop: spiffe_endpoint_socket is not supported by this agent");
  }
  if (config.private_key_path.empty()) {
    return invalid_argument("private_key_path is required");
  }
  if (config.certificate_path.empty()) {
    return invalid_argument("certificate_path is required");
  }
  TRY(read_credentials(config));
  return std::unique_ptr<NodeAttestor>(
      std::make_unique<X509PopAttestor>(std::move(config), random));
}

}  // namespace steeple::agent
