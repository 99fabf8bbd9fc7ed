// SPDX-License-Identifier: Apache-2.0

// agent.conf: what is read, what is refused and with which words, and when credentials rotate.

#include "agent/config/agent_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/config/backoff.h"
#include "lib/base/fake_random.h"

namespace steeple::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr const char* kPlugins = R"(
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
})";
constexpr const char* kGood = R"(
  server_address = "server"
  server_port = "8081"
  trust_domain = "example.org"
)";

Result<LoadedConfig> load(const std::string& agent_keys, const Overrides& flags = {},
                          const std::string& more = kPlugins) {
  return parse_config("agent {" + agent_keys + "\n}\n" + more, flags);
}
Result<LoadedConfig> good(const std::string& more_keys = {}, const Overrides& flags = {}) {
  return load(kGood + more_keys, flags);
}
std::string error_of(const Result<LoadedConfig>& loaded) {
  return loaded.ok() ? std::string("(no error)") : loaded.error().message;
}

TEST(AgentConfig, ReadsTheUsualFile) {
  auto loaded = load(R"(
    data_dir = "/opt/spire/data"
    log_level = "DEBUG"
    server_address = "127.0.0.1"
    server_port = "8081"
    socket_path = "/tmp/agent.sock"
    admin_socket_path = "/run/admin.sock"
    trust_bundle_path = "./bundle.crt"
    trust_domain = "example.org"
    x509_svid_cache_max_size = 7
    experimental { sync_interval = "2s" ratelimit { fetch_x509_svid = 9 } }
  )");
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const AgentConfig& config = loaded->config;
  EXPECT_EQ(config.trust_domain.name(), "example.org");
  EXPECT_EQ(config.server_port, 8081);
  EXPECT_EQ(config.socket_path, "/tmp/agent.sock");
  EXPECT_EQ(config.admin_socket_path, "/run/admin.sock");
  EXPECT_EQ(config.bootstrap.bundle_path, "./bundle.crt");
  EXPECT_EQ(config.log.level, "DEBUG");
  EXPECT_EQ(config.x509_cache_max, 7U);
  EXPECT_EQ(config.jwt_cache_max, 1000U);
  EXPECT_EQ(config.sync_interval, Duration(2s));
  EXPECT_EQ(config.rate_limits.fetch_x509_svid, 9);
  EXPECT_EQ(config.plugins.size(), 3U);
  EXPECT_TRUE(loaded->unknown.empty());
}

TEST(AgentConfig, ReadsJsonAsTheHelmChartWritesIt) {
  auto loaded = parse_config(R"({
    "agent": {"server_address": "spire-server", "server_port": "443", "trust_domain": "example.org",
              "data_dir": "/run/spire", "insecure_bootstrap": "true"},
    "plugins": {"NodeAttestor": [{"join_token": {"plugin_data": {}}}],
                "KeyManager": [{"memory": {"plugin_data": null}}],
                "WorkloadAttestor": [{"unix": {"plugin_data": {}}}]},
    "health_checks": {"bind_port": "9982", "listener_enabled": true}})",
                             {});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(loaded->config.server_port, 443);
  EXPECT_TRUE(loaded->config.bootstrap.insecure);
  EXPECT_EQ(loaded->config.health.bind_port, "9982");
}

TEST(AgentConfig, FlagsWinOverTheFile) {
  Overrides flags;
  flags.trust_domain = "flag.org";
  flags.server_port = 1;
  flags.join_token = "from-flag";
  flags.insecure_bootstrap = true;
  auto loaded = good("join_token = \"from-file\"", flags);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(loaded->config.trust_domain.name(), "flag.org");
  EXPECT_EQ(loaded->config.server_port, 1);
  EXPECT_EQ(loaded->config.join_token.reveal(), "from-flag");
}

struct Refused {
  std::string keys;
  std::string text;
};

