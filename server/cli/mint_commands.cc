// SPDX-License-Identifier: Apache-2.0

// `x509 mint` and `jwt mint`: identities for an administrator, made at the server.

#include <fmt/format.h>

#include <ostream>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/crypto/private_key.h"
#include "lib/io/directory.h"
#include "lib/x509/certificate.h"
#include "lib/x509/csr.h"
#include "server/cli/client.h"
#include "server/cli/commands.h"
#include "spiffe/spiffe_id.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"
#include "spire/api/server/svid/v1/svid.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::svid::v1;  // NOLINT(google-build-using-namespace): messages
using spire::api::server::bundle::v1::GetBundleRequest;
using ProtoBundle = spire::api::types::Bundle;

constexpr mode_t kCertificateMode = 0644;
constexpr mode_t kKeyMode = 0600;

std::int32_t ttl_seconds(Duration ttl) {
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(ttl).count();
  return static_cast<std::int32_t>(std::min<std::int64_t>(seconds, INT32_MAX));
}

// The server cuts lifetimes to the authority's; the user should know.
void tell_if_capped(std::string_view what, Duration ttl, WallTime expires_at,
                    cli::Environment& environment) {
  if (ttl > Duration(0) && expires_at < truncate_to_seconds(system_clock().now()) + ttl) {
    environment.err << fmt::format(
        "{} lifetime was capped shorter than specified ttl; expires \"{}\"\n", what,
        format_rfc3339(expires_at));
  }
}

// --- x509 ---

struct X509Flags : ClientFlags {
  std::string spiffe_id, write;
  Duration ttl{0};
  std::vector<std::string> dns_names;
};

void bind_x509(cli::FlagSet& flags, X509Flags& to) {
  bind_client(flags, to);
  flags.add("dns", &to.dns_names,
            "DNS name that will be included in SVID. Can be used more than once.");
  flags.add("spiffeID", &to.spiffe_id, "SPIFFE ID of the X509-SVID");
  flags.add("ttl", &to.ttl, "TTL of the X509-SVID");
  flags.add("write", &to.write, "Directory to write output to instead of stdout");
}

struct Minted {
  std::vector<Bytes> chain;
  std::shared_ptr<const crypto::PrivateKey> key;
  std::vector<Bytes> roots;
};

std::string join_pem(const std::vector<Bytes>& certificates) {
  return x509::chain_to_pem(certificates);
}

Result<void> write_files(const Minted& minted, const std::string& folder,
                         cli::Environment& environment) {
  auto write = [&](std::string_view name, ByteView content, mode_t mode, std::string_view what,
                   std::string_view failure) -> Result<void> {
    std::string path = fmt::format("{}/{}", folder, name);
    TRY(io::write_file(environment.resolve(path), content, mode)
            .during(fmt::format("unable to write {}", failure)));
    environment.out << fmt::format("{} written to {}\n", what, path);
    return {};
  };
  TRY(write("svid.pem", join_pem(minted.chain), kCertificateMode, "X509-SVID", "SVID"));
  TRY(write("key.pem", minted.key->to_pem().reveal(), kKeyMode, "Private key", "key"));
  return write("bundle.pem", join_pem(minted.roots), kCertificateMode, "Root CAs", "bundle");
}

std::string json_list(const std::vector<Bytes>& items) {
  std::string out;
  for (const Bytes& item : items) {
    out += fmt::format("{}\"{}\"", out.empty() ? "" : ",", base64_encode(item));
  }
  return out;
}

