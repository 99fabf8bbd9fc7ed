// SPDX-License-Identifier: Apache-2.0

// The configuration file: the reference's keys, defaults and rules, from text.

#include "controller/config/controller_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace steeple::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace std::chrono_literals;

constexpr std::string_view kHead =
    "apiVersion: spire.spiffe.io/v1alpha1\nkind: ControllerManagerConfig\n"
    "clusterName: demo\ntrustDomain: example.org\n";

Result<LoadedConfig> parse(const std::string& more, ControllerFlags flags = {}) {
  return parse_config(std::string(kHead) + more, flags, [](std::string_view name) {
    return name == "TD" ? std::optional<std::string>("from-env.org") : std::nullopt;
  });
}

std::string problem(const std::string& more) {
  auto loaded = parse(more);
  return loaded.ok() ? "" : loaded.error().message;
}

TEST(ControllerConfig, DefaultsAreTheReferences) {
  ControllerConfig config = parse("").take().config;
  EXPECT_THAT(config.ignore_namespaces, ElementsAre("kube-system", "kube-public", "spire-system"));
  EXPECT_EQ(config.gc_interval, 10s);
  EXPECT_EQ(config.server_socket, "/spire-server/api.sock");
  EXPECT_EQ(config.webhook_configuration, "spire-controller-manager-webhook");
  EXPECT_EQ(config.webhook_port, 9443);
  EXPECT_EQ(config.metrics_address, ":8080");
  EXPECT_EQ(config.health_address, "");
  EXPECT_EQ(config.grpc_message_bytes_max, std::size_t{4} << 20);
  EXPECT_TRUE(config.reconcile.spiffe_ids && config.reconcile.static_entries &&
              config.reconcile.federated_trust_domains);
  EXPECT_EQ(config.max_foreign_deletions.text(), "50%");
  EXPECT_EQ(config.spiffe_id_annotation, "");
}

TEST(ControllerConfig, ReadsWhatTheChartWrites) {
  auto loaded = parse(R"(
metadata: {name: spire-controller-manager, namespace: spire-system}
metrics: {bindAddress: 0.0.0.0:8082}
health: {healthProbeBindAddress: 0.0.0.0:8083}
leaderElection:
  leaderElect: true
  resourceName: 1a2b-spire.spiffe.io
  resourceNamespace: spire-system
  leaseDuration: 20s
validatingWebhookConfigurationName: spire-system-webhook
entryIDPrefix: demo
entryIDPrefixCleanup: ""
gcInterval: 10000000000
cacheNamespaces: {a: {labelSelectors: {x: y}}, b: null}
spireServerSocketPath: /tmp/spire-server/private/api.sock
className: spire-mgmt
watchClassless: true
parentIDTemplate: "spiffe://{{ .TrustDomain }}/agent/{{ .NodeMeta.Name }}"
reconcile: {clusterSPIFFEIDs: true}
logLevel: debug
)");
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const ControllerConfig& config = loaded->config;
  EXPECT_TRUE(config.leader_election.enabled);
  EXPECT_EQ(config.leader_election.lease_duration, 20s);
  EXPECT_EQ(config.entry_id_prefix, "demo.");
  EXPECT_EQ(config.entry_id_prefix_cleanup, "");
  EXPECT_EQ(config.gc_interval, 10s);
  EXPECT_EQ(config.cache_namespaces.at("a").labels.at("x"), "y");
  EXPECT_TRUE(config.reconcile.spiffe_ids);
  EXPECT_FALSE(config.reconcile.static_entries);
  EXPECT_FALSE(config.reconcile.federated_trust_domains);
  EXPECT_THAT(loaded->unknown_keys, IsEmpty());
}

TEST(ControllerConfig, UnknownKeysAreToldAndTolerated) {
  auto loaded = parse("filterByClassName: true\nhealth: {colour: red}\n");
  ASSERT_TRUE(loaded.ok());
  EXPECT_THAT(loaded->unknown_keys,
              ::testing::UnorderedElementsAre("filterByClassName", "health.colour"));
}

