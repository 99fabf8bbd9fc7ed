// SPDX-License-Identifier: Apache-2.0

// Goal: the reference's files are accepted, with its defaults, and refused in its words. Method:
// texts in, structs out; many of the cases are facts of the reference's own tests.

#include <gmock/gmock.h>

#include "oidc/config/provider_config.h"

namespace steeple::oidc {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kSource = "server_api { address = \"unix:///some/socket/path\" }\n";
constexpr const char* kPlain = "domains = [\"domain.test\"]\ninsecure_addr = \":8080\"\n";

std::string refusal(const std::string& text) {
  auto config = parse_config(text);
  return config.ok() ? "accepted" : config.error().message;
}
ProviderConfig accepted(const std::string& text) {
  auto config = parse_config(text);
  EXPECT_TRUE(config.ok()) << config.error().message;
  return config.ok() ? std::move(config).take() : ProviderConfig{};
}

TEST(OidcConfig, DefaultsAreTheReferences) {
  ProviderConfig config = accepted(std::string(kPlain) + kSource);
  EXPECT_EQ(config.log_level, "info");
  EXPECT_THAT(config.domains, ElementsAre("domain.test"));
  EXPECT_EQ(config.insecure_addr->text(), ":8080");
  EXPECT_EQ(config.server_api->socket_path, "/some/socket/path");
  EXPECT_EQ(config.poll_interval(), seconds(10));
  EXPECT_EQ(config.server_path_prefix, "/");
  EXPECT_FALSE(config.set_key_use || config.allow_insecure_scheme || config.log_requests ||
               config.health_checks || config.jwt_issuer || config.jwks_uri);
}

TEST(OidcConfig, EveryKeyIsTaken) {
  ProviderConfig config = accepted(R"(
    log_format = "json" log_level = "debug" log_path = "/var/log/oidc.log" log_requests = true
    domains = ["a.test", "b.test", "a.test"] set_key_use = true allow_insecure_scheme = true
    jwt_issuer = "https://issuer.test/x" jwks_uri = "https://keys.test/k"
    server_path_prefix = "/instance/1"
    serving_cert_file { cert_file_path = "c" key_file_path = "k" file_sync_interval = "5m"
                        addr = "127.0.0.1:9090" }
    workload_api { socket_path = "/a/b.sock" trust_domain = "domain.test" poll_interval = "1m"
                   experimental { named_pipe_name = "" } }
    health_checks { bind_port = 8009 ready_path = "/r" live_path = "/l" }
    experimental { listen_named_pipe_name = "" })");
  EXPECT_EQ(config.log_format + config.log_level + config.log_path, "jsondebug/var/log/oidc.log");
  EXPECT_THAT(config.domains, ElementsAre("a.test", "b.test"));
  EXPECT_EQ(config.jwt_issuer->text, "https://issuer.test/x");
  EXPECT_EQ(config.jwks_uri->text, "https://keys.test/k");
  EXPECT_EQ(config.serving_cert_file->addr.text(), "127.0.0.1:9090");
  EXPECT_EQ(config.serving_cert_file->file_sync_interval, minutes(5));
  EXPECT_EQ(config.workload_api->socket_path, "/a/b.sock");
  EXPECT_EQ(config.workload_api->trust_domain.name(), "domain.test");
  EXPECT_EQ(config.poll_interval(), minutes(1));
  EXPECT_EQ(config.health_checks->bind_port, 8009);
  EXPECT_EQ(config.health_checks->ready_path + config.health_checks->live_path, "/r/l");
  EXPECT_TRUE(config.set_key_use && config.allow_insecure_scheme && config.log_requests);
  EXPECT_TRUE(config.warnings.empty());
}

TEST(OidcConfig, JsonOfTheChartWithNumbersInQuotesIsTheSame) {
  ProviderConfig config = accepted(R"({"domains": ["a.test"], "jwt_issuer": "https://a.test",
    "log_level": "info", "log_format": "text",
    "workload_api": {"socket_path": "/spiffe-workload-api/spire-agent.sock",
                     "trust_domain": "a.test"},
    "serving_svid": {"addr": ":8443"},
    "health_checks": {"bind_port": "8008", "live_path": "/live", "ready_path": "/ready"}})");
  EXPECT_EQ(config.serving_svid->text(), ":8443");
  EXPECT_EQ(config.health_checks->bind_port, 8008);
  EXPECT_TRUE(config.warnings.empty());
}