Result<Minted> mint(const X509Flags& flags, cli::Environment& environment) {
  auto id = TRY(spiffe::SpiffeId::parse(flags.spiffe_id));
  Minted minted;
  minted.key = TRY(crypto::PrivateKey::generate(crypto::KeyType::kEcP256));
  x509::CsrOptions csr;
  csr.uri_sans = {id.text()};
  csr.dns_sans = flags.dns_names;
  MintX509SVIDRequest request;
  request.set_csr(TRY(x509::build_csr(*minted.key, csr)));
  request.set_ttl(ttl_seconds(flags.ttl));
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response =
      TRY(client.call<MintX509SVIDResponse>("/spire.api.server.svid.v1.SVID/MintX509SVID", request)
              .during("unable to mint SVID"));
  if (response.svid().cert_chain().empty()) {
    return internal("server response missing SVID chain");
  }
  for (const std::string& certificate : response.svid().cert_chain()) {
    minted.chain.push_back(certificate);
  }
  auto bundle = TRY(
      client.call<ProtoBundle>("/spire.api.server.bundle.v1.Bundle/GetBundle", GetBundleRequest())
          .during("unable to get bundle"));
  for (const auto& root : bundle.x509_authorities()) {
    minted.roots.push_back(root.asn1());
  }
  tell_if_capped("X509-SVID", flags.ttl, from_unix_seconds(response.svid().expires_at()),
                 environment);
  return minted;
}

Result<void> mint_x509(const X509Flags& flags, cli::Environment& environment) {
  if (flags.spiffe_id.empty()) {
    return invalid_argument("spiffeID must be specified");
  }
  Minted minted = TRY(mint(flags, environment));
  if (flags.output.json()) {
    environment.out << fmt::format(
        "{{\"x509_svid\":[{}],\"private_key\":\"{}\",\"root_cas\":[{}]}}\n",
        json_list(minted.chain), base64_encode(minted.key->to_pkcs8().reveal()),
        json_list(minted.roots));
    return {};
  }
  if (!flags.write.empty()) {
    return write_files(minted, flags.write, environment);
  }
  environment.out << "X509-SVID:\n"
                  << join_pem(minted.chain) << "\nPrivate key:\n"
                  << minted.key->to_pem().reveal() << "\nRoot CAs:\n"
                  << join_pem(minted.roots) << "\n";
  return {};
}

// --- jwt ---

struct JwtFlags : ClientFlags {
  std::string spiffe_id, write;
  Duration ttl{0};
  std::vector<std::string> audience;
};

void bind_jwt(cli::FlagSet& flags, JwtFlags& to) {
  bind_client(flags, to);
  flags.add("audience", &to.audience,
            "Audience claim that will be included in the SVID. Can be used more than once.");
  flags.add("spiffeID", &to.spiffe_id, "SPIFFE ID of the JWT-SVID");
  flags.add("ttl", &to.ttl, "TTL of the JWT-SVID");
  flags.add("write", &to.write, "File to write token to instead of stdout");
}

Result<void> mint_jwt(const JwtFlags& flags, cli::Environment& environment) {
  if (flags.spiffe_id.empty()) {
    return invalid_argument("spiffeID must be specified");
  }
  if (flags.audience.empty()) {
    return invalid_argument("at least one audience must be specified");
  }
  MintJWTSVIDRequest request;
  TRY(id_to_proto(flags.spiffe_id, *request.mutable_id()));
  request.set_ttl(ttl_seconds(flags.ttl));
  for (const std::string& audience : flags.audience) {
    request.add_audience(audience);
  }
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response =
      TRY(client.call<MintJWTSVIDResponse>("/spire.api.server.svid.v1.SVID/MintJWTSVID", request)
              .during("unable to mint SVID"));
  tell_if_capped("JWT-SVID", flags.ttl, from_unix_seconds(response.svid().expires_at()),
                 environment);
  return cli::print(flags.output, environment, {&response},
                    [&](cli::Environment& env) -> Result<void> {
                      const std::string& token = response.svid().token();
                      if (flags.write.empty()) {
                        env.out << token << "\n";
                        return {};
                      }
                      TRY(io::write_file(env.resolve(flags.write), token, kKeyMode)
                              .during("unable to write token"));
                      env.out << "JWT-SVID written to " << flags.write << "\n";
                      return {};
                    });
}

}  // namespace

void add_mint_commands(std::vector<cli::Command>& table) {
  table.push_back(cli::command<X509Flags>("x509 mint", "Mints an X509-SVID", bind_x509, mint_x509));
  table.push_back(cli::command<JwtFlags>("jwt mint", "Mints a JWT-SVID", bind_jwt, mint_jwt));
}

}  // namespace steeple::server