TEST(ControllerConfig, WrongValuesNameTheirKey) {
  EXPECT_THAT(problem("gcInterval: soon\n"), HasSubstr("gcInterval: "));
  EXPECT_THAT(problem("gcInterval: -1\n"), HasSubstr("gcInterval: must not be negative"));
  EXPECT_THAT(problem("ignoreNamespaces: kube-system\n"),
              HasSubstr("ignoreNamespaces: must be a list of strings"));
  EXPECT_THAT(problem("leaderElection: {leaderElect: true}\n"),
              HasSubstr("leaderElection.resourceName"));
  EXPECT_THAT(problem("logLevel: loud\n"), HasSubstr("invalid log level: \"loud\""));
  EXPECT_THAT(problem("parentIDTemplate: '{{ .X'\n"), HasSubstr("parentIDTemplate: template:"));
  EXPECT_THAT(problem("webhook: {port: 70000}\n"), HasSubstr("webhook.port"));
  EXPECT_THAT(problem("maxForeignDeletions: many\n"), HasSubstr("maxForeignDeletions"));
  EXPECT_THAT(problem("cacheNamespace: a\ncacheNamespaces: {b: {}}\n"), HasSubstr("but not both"));
  EXPECT_THAT(problem("entryIDPrefix: a\nentryIDPrefixCleanup: a.\n"),
              HasSubstr("entryIDPrefixCleanup"));
}

TEST(ControllerConfig, RequiredKeysAreRequired) {
  auto loaded =
      parse_config("apiVersion: spire.spiffe.io/v1alpha1\nkind: ControllerManagerConfig\n", {}, {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.error().message, HasSubstr("trust domain is required configuration"));
  EXPECT_THAT(loaded.error().message, HasSubstr("cluster name is required configuration"));
  EXPECT_THAT(parse_config("clusterName: x\n", {}, {}).error().message,
              HasSubstr("apiVersion: must be"));
}

TEST(ControllerConfig, StaticManifestsExcludePodsAndElections) {
  auto loaded = parse("staticManifestPath: /m\n");
  ASSERT_TRUE(loaded.ok());
  EXPECT_FALSE(loaded->config.reconcile.spiffe_ids);
  EXPECT_TRUE(loaded->config.reconcile.static_entries);
  EXPECT_THAT(problem("staticManifestPath: /m\nreconcile: {clusterSPIFFEIDs: true}\n"),
              HasSubstr("not possible with static manifests"));
  EXPECT_THAT(
      problem("staticManifestPath: /m\nleaderElection: {leaderElect: true, resourceName: x}\n"),
      HasSubstr("leader election is not possible with static manifests"));
}

TEST(ControllerConfig, EnvironmentVariablesAreExpandedWhenAsked) {
  ControllerFlags flags;
  flags.expand_env = true;
  auto loaded = parse("clusterDomain: ${TD}\n", flags);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->config.cluster_domain, "from-env.org");
  EXPECT_EQ(parse("clusterDomain: ${TD}\n").take().config.cluster_domain, "${TD}");
}

TEST(ControllerConfig, TheDeprecatedSocketFlagWorksAndWarns) {
  ControllerFlags flags;
  flags.spire_api_socket = "/flag.sock";
  auto loaded = parse("", flags);
  EXPECT_EQ(loaded->config.server_socket, "/flag.sock");
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("deprecated")));
  loaded = parse("spireServerSocketPath: /file.sock\n", flags);
  EXPECT_EQ(loaded->config.server_socket, "/file.sock");
}

TEST(ControllerConfig, DeletionLimitsAreSharesOrCounts) {
  DeletionLimit share = parse("maxForeignDeletions: 10%\n").take().config.max_foreign_deletions;
  EXPECT_TRUE(share.allows(10, 10));
  EXPECT_FALSE(share.allows(11, 100));
  EXPECT_TRUE(share.allows(11, 110));
  DeletionLimit count = parse("maxForeignDeletions: 3\n").take().config.max_foreign_deletions;
  EXPECT_TRUE(count.allows(3, 3));
  EXPECT_FALSE(count.allows(4, 1000));
  EXPECT_FALSE(parse("maxForeignDeletions: 0\n").take().config.max_foreign_deletions.allows(1, 1));
}

}  // namespace
}  // namespace steeple::controller
