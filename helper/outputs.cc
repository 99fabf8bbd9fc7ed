// SPDX-License-Identifier: Apache-2.0

// Which file gets what: the names and modes of the configuration around rendered content.

#include "helper/helper.h"

namespace steeple::helper {

Result<std::vector<FileContent>> x509_files(const HelperConfig& config,
                                            const spiffe::X509Context& context, WallTime now) {
  X509Pem pem = TRY(render_x509(context,
                                {.add_intermediates_to_bundle = config.add_intermediates_to_bundle,
                                 .include_federated_domains = config.include_federated_domains,
                                 .omit_expired = config.omit_expired,
                                 .hint = config.hint},
                                now));
  std::vector<FileContent> files;
  // In the order in which they are put in place: who sees a new certificate finds its key and its
  // bundle there, too.
  files.push_back(
      {config.path_of(config.svid_bundle_file_name), std::move(pem.bundle), config.cert_file_mode});
  files.push_back(
      {config.path_of(config.svid_key_file_name), std::move(pem.key), config.key_file_mode});
  files.push_back(
      {config.path_of(config.svid_file_name), std::move(pem.svid), config.cert_file_mode});
  return files;
}

std::vector<FileContent> jwt_bundle_files(const HelperConfig& config,
                                          const spiffe::BundleSet& bundles) {
  std::vector<FileContent> files;
  files.push_back({config.path_of(config.jwt_bundle_file_name),
                   SecretBytes(render_jwt_bundles(bundles)), config.jwt_bundle_file_mode});
  return files;
}

std::vector<FileContent> jwt_svid_files(const HelperConfig& config, const JwtSvidConfig& jwt,
                                        const spiffe::JwtSvid& svid) {
  std::vector<FileContent> files;
  files.push_back(
      {config.path_of(jwt.file_name), SecretBytes(svid.token), config.jwt_svid_file_mode});
  return files;
}

spiffe::JwtParams jwt_params(const JwtSvidConfig& jwt) {
  spiffe::JwtParams params;
  params.audience = {jwt.audience};
  params.audience.insert(params.audience.end(), jwt.extra_audiences.begin(),
                         jwt.extra_audiences.end());
  return params;
}

void remove_leftovers(const HelperConfig& config) {
  for (const std::string& name : {config.svid_file_name, config.svid_key_file_name,
                                  config.svid_bundle_file_name, config.jwt_bundle_file_name}) {
    if (!name.empty()) {
      remove_leftovers(config.path_of(name));
    }
  }
  for (const JwtSvidConfig& jwt : config.jwt_svids) {
    remove_leftovers(config.path_of(jwt.file_name));
  }
}

}  // namespace steeple::helper