TEST(AgentConfig, RefusesWithTheReferencesWords) {
  const std::string base = std::string(kGood);
  const std::vector<Refused> all = {
      {"", "server_address must be configured"},
      {"server_address=\"a\"", "server_port must be configured"},
      {"server_address=\"a\" \n server_port=1", "trust_domain must be configured"},
      {base,
       "trust_bundle_path, trust_bundle_url, or trust_bundle_spiffe_workload_api must be "
       "configured unless insecure_bootstrap is set"},
      {base + "insecure_bootstrap=true\ntrust_bundle_path=\"x\"",
       "only one of insecure_bootstrap or trust_bundle_path can be specified, not both"},
      {base + "insecure_bootstrap=true\ntrust_bundle_path=\"x\"\ntrust_bundle_url=\"y\"",
       "only one of insecure_bootstrap, trust_bundle_url, or trust_bundle_path can be specified, "
       "not the three options"},
      {base + "trust_bundle_path=\"x\"\ntrust_bundle_url=\"y\"",
       "only one of trust_bundle_url or trust_bundle_path can be specified, not both"},
      {base + "trust_bundle_url=\"http://x\"", "trust bundle URL must start with https://"},
      {base + "trust_bundle_url=\"https://x\"\ntrust_bundle_unix_socket=\"/s\"",
       "trust bundle URL must start with http:// when used with trust bundle unix socket"},
      {base + "trust_bundle_url=\"http://x?a=1&spire-b=2\"\ntrust_bundle_unix_socket=\"/s\"",
       "trust_bundle_url query params can not start with spire-"},
      {base + "insecure_bootstrap=true\ntrust_bundle_unix_socket=\"/s\"",
       "if trust_bundle_unix_socket is specified, so must be trust_bundle_url"},
      {base + "trust_bundle_path=\"x\"\ntrust_bundle_format=\"der\"",
       "invalid value for trust_bundle_format, expected \"pem\" or \"spiffe\""},
      {base + "insecure_bootstrap=true\njoin_token=\"a\"\njoin_token_file=\"b\"",
       "only one of join_token or join_token_file can be specified, not both"},
      {base + "insecure_bootstrap=true\njoin_token_file=\"/does/not/exist\"",
       "unable to read join token file \"/does/not/exist\": open /does/not/exist: no such file or "
       "directory"},
      {base + "insecure_bootstrap=true\nrebootstrap_mode=\"x\"",
       "unknown rebootstrap mode specified: x"},
      {base + "insecure_bootstrap=true\nrebootstrap_mode=\"auto\"",
       "insecure_bootstrap option can not be used with rebootstrapping"},
      {base + "insecure_bootstrap=true\nx509_svid_cache_max_size=-1",
       "x509_svid_cache_max_size should not be negative"},
      {base + "insecure_bootstrap=true\nworkload_x509_svid_key_type=\"rsa-4096\"",
       "key type \"rsa-4096\" is unknown; must be one of [rsa-2048, ec-p256, ec-p384]"},
      {base + "insecure_bootstrap=true\navailability_target=\"23h\"",
       "availability_target must be at least 24h0m0s"},
      {base + "insecure_bootstrap=true\nsocket_path=\"/a/b/s\"\nadmin_socket_path=\"/a/b/c/admin\"",
       "admin socket cannot be in the same directory or a subdirectory as that containing the "
       "Workload API socket"},
      {base + "insecure_bootstrap=true\nexperimental{ratelimit{fetch_jwt_svid=-1}}",
       "experimental.ratelimit.fetch_jwt_svid must not be negative"},
      {base + "insecure_bootstrap=true\nexperimental{jwt_svid_cache_hit_timeout=\"4s\"}",
       "jwt_svid_cache_hit_timeout (4s) must be greater than 5s"},
      {base + "insecure_bootstrap=true\nexperimental{feature_flags=[\"b\",\"a\"]}",
       "error loading feature flags: unknown feature flag(s): [a b]"},
  };
  for (const Refused& one : all) {
    EXPECT_EQ(error_of(load(one.keys)), one.text) << one.keys;
  }
  EXPECT_EQ(error_of(load(kGood, {}, "")), "plugins section must be configured");
}

