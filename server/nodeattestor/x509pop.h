// SPDX-License-Identifier: Apache-2.0

// x509pop: the agent shows a certificate of a CA that we were told to trust (or, in spiffe mode, of
// our own trust domain) and proves that it holds the key. The wire format is lib/x509pop's.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/telemetry/log.h"
#include "lib/x509/verify.h"
#include "server/nodeattestor/agent_path_template.h"
#include "server/nodeattestor/node_attestor.h"
#include "spiffe/trust_domain.h"

namespace steeple::server {

enum class X509PopMode : std::uint8_t { kExternalPki, kSpiffe };

// What agent_path_template sees: the fields of certificate_value.h, SerialNumberHex, Fingerprint,
// PluginName, TrustDomain, SVIDPathTrimmed (mode spiffe), URISanSelectors.
gotemplate::TypeRef x509pop_template_data();
std::string_view x509pop_default_agent_path(X509PopMode mode);

struct X509PopOptions {
  AgentPathTemplate agent_path;
  X509PopMode mode = X509PopMode::kExternalPki;
  std::string spiffe_prefix = "/spire-exchange/";  // ends with '/'
  x509::Authorities roots = {};                    // external_pki
  int intermediates_max = 4;
  int rsa_key_bits_max = 8192;
  bool verify_client_ip = false;
};

struct X509PopDeps {
  Clock& clock;
  Random& random;
  // The present bundle of our own trust domain, for spiffe mode. Null: there is none.
  std::function<Result<x509::AuthoritiesPtr>()> own_bundle;
  Logger log;
};

std::unique_ptr<NodeAttestor> x509pop_attestor(X509PopOptions options,
                                               spiffe::TrustDomain trust_domain, X509PopDeps deps);

}  // namespace steeple::server
