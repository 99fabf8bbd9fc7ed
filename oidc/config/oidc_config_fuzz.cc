// SPDX-License-Identifier: Apache-2.0

// Goal: no configuration text, URL or Host header makes its reader misbehave.

#include "lib/base/fuzz_seeds.h"
#include "oidc/config/provider_config.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {
      R"({"domains":["a.test"],"serving_svid":{"addr":":8443"},"jwt_issuer":"https://a.test/x",)"
      R"("workload_api":{"socket_path":"/s","trust_domain":"a.test","poll_interval":"1m"}})",
      "domains = [\"a.test\"]\nlisten_socket_path = \"/s\"\nfile { path = \"/f\" }\n"
      "jwks_uri = \"https://keys.test:1/%41?x\"\nhealth_checks { bind_port = 1 }\n",
      "domains = [\"a.test\"]\nserver_api { address = \"unix:///s\" }\nserving_cert_file { "
      "cert_file_path = \"c\" key_file_path = \"k\" addr = \"[::1]:1\" }\n",
      "https://u@a.test:8443/p%20q?x=1#f", "xn--n38h.a-b.test:443"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)steeple::oidc::parse_config(input).ok();
  (void)steeple::oidc::parse_url(input).ok();
  (void)steeple::oidc::check_domain(steeple::oidc::host_of(input)).ok();
  (void)steeple::oidc::join_path(input, "keys");
  return 0;
}