TEST(AgentConfig, RefusesWhatIsNotBuiltInsteadOfIgnoringIt) {
  for (const char* keys :
       {"trust_bundle_spiffe_workload_api=\"unix:///x\"",
        "trust_bundle_path=\"x\"\nrebootstrap_mode=\"always\"",
        "insecure_bootstrap=true\nauthorized_delegates=[\"spiffe://example.org/x\"]",
        "insecure_bootstrap=true\nprofiling_enabled=true",
        "insecure_bootstrap=true\nexperimental{broker{socket_path=\"/x\"}}"}) {
    auto loaded = good(keys);
    ASSERT_FALSE(loaded.ok()) << keys;
    EXPECT_THAT(loaded.error().message, HasSubstr("not supported by this agent"));
  }
  EXPECT_FALSE(good("insecure_bootstrap=true\nexperimental{require_pq_kem=true}").ok());
}

TEST(AgentConfig, TellsUnknownKeysBySection) {
  auto loaded = good("insecure_bootstrap=true\nfoo=1\nbar=2\nexperimental{whatever=1}");
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  ASSERT_EQ(loaded->unknown.size(), 1U) << "experimental is not checked";
  EXPECT_EQ(loaded->unknown[0].section, "agent");
  EXPECT_THAT(loaded->unknown[0].keys, ElementsAre("bar", "foo"));
}

TEST(AgentConfig, HarmlessKeysOfWhatIsNotBuiltAreAccepted) {
  auto loaded = good(R"(
    insecure_bootstrap = true
    disable_sds_api = true
    sds { default_svid_name = "mine" }
    profiling_port = 1
    rebootstrap_mode = "never"
  )");
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_FALSE(loaded->config.sds_api);
}

TEST(AgentConfig, WithoutAnyApiThereIsNoPublicSocket) {
  auto loaded = good("insecure_bootstrap=true\ndisable_sds_api=true\ndisable_workload_api=true");
  ASSERT_TRUE(loaded.ok());
  EXPECT_TRUE(loaded->config.socket_path.empty());
}

// --- rotation and backoff -----------------------------------------------------------------------

TEST(Rotation, HappensAtHalfLifeWithTenPercentJitter) {
  SeededRandom random(1);
  WallTime start = from_unix_seconds(1'000'000);
  WallTime least = WallTime::max(), most = WallTime::min();
  for (int i = 0; i < 1000; ++i) {
    WallTime at = rotation_time({}, start, start + 100min, random);
    least = std::min(least, at);
    most = std::max(most, at);
  }
  EXPECT_GE(least, start + 45min);
  EXPECT_LE(most, start + 55min);
  EXPECT_LT(least, start + 46min) << "the whole range is used";
  EXPECT_GT(most, start + 54min);
}

TEST(Rotation, KeepsTheAvailabilityTargetWhenTheLifetimeAllows) {
  SeededRandom random(1);
  RotationPolicy policy{24h};
  WallTime start = from_unix_seconds(1'000'000);
  EXPECT_FALSE(falls_back_to_half_life(policy, 40h));
  WallTime at = rotation_time(policy, start, start + 40h, random);
  EXPECT_LE(at, start + 16h);
  EXPECT_GE(at, start + 15h + 50min);
  EXPECT_TRUE(falls_back_to_half_life(policy, 36h));
  at = rotation_time(policy, start, start + 36h, random);
  EXPECT_GT(at, start + 16h);
}

TEST(Rotation, ALifetimeOfNothingRotatesAtOnce) {
  SeededRandom random(1);
  WallTime start = from_unix_seconds(1'000'000);
  EXPECT_EQ(rotation_time({}, start, start, random), start);
}

TEST(BackoffTest, GrowsByHalfUpToItsMaximum) {
  SeededRandom random(1);
  Backoff backoff(6400ms, 33s);
  for (double expected : {6.4, 9.6, 14.4, 21.6, 32.4, 33.0, 33.0}) {
    double got = std::chrono::duration<double>(backoff.next(random)).count();
    EXPECT_NEAR(got, expected, expected * 0.101);
  }
  backoff.reset();
  EXPECT_LE(backoff.next(random), Duration(7100ms));
}

}  // namespace
}  // namespace steeple::agent