TEST(OidcConfig, WhatExcludesEachOtherIsRefusedInTheReferencesWords) {
  const std::string domains = "domains = [\"domain.test\"]\n";
  const std::string acme = "acme { email = \"a@b\" tos_accepted = true }\n";
  const std::string cert = "serving_cert_file { cert_file_path = \"c\" key_file_path = \"k\" }\n";
  const std::string socket = "listen_socket_path = \"/s\"\n";
  const std::string plain = "insecure_addr = \":80\"\n";
  const std::string source = kSource;
  const std::string api = "workload_api { socket_path = \"/s\" trust_domain = \"a.test\" }\n";
  const std::string file = "file { path = \"/f\" }\n";
  const std::string sources =
      "the server_api, workload_api, and file sections are mutually exclusive";

  EXPECT_EQ(refusal(plain + source), "at least one domain must be configured");
  EXPECT_EQ(
      refusal(domains + source),
      "either acme, serving_cert_file, insecure_addr or listen_socket_path must be configured");
  EXPECT_EQ(refusal(domains + acme + plain + source),
            "insecure_addr and the acme section are mutually exclusive");
  EXPECT_EQ(refusal(domains + acme + socket + source),
            "listen_socket_path and the acme section are mutually exclusive");
  EXPECT_EQ(refusal(domains + acme + cert + source),
            "acme and serving_cert_file are mutually exclusive");
  EXPECT_EQ(refusal(domains + plain + socket + source),
            "insecure_addr and listen_socket_path are mutually exclusive");
  EXPECT_EQ(refusal(domains + cert + plain + source),
            "serving_cert_file and insecure_addr are mutually exclusive");
  EXPECT_EQ(refusal(domains + cert + socket + source),
            "serving_cert_file and listen_socket_path are mutually exclusive");
  EXPECT_EQ(refusal(domains + "acme { email = \"e\" }\n" + source),
            "tos_accepted must be set to true in the acme configuration section");
  EXPECT_EQ(refusal(domains + "acme { tos_accepted = true }\n" + source),
            "email must be configured in the acme configuration section");
  EXPECT_EQ(refusal(domains + plain),
            "exactly one of the server_api, workload_api, or file sections must be configured");
  EXPECT_EQ(refusal(domains + plain + source + api), sources);
  EXPECT_EQ(refusal(domains + plain + source + file), sources);
  EXPECT_EQ(refusal(domains + plain + api + file), sources);
  EXPECT_EQ(refusal(domains + plain + source + api + file), sources);
}

TEST(OidcConfig, WhatIsMissingOrMalformedIsRefusedInTheReferencesWords) {
  const std::string plain = kPlain;
  const std::string domains = "domains = [\"domain.test\"]\n";
  auto with_cert = [&](const std::string& keys) {
    return refusal(domains + "serving_cert_file { " + keys + " }\n" + kSource);
  };
  EXPECT_EQ(with_cert("key_file_path = \"k\""),
            "cert_file_path must be configured in the serving_cert_file configuration section");
  EXPECT_EQ(with_cert("cert_file_path = \"c\""),
            "key_file_path must be configured in the serving_cert_file configuration section");
  EXPECT_THAT(with_cert("cert_file_path = \"c\" key_file_path = \"k\" addr = \"localhost\""),
              StartsWith("invalid addr in the serving_cert_file configuration section: "));
  EXPECT_EQ(with_cert("cert_file_path = \"c\" key_file_path = \"k\" file_sync_interval = \"huh\""),
            "invalid file_sync_interval in the serving_cert_file configuration section: time: "
            "invalid duration \"huh\"");
  EXPECT_EQ(refusal(plain + "server_api {}"),
            "address must be configured in the server_api configuration section");
  EXPECT_EQ(refusal(plain + "server_api { address = \"localhost:8199\" }"),
            "address must use the unix name system in the server_api configuration section");
  EXPECT_EQ(refusal(plain + "server_api { address = \"unix:///s\" poll_interval = \"huh\" }"),
            "invalid poll_interval in the server_api configuration section: time: invalid duration "
            "\"huh\"");
  EXPECT_EQ(refusal(plain + "workload_api { trust_domain = \"a.test\" }"),
            "socket_path must be configured in the workload_api configuration section");
  EXPECT_EQ(refusal(plain + "workload_api { socket_path = \"/s\" }"),
            "trust_domain must be configured in the workload_api configuration section");
  EXPECT_EQ(refusal(plain + kSource + "jwt_issuer = \"domain.test/path\""),
            "the jwt_issuer url must contain a scheme");
  EXPECT_EQ(refusal(plain + kSource + "jwt_issuer = \"https:///path\""),
            "the jwt_issuer url must contain a host");
  EXPECT_THAT(refusal(plain + kSource + "jwt_issuer = \"http://domain.test:port/some/path\""),
              StartsWith("the jwt_issuer url could not be parsed: parse "));
  EXPECT_THAT(refusal(plain + kSource + "jwks_uri = \"/keys\""),
              StartsWith("the jwks_uri setting could not be parsed"));
  EXPECT_THAT(refusal("domains = ["), StartsWith("unable to decode configuration: "));
}

