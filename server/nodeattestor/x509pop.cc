// SPDX-License-Identifier: Apache-2.0

#include "server/nodeattestor/x509pop.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "lib/crypto/hash.h"
#include "lib/x509pop/x509pop.h"
#include "server/nodeattestor/certificate_value.h"
#include "server/nodeattestor/uri.h"

namespace steeple::server {

namespace {

using gotemplate::Value;
using SanSelectors = std::map<std::string, std::string>;

constexpr std::string_view kName = "x509pop";

struct Settings {
  X509PopOptions options;
  spiffe::TrustDomain trust_domain;
  X509PopDeps deps;
};

Error prefixed(Error error) { return std::move(error).during("nodeattestor(x509pop)"); }

std::string fingerprint(const x509::Certificate& certificate) {
  return hex_encode(crypto::sha1(certificate.der()));
}

bool too_large(const x509::Certificate& certificate, int bits_max) {
  const crypto::PublicKey& key = certificate.public_key();
  return key.kind() == crypto::KeyKind::kRsa && key.bits() > bits_max;
}

// "10.0.0.1:5" or "[::1]:5", as the transport names its peer: the host.
std::string_view host_of(std::string_view address) {
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos) {
    return address;
  }
  std::string_view host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return host;
}

// 4 or 16 bytes; an IPv4 address in IPv6 clothes gives 4.
std::optional<Bytes> ip_bytes(const std::string& text) {
  std::array<char, 16> out{};
  if (inet_pton(AF_INET, text.c_str(), out.data()) == 1) {
    return Bytes(out.data(), 4);
  }
  if (inet_pton(AF_INET6, text.c_str(), out.data()) == 1) {
    return Bytes(out.data(), 16);
  }
  return std::nullopt;
}

Bytes plain_ip(const Bytes& ip) {
  static const Bytes kMapped("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
  return ip.size() == 16 && ip.starts_with(kMapped) ? ip.substr(12) : ip;
}

std::string_view trim_slashes(std::string_view text) {
  while (text.starts_with('/')) {
    text.remove_prefix(1);
  }
  while (text.ends_with('/')) {
    text.remove_suffix(1);
  }
  return text;
}

class X509PopAttestation final : public Attestation {
 public:
  X509PopAttestation(const Settings& settings, AttestingPeer peer)
      : settings_(settings), peer_(std::move(peer)) {}

  Result<AttestationOutcome> start(ByteView payload) override {
    if (payload.empty()) {
      return invalid_argument("payload cannot be empty");
    }
    if (leaf_) {
      return prefixed(internal("the conversation has begun already"));
    }
    auto challenge = verify_and_challenge(payload);
    if (!challenge.ok()) {
      return prefixed(std::move(challenge).error());
    }
    return AttestationOutcome(Challenge{std::move(challenge).take()});
  }

  Result<AttestationOutcome> challenge_response(ByteView bytes) override {
    // One try: a second answer to the same nonce is somebody's guess.
    if (!challenge_) {
      return prefixed(invalid_argument("no challenge was sent"));
    }
    auto challenge = std::exchange(challenge_, std::nullopt);
    auto response = x509pop::parse_response(bytes);
    if (!response.ok() && response.error().code == Code::kUnauthenticated) {
      return prefixed(
          permission_denied("challenge response verification failed: " + response.error().message));
    }
    if (!response.ok()) {
      return prefixed(
          invalid_argument("unable to unmarshal challenge response: " + response.error().message));
    }
    auto proved = x509pop::verify_response(leaf_->public_key(), *challenge, *response);
    if (!proved.ok()) {
      return prefixed(
          permission_denied("challenge response verification failed: " + proved.error().message));
    }
    auto attributes = make_attributes();
    if (!attributes.ok()) {
      return prefixed(std::move(attributes).error());
    }
    return AttestationOutcome(std::move(attributes).take());
  }

 private:
  Result<Bytes> verify_and_challenge(ByteView payload);
  Result<std::vector<x509::CertificatePtr>> parse_certificates(ByteView payload) const;
  Result<void> verify_chains(const std::vector<x509::CertificatePtr>& intermediates);
  Result<void> check_client_ip() const;
  Result<std::string> svid_path() const;
  Result<Value> shown_certificate() const;
  Result<spiffe::SpiffeId> make_id(const SanSelectors& sans) const;
  std::string serial_hex() const;
  SanSelectors san_selectors() const;
  Result<AgentAttributes> make_attributes() const;

  const Settings& settings_;
  AttestingPeer peer_;
  x509::CertificatePtr leaf_;
  std::vector<std::string> ca_fingerprints_;
  std::optional<x509pop::Challenge> challenge_;
};

Result<std::vector<x509::CertificatePtr>> X509PopAttestation::parse_certificates(
    ByteView payload) const {
  const X509PopOptions& options = settings_.options;
  auto certificates = TRY(x509pop::parse_attestation(payload).during("failed to unmarshal data"));
  if (certificates.empty()) {
    return invalid_argument("no certificate to attest");
  }
  // Before anything is parsed: parsing costs.
  if (certificates.size() - 1 > static_cast<std::size_t>(options.intermediates_max)) {
    return invalid_argument("too many intermediate certificates");
  }
  std::vector<x509::CertificatePtr> out;
  for (std::size_t i = 0; i < certificates.size(); ++i) {
    const std::string what =
        i == 0 ? "leaf certificate" : fmt::format("intermediate certificate {}", i - 1);
    auto certificate = x509::Certificate::parse(certificates[i]);
    if (!certificate.ok()) {
      return invalid_argument(
          fmt::format("unable to parse {}: {}", what, certificate.error().message));
    }
    if (too_large(**certificate, options.rsa_key_bits_max)) {
      return invalid_argument(what + " key size too large");
    }
    out.push_back(std::move(certificate).take());
  }
  return out;
}

Result<Bytes> X509PopAttestation::verify_and_challenge(ByteView payload) {
  auto chain = TRY(parse_certificates(payload));
  leaf_ = chain.front();
  chain.erase(chain.begin());
  TRY(verify_chains(chain));
  if (settings_.options.verify_client_ip) {
    TRY(check_client_ip());
  }
  auto challenge = TRY(x509pop::make_challenge(*leaf_, settings_.deps.random)
                           .during("unable to generate challenge"));
  Bytes encoded = x509pop::encode_challenge(challenge);
  challenge_ = std::move(challenge);
  return encoded;
}

// Every root that the leaf chains to counts, since each chain gives selectors.
Result<void> X509PopAttestation::verify_chains(
    const std::vector<x509::CertificatePtr>& intermediates) {
  x509::AuthoritiesPtr roots;
  if (settings_.options.mode == X509PopMode::kSpiffe) {
    auto bundle = settings_.deps.own_bundle();
    if (!bundle.ok()) {
      return internal("failed to get trust bundle: " + bundle.error().message);
    }
    roots = std::move(bundle).take();
    if (!roots) {
      LOG_WARN(settings_.deps.log, "No trust bundle retrieved from SPIRE");
      roots = std::make_shared<const x509::Authorities>();
    }
  } else {
    roots = std::make_shared<const x509::Authorities>(settings_.options.roots);
  }
  const WallTime now = settings_.deps.clock.now();
  auto whole = x509::verify_chain(leaf_, intermediates, *roots, now);
  if (!whole.ok()) {
    return permission_denied("certificate verification failed: " + whole.error().message);
  }
  auto add = [this](const std::vector<x509::CertificatePtr>& path) {
    for (std::size_t i = 1; i < path.size(); ++i) {
      std::string print = fingerprint(*path[i]);
      if (std::ranges::find(ca_fingerprints_, print) == ca_fingerprints_.end()) {
        ca_fingerprints_.push_back(std::move(print));
      }
    }
  };
  add(*whole);
  for (const x509::CertificatePtr& root : *roots) {
    if (!(*root == *whole->back())) {
      auto path = x509::verify_chain(leaf_, intermediates, {root}, now);
      if (path.ok()) {
        add(*path);
      }
    }
  }
  return {};
}

Result<void> X509PopAttestation::check_client_ip() const {
  const std::string host(host_of(peer_.address));
  if (host.empty()) {
    return internal("client IP not available for verification");
  }
  auto ip = ip_bytes(host);
  if (!ip) {
    return internal(fmt::format("invalid client IP \"{}\"", host));
  }
  const Bytes wanted = plain_ip(*ip);
  if (std::ranges::none_of(leaf_->ip_sans(),
                           [&wanted](const Bytes& san) { return plain_ip(san) == wanted; })) {
    return permission_denied(
        fmt::format("client IP {} does not match any certificate IP SAN", host));
  }
  return {};
}

// In spiffe mode what follows the prefix in the SVID that is shown; else nothing.
Result<std::string> X509PopAttestation::svid_path() const {
  if (settings_.options.mode == X509PopMode::kExternalPki) {
    return std::string();
  }
  const auto& uris = leaf_->uri_sans();
  auto uri = std::ranges::find_if(uris, [](const auto& u) { return u.starts_with("spiffe://"); });
  if (uri == uris.end()) {
    return permission_denied("valid SVID x509 cert not found");
  }
  auto id = spiffe::SpiffeId::parse(*uri);
  if (!id.ok() || !id->member_of(settings_.trust_domain)) {
    return permission_denied("valid SVID x509 cert not found");
  }
  if (!id->path().starts_with(settings_.options.spiffe_prefix)) {
    return permission_denied("x509 cert doesnt match SVID prefix");
  }
  return std::string(id->path().substr(settings_.options.spiffe_prefix.size()));
}

// Its fields, for a template that reads one: the default paths need nothing of it, and names that
// cannot be read concern only who shows them.
Result<Value> X509PopAttestation::shown_certificate() const {
  auto read = [this](const std::string& field) {
    return settings_.options.agent_path.reads(field);
  };
  const gotemplate::TypeRef type = certificate_type();
  if (!read("Certificate") &&
      std::ranges::none_of(type->fields, read, &gotemplate::Type::Field::name)) {
    return Value::zero_of(type);
  }
  return certificate_value(*leaf_);
}

Result<spiffe::SpiffeId> X509PopAttestation::make_id(const SanSelectors& sans) const {
  const std::string path = TRY(svid_path());
  auto certificate = TRY(shown_certificate().during("failed to make spiffe id"));
  Value::Map selectors;
  for (const auto& [key, value] : sans) {
    selectors.emplace(key, Value(value));
  }
  auto data = Value::object(
      x509pop_template_data(),
      {std::move(certificate), Value(serial_hex()), Value(fingerprint(*leaf_)), Value(kName),
       Value(settings_.trust_domain.name()), Value(path),
       Value::map(std::move(selectors), gotemplate::types::map_of(gotemplate::types::string()))});
  auto id = settings_.options.agent_path.agent_id(settings_.trust_domain, data);
  if (!id.ok()) {
    return internal("failed to make spiffe id: " + id.error().message);
  }
  return id;
}

// Whole bytes: an odd number of digits gets a leading zero.
std::string X509PopAttestation::serial_hex() const {
  return leaf_->serial().empty() ? "00" : hex_encode(leaf_->serial());
}

SanSelectors X509PopAttestation::san_selectors() const {
  SanSelectors out;
  const std::string authority = "x509pop://" + settings_.trust_domain.name();
  for (const std::string& uri : leaf_->uri_sans()) {
    if (!uri.starts_with(authority + "/")) {
      continue;
    }
    auto path = uri_path(std::string_view(uri).substr(authority.size()));
    const std::string_view trimmed = path ? trim_slashes(*path) : std::string_view();
    const auto slash = trimmed.find('/');
    if (slash == std::string_view::npos) {
      LOG_WARN(settings_.deps.log,
               fmt::format("cannot extract x509pop san selectors from {}", uri));
      continue;
    }
    out[std::string(trimmed.substr(0, slash))] = trimmed.substr(slash + 1);
  }
  return out;
}

Result<AgentAttributes> X509PopAttestation::make_attributes() const {
  const SanSelectors sans = san_selectors();
  auto id = TRY(make_id(sans));
  AgentAttributes out{.agent_id = std::move(id), .selectors = {}, .can_reattest = true};
  auto add = [&out](std::string value) {
    out.selectors.push_back({std::string(kName), std::move(value)});
  };
  const x509::Name subject = TRY(leaf_->subject_name());
  if (!subject.common_name.empty()) {
    add("subject:cn:" + subject.common_name);
  }
  for (const std::string& print : ca_fingerprints_) {
    add("ca:fingerprint:" + print);
  }
  add("serialnumber:" + serial_hex());
  for (const auto& [key, value] : sans) {
    add(fmt::format("san:{}:{}", key, value));
  }
  return out;
}

class X509PopAttestor final : public NodeAttestor {
 public:
  explicit X509PopAttestor(Settings settings) : settings_(std::move(settings)) {}
  std::string_view name() const override { return kName; }
  std::unique_ptr<Attestation> begin(AttestingPeer peer) const override {
    return std::make_unique<X509PopAttestation>(settings_, std::move(peer));
  }

 private:
  const Settings settings_;
};

}  // namespace

gotemplate::TypeRef x509pop_template_data() {
  namespace types = gotemplate::types;
  using types::field;
  static const gotemplate::TypeRef type = types::structure(
      "x509pop.agentPathTemplateData",
      {field("Certificate", certificate_type(), true), field("SerialNumberHex", types::string()),
       field("Fingerprint", types::string()), field("PluginName", types::string()),
       field("TrustDomain", types::string()), field("SVIDPathTrimmed", types::string()),
       field("URISanSelectors", types::map_of(types::string()))});
  return type;
}

std::string_view x509pop_default_agent_path(X509PopMode mode) {
  return mode == X509PopMode::kSpiffe ? "/{{ .PluginName }}/{{ .SVIDPathTrimmed }}"
                                      : "/{{ .PluginName }}/{{ .Fingerprint }}";
}

std::unique_ptr<NodeAttestor> x509pop_attestor(X509PopOptions options,
                                               spiffe::TrustDomain trust_domain, X509PopDeps deps) {
  return std::make_unique<X509PopAttestor>(
      Settings{std::move(options), std::move(trust_domain), std::move(deps)});
}

}  // namespace steeple::server
