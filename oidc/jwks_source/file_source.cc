// SPDX-License-Identifier: Apache-2.0

#include "oidc/jwks_source/file_source.h"

#include <map>

#include "lib/base/limits.h"
#include "lib/io/directory.h"
#include "lib/io/on_worker.h"

namespace steeple::oidc {
namespace {

Result<std::vector<jose::Jwk>> read_keys(const std::string& path) {
  Bytes text = TRY(io::read_file(path, limits::kBundleBytesMax)
                       .during("spiffebundle: unable to read SPIFFE bundle"));
  return jwt_keys_of_document(text);
}

}  // namespace

// A document does not say whose it is, and so far nobody needs to know: hence not
// jose::parse_bundle_document. The last of two keys with one id counts, as there.
Result<std::vector<jose::Jwk>> jwt_keys_of_document(std::string_view json) {
  std::map<std::string, jose::Jwk> by_id;
  for (jose::Jwk& jwk : TRY(jose::parse_jwks(json).during("spiffebundle"))) {
    if (jwk.use != "jwt-svid") {
      continue;
    }
    if (jwk.key_id.empty()) {
      return invalid_argument(
          "spiffebundle: error adding authority of JWKS: keyID cannot be empty");
    }
    jwk.use.clear();
    jwk.algorithm.clear();
    jwk.certificates.clear();
    std::string key_id = jwk.key_id;
    by_id.insert_or_assign(std::move(key_id), std::move(jwk));
  }
  std::vector<jose::Jwk> keys;
  for (auto& [key_id, jwk] : by_id) {
    keys.push_back(std::move(jwk));
  }
  return keys;
}

FileSource::FileSource(const FileConfig& config, io::Loop& loop, io::Workers& workers, Logger log)
    : config_(config),
      loop_(loop),
      workers_(workers),
      log_(std::move(log)),
      newest_(loop.clock()),
      timer_(loop) {}

void FileSource::poll() {
  io::on_worker(
      workers_, loop_, alive_, [path = config_.path] { return read_keys(path); },
      [this](Result<std::vector<jose::Jwk>> keys) {
        if (keys.ok()) {
          newest_.put(std::move(*keys));
          last_success_ = loop_.clock().steady();
        } else {
          LOG_WARN(log_, "Failed to load SPIFFE trust bundle", {"error", keys.error()});
        }
        timer_.start(config_.poll_interval, [this] { poll(); });
      });
}

}  // namespace steeple::oidc
