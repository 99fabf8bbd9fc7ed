// SPDX-License-Identifier: Apache-2.0

#include "agent/nodeattestor/bootstrap.h"

#include <fmt/core.h>

#include <map>

#include "lib/base/limits.h"
#include "lib/http/fetch.h"
#include "lib/http/server.h"
#include "lib/io/directory.h"
#include "lib/jose/bundle_document.h"
#include "lib/x509/certificate.h"

namespace steeple::agent {
namespace {

std::string query_escape(std::string_view text) {
  constexpr std::string_view kPlain = "-_.~";
  std::string out;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || kPlain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

Result<std::vector<Bytes>> parse_bundle(const BootstrapTrust& trust,
                                        const spiffe::TrustDomain& domain, ByteView text) {
  std::vector<Bytes> out;
  if (trust.spiffe_format) {
    jose::Bundle bundle = TRY(
        jose::parse_bundle_document(domain, text).during("unable to parse SPIFFE trust bundle"));
    for (jose::X509Authority& authority : bundle.x509_authorities) {
      out.push_back(std::move(authority.der));
    }
  } else {
    for (const auto& certificate : TRY(x509::parse_pem_certificates(text))) {
      out.push_back(certificate->der());
    }
  }
  if (out.empty()) {
    return invalid_argument("no certificates found in trust bundle");
  }
  return out;
}

Result<Bytes> download(const BootstrapTrust& trust, const BootstrapAttempt& attempt) {
  http::FetchRequest request;
  request.url = trust.bundle_unix_socket.empty() ? trust.bundle_url
                                                 : bootstrap_url(trust.bundle_url, attempt);
  request.unix_socket = trust.bundle_unix_socket;
  http::FetchResponse response = TRY(
      http::fetch(request).during(fmt::format("unable to fetch trust bundle URL {}", request.url)));
  if (response.status != 200) {
    return unavailable(fmt::format("error downloading trust bundle: {} {}", response.status,
                                   http::reason_phrase(response.status)));
  }
  return std::move(response.body);
}

}  // namespace

std::string bootstrap_url(const std::string& url, const BootstrapAttempt& attempt) {
  const std::map<std::string, std::string> parameters = {
      {"spire-attest-mode", "bootstrap"},
      {"spire-connection-attempts", std::to_string(attempt.number)},
      {"spire-attest-start-time", format_rfc3339(attempt.started)},
      {"spire-server-address", attempt.server_address},
      {"spire-server-port", std::to_string(attempt.server_port)},
      {"spiffe-trust-domain", attempt.trust_domain.name()},
  };
  std::string out = url;
  char joint = url.find('?') == std::string::npos ? '?' : '&';
  for (const auto& [name, value] : parameters) {
    out += joint;
    out += name + "=" + query_escape(value);
    joint = '&';
  }
  return out;
}

Result<std::optional<std::vector<Bytes>>> read_bootstrap_bundle(const BootstrapTrust& trust,
                                                                const BootstrapAttempt& attempt) {
  if (trust.insecure) {
    return std::optional<std::vector<Bytes>>();
  }
  Bytes text;
  if (!trust.bundle_url.empty()) {
    text = TRY(download(trust, attempt));
  } else {
    text = TRY(io::read_file(trust.bundle_path, limits::kBundleBytesMax)
                   .during("could not parse trust bundle"));
  }
  return std::optional(TRY(parse_bundle(trust, attempt.trust_domain, text)));
}

}  // namespace steeple::agent