TEST(OidcConfig, UnknownKeysAreNamedAndAcmeIsRefusedByName) {
  EXPECT_THAT(
      refusal(std::string(kPlain) + "server_api { address = \"unix:///s\" socket = \"x\" }\n"
                                    "jwt_isuer = \"https://a\""),
      AllOf(StartsWith("unable to decode configuration: "), HasSubstr("jwt_isuer"),
            HasSubstr("socket")));
  EXPECT_THAT(
      refusal(std::string("domains = [\"a.test\"]\nacme { email = \"e\" tos_accepted = true "
                          "cache_dir = \"\" directory_url = \"https://d.test\" }\n") +
              kSource),
      StartsWith("the acme section is not supported"));
}

TEST(OidcConfig, ServingSvidStandsAloneAndNeedsTheWorkloadApi) {
  const std::string svid = "domains = [\"a.test\"]\nserving_svid {}\n";
  const std::string api = "workload_api { socket_path = \"/s\" trust_domain = \"a.test\" }\n";
  EXPECT_EQ(accepted(svid + api).serving_svid->text(), ":8443");
  EXPECT_EQ(refusal(svid + kSource), "serving_svid needs the workload_api section");
  EXPECT_EQ(refusal(svid + api + "insecure_addr = \":80\""),
            "serving_svid and insecure_addr are mutually exclusive");
}

TEST(OidcConfig, DomainsMustBeHostNamesInPunycode) {
  auto with = [](const std::string& domain) {
    return refusal("domains = [\"" + domain + "\"]\ninsecure_addr = \":80\"\n" + kSource);
  };
  EXPECT_EQ(with("xn--n38h.test"), "accepted");
  EXPECT_EQ(with("\xf0\x9f\x98\xac.test"),
            "domain \"\xf0\x9f\x98\xac.test\" must already be punycode encoded");
  EXPECT_EQ(with("Upper.test"), "domain \"Upper.test\" must already be punycode encoded");
  EXPECT_EQ(with("invalid/domain.test"),
            "domain \"invalid/domain.test\" is not a valid domain name: idna: disallowed rune "
            "U+002F");
  EXPECT_THAT(with("-a.test"), HasSubstr("is not a valid domain name"));
}

TEST(OidcConfig, EnvironmentIsExpandedWhenAskedFor) {
  auto missing = load_config("/does/not/exist.conf", nullptr);
  EXPECT_EQ(missing.error().message,
            "unable to load configuration: open /does/not/exist.conf: no such file or directory");
}

TEST(OidcUrl, HostOfAHeaderIsWithoutItsPort) {
  EXPECT_EQ(host_of("a.test"), "a.test");
  EXPECT_EQ(host_of("a.test:443"), "a.test");
  EXPECT_EQ(host_of("[::1]:443"), "::1");
  EXPECT_EQ(host_of("a:b:443"), "a:b:443");
  EXPECT_EQ(host_of("a.test:no-port"), "a.test:no-port");
  EXPECT_EQ(host_of(""), "");
}

TEST(OidcUrl, PathsAreJoinedClean) {
  EXPECT_EQ(join_path("/", "keys"), "/keys");
  EXPECT_EQ(join_path("", "keys"), "/keys");
  EXPECT_EQ(join_path("/a//b/./c/../", "keys"), "/a/b/keys");
  EXPECT_EQ(join_path("/..", "keys"), "/keys");
}

TEST(OidcUrl, UrlsAreWrittenAsGoWritesThem) {
  EXPECT_EQ(parse_url("HTTPS://u@a.test:8443/p q?x=1")->text, "https://u@a.test:8443/p%20q?x=1");
  EXPECT_EQ(parse_url("https://u@a.test:8443/p")->host, "a.test:8443");
  EXPECT_EQ(parse_url("https://a.test")->path, "");
  EXPECT_EQ(parse_url("https://[::1]:80/x")->host, "[::1]:80");
  EXPECT_FALSE(parse_url("https://a.test/%zz").ok());
  EXPECT_FALSE(parse_url("127.0.0.1:80").ok());
  EXPECT_FALSE(parse_url(":x").ok());
  EXPECT_FALSE(parse_url("https://a\x01").ok());
}

}  // namespace
}  // namespace steeple::oidc
