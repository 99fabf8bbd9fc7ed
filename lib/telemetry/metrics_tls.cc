// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/metrics_tls.h"

#include <algorithm>
#include <utility>

#include "lib/base/limits.h"
#include "lib/io/directory.h"
#include "lib/tls/file_identity.h"
#include "lib/tls/spiffe_policy.h"

namespace steeple {
namespace {

constexpr auto kFilesInterval = std::chrono::seconds(10);

// May a client show it? (RFC 5280 4.2.1.12: without the extension, yes.)
bool for_clients(const x509::CertificatePtr& certificate) {
  return !certificate->has_extended_key_usage() || certificate->extended_key_usage_client_auth();
}

tls::VerifyPeer verify_issued_by(x509::Authorities roots, const Clock& clock) {
  return [roots = std::move(roots),
          &clock](const std::vector<Bytes>& chain) -> Result<std::optional<spiffe::SpiffeId>> {
    auto presented = TRY(x509::parse_chain(chain));
    if (presented.empty()) {
      return invalid_argument("client chain is empty");
    }
    auto path = TRY(x509::verify_chain(presented.front(), {presented.begin() + 1, presented.end()},
                                       roots, clock.now()));
    if (!std::all_of(path.begin(), path.end() - 1, for_clients)) {
      return failed_precondition("certificate specifies an incompatible key usage");
    }
    return std::optional<spiffe::SpiffeId>();
  };
}

Result<tls::VerifyPeer> verify_client(const MetricsTlsConfig& config, const MetricsTlsDeps& deps,
                                      const Clock& clock) {
  if (auto ids = TRY(authorized_ids(config)); !ids.empty()) {
    return tls::verify_one_of(std::move(ids), deps.authorities, clock);
  }
  if (config.client_ca_file.empty()) {
    return tls::VerifyPeer();
  }
  auto pem = TRY(io::read_file(config.client_ca_file, limits::kBundleBytesMax));
  auto roots = TRY(x509::parse_pem_certificates(pem).during(config.client_ca_file));
  return verify_issued_by(std::move(roots), clock);
}

}  // namespace

Result<std::shared_ptr<const tls::ServerPolicy>> metrics_tls_policy(const MetricsTlsConfig& config,
                                                                    const MetricsTlsDeps& deps,
                                                                    io::Loop& loop,
                                                                    const Logger& log) {
  auto policy = std::make_shared<tls::ServerPolicy>();
  policy->alpn = {};  // clients that name no protocol are served, too
  policy->verify_client = TRY(verify_client(config, deps, loop.clock()));
  policy->require_client = policy->verify_client != nullptr;
  if (config.use_spire_svid) {
    policy->identity = deps.own_svid;
    return policy;
  }
  auto files = TRY(tls::FileIdentity::start(
      {.cert_path = config.cert_file, .key_path = config.key_file, .interval = kFilesInterval},
      loop, deps.workers, [log](const Result<void>& how) {
        if (how.ok()) {
          LOG_INFO(log, "Loaded the certificate of the Prometheus listener anew");
        } else {
          LOG_ERROR(log, "Failed to load the certificate of the Prometheus listener",
                    {"error", how.error()});
        }
      }));
  policy->identity = [files = std::move(files)] { return files->get(); };
  return policy;
}

}  // namespace steeple
