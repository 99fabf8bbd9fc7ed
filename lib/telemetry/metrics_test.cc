// SPDX-License-Identifier: Apache-2.0

// Goal: metrics have SPIRE's names, labels and shapes in each sink, filters work, and memory is
// bounded. Method: a registry on a simulated loop; real UDP.

#include "lib/telemetry/metrics.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "lib/io/fake_loop.h"
#include "lib/io/file_descriptor.h"
#include "lib/io/worker_pool.h"
#include "lib/telemetry/fake_log.h"
#include "lib/telemetry/metrics_registry.h"
#include "lib/telemetry/rpc_metrics.h"

namespace steeple {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

class MetricsTest : public testing::Test {
 protected:
  std::unique_ptr<MetricsRegistry> open(TelemetryConfig config) {
    return MetricsRegistry::create({.config = std::move(config),
                                    .service_name = "spire_server",
                                    .trust_domain = "example.org",
                                    .host_name = ""},
                                   {.loop = loop_, .log = log_})
        .take();
  }
  std::unique_ptr<MetricsRegistry> open_prometheus(TelemetryConfig config = {}) {
    config.prometheus.emplace();
    return open(std::move(config));
  }

  CapturedLog log_;
  FakeClock clock_;
  io::SimScheduler scheduler_{clock_, 1};
  io::SimLoop loop_{scheduler_};
};

TEST_F(MetricsTest, counters_gauges_and_samples_show_on_the_prometheus_page) {
  auto metrics = open_prometheus();
  metrics->count("ca_manager.x509_ca.activate");
  metrics->count("server_ca.sign.x509_svid", {{"k", "a"}});
  metrics->count("server_ca.sign.x509_svid", {{"k", "a"}});
  metrics->count("server_ca.sign.x509_svid", {{"k", "b"}});
  metrics->gauge("started", 1, {{"version", "1.15.3"}, {"trust_domain_id", "example.org"}});
  metrics->gauge("started", 2, {{"version", "1.15.3"}, {"trust_domain_id", "example.org"}});
  for (int i = 1; i <= 100; ++i) {
    metrics->sample("rpc.x.elapsed_time", i);
  }
  EXPECT_THAT(
      metrics->prometheus_page(),
      AllOf(HasSubstr("# TYPE spire_server_ca_manager_x509_ca_activate counter\n"
                      "spire_server_ca_manager_x509_ca_activate 1\n"),
            HasSubstr("spire_server_server_ca_sign_x509_svid{k=\"a\"} 2\n"),
            HasSubstr("spire_server_server_ca_sign_x509_svid{k=\"b\"} 1\n"),
            HasSubstr("# TYPE spire_server_started gauge\nspire_server_started{trust_domain_id="
                      "\"example_org\",version=\"1_15_3\"} 2\n"),
            HasSubstr("# TYPE spire_server_rpc_x_elapsed_time summary\n"),
            HasSubstr("spire_server_rpc_x_elapsed_time_count 100\n"),
            HasSubstr("spire_server_rpc_x_elapsed_time{quantile=\"0.5\"}"),
            HasSubstr("spire_server_rpc_x_elapsed_time{quantile=\"0.99\"}"),
            HasSubstr("process_resident_memory_bytes "), HasSubstr("process_open_fds "),
            HasSubstr("process_cpu_seconds_total "), HasSubstr("process_start_time_seconds ")));
}

TEST_F(MetricsTest, a_call_counts_with_its_status_and_time) {
  auto metrics = open_prometheus();
  CallCounter call(*metrics, clock_, "datastore.node.create");
  call.label("trust_domain_id", "other.test");
  clock_.advance(20ms);
  call.done(Result<void>(not_found("x")));
  call.done(Code::kOk);  // no effect: a call ends once
  {
    CallCounter dropped(*metrics, clock_, "datastore.node.delete");
  }
  std::string page = metrics->prometheus_page();
  EXPECT_THAT(page, HasSubstr("spire_server_datastore_node_create{status=\"NotFound\",trust_domain_"
                              "id=\"other_test\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("spire_server_datastore_node_create_elapsed_time_sum{status="
                              "\"NotFound\",trust_domain_id=\"other_test\"} 20\n"));
  EXPECT_THAT(page, Not(HasSubstr("node_delete")));
}

TEST_F(MetricsTest, prefix_and_labels_follow_the_configuration) {
  auto metrics = MetricsRegistry::create({.config = {.prometheus = PrometheusConfig{},
                                                     .metric_prefix = "mine",
                                                     .enable_trust_domain_label = true,
                                                     .blocked_labels = {"secret"}},
                                          .service_name = "spire_agent",
                                          .trust_domain = "example.org",
                                          .host_name = "node-1.x"},
                                         {.loop = loop_, .log = log_})
                     .take();
  metrics->count("a", {{"secret", "x"}, {"ok", "y"}});
  EXPECT_THAT(metrics->prometheus_page(),
              HasSubstr("\nmine_a{host=\"node-1.x\",ok=\"y\",trust_domain=\"example_org\"} 1\n"));
}

TEST_F(MetricsTest, an_empty_list_of_allowed_labels_allows_none) {
  auto metrics = open_prometheus({.allowed_labels = std::vector<std::string>{}});
  metrics->count("a", {{"x", "y"}});
  EXPECT_THAT(metrics->prometheus_page(), HasSubstr("\nspire_server_a 1\n"));
}

TEST_F(MetricsTest, the_longest_prefix_decides_what_is_kept) {
  auto metrics = open_prometheus(
      {.allowed_prefixes = {"spire_server.rpc.agent"}, .blocked_prefixes = {"spire_server.rpc"}});
  metrics->count("rpc.entry.list");
  metrics->count("rpc.agent.attest");
  metrics->count("other");
  EXPECT_THAT(metrics->prometheus_page(),
              AllOf(HasSubstr("spire_server_rpc_agent_attest 1"), HasSubstr("spire_server_other 1"),
                    Not(HasSubstr("rpc_entry"))));
}

TEST_F(MetricsTest, series_are_limited_and_told_once) {
  auto metrics = open_prometheus();
  for (std::size_t i = 0; i < kMetricSeriesMax + 5; ++i) {
    metrics->count("a", {{"i", std::to_string(i)}});
  }
  std::string page = metrics->prometheus_page();
  EXPECT_THAT(page, HasSubstr("spire_server_a{i=\"19999\"} 1\n"));
  EXPECT_THAT(page, Not(HasSubstr("{i=\"20000\"}")));
  EXPECT_EQ(log_.lines("Too many metric series, dropping new ones").size(), 1U);
}

TEST_F(MetricsTest, a_name_of_two_kinds_is_dropped_and_told) {
  auto metrics = open_prometheus();
  metrics->count("a");
  metrics->gauge("a", 3);
  metrics->count("a", {{"1digit", "x"}});
  EXPECT_THAT(metrics->prometheus_page(), HasSubstr("\nspire_server_a 1\n"));
  EXPECT_TRUE(log_.has("Metric cannot be exposed to Prometheus"));
}

TEST_F(MetricsTest, counts_of_many_threads_add_up) {
  auto metrics = open_prometheus();
  {
    io::WorkerPool workers;
    for (int task = 0; task < 8; ++task) {
      ASSERT_TRUE(workers
                      .submit([&metrics, task] {
                        for (int i = 0; i < 500; ++i) {
                          metrics->count("a", {{"even", task % 2 == 0 ? "yes" : "no"}});
                          metrics->sample("s", i);
                        }
                        (void)metrics->prometheus_page();
                      })
                      .ok());
    }
  }  // waits for them
  EXPECT_THAT(metrics->prometheus_page(), AllOf(HasSubstr("spire_server_a{even=\"no\"} 2000\n"),
                                                HasSubstr("spire_server_a{even=\"yes\"} 2000\n"),
                                                HasSubstr("spire_server_s_count 4000\n")));
}

TEST_F(MetricsTest, without_a_sink_nothing_happens) {
  auto metrics = open({});
  EXPECT_FALSE(metrics->enabled());
  metrics->count("a");
  EXPECT_EQ(metrics->prometheus_page(), "");
  no_metrics().gauge("a", 1);
}

TEST_F(MetricsTest, m3_is_refused_clearly) {
  auto refused = MetricsRegistry::create(
      {.config = {.m3 = {{"a", "b"}}}, .service_name = "x", .trust_domain = "", .host_name = ""},
      {.loop = loop_, .log = log_});
  EXPECT_EQ(refused.error().code, Code::kUnimplemented);
  EXPECT_THAT(refused.error().message, HasSubstr("M3 sink is not built"));
}

// A UDP port that a test reads.
class Receiver {
 public:
  Receiver() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    socklen_t length = sizeof address;
    EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    this->address = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  std::string read() {
    struct pollfd wait = {fd_.get(), POLLIN, 0};
    std::array<char, 2048> buffer{};
    if (::poll(&wait, 1, 5000) != 1) {
      return "nothing came";
    }
    ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
  }
  std::string address;

 private:
  io::FileDescriptor fd_;
};

TEST_F(MetricsTest, statsd_lines_are_go_metricss) {
  Receiver receiver;
  auto metrics = open({.statsd = {{receiver.address}}});
  metrics->count("a.b", {{"l", "x y"}});
  metrics->gauge("g", 1.5);
  metrics->sample("t", 2);
  scheduler_.run_for(100ms);
  EXPECT_EQ(receiver.read(),
            "spire_server.a.b.x_y:1.000000|c\nspire_server.g:1.500000|g\n"
            "spire_server.t:2.000000|ms\n");
}

TEST_F(MetricsTest, dogstatsd_lines_carry_tags) {
  Receiver receiver;
  auto metrics = open({.dog_statsd = {{receiver.address}}});
  metrics->count("a", {{"l", "x.y"}, {"m", ""}});
  metrics->gauge("g", 1.5);
  metrics->sample("t", 2.25, {{"l", "v"}});
  scheduler_.run_for(100ms);
  EXPECT_EQ(receiver.read(),
            "spire_server.a:1|c|#l:x_y,m\nspire_server.g:1.5|g\n"
            "spire_server.t:2.250000|ms|#l:v\n");
}

TEST_F(MetricsTest, datagrams_fit_a_frame) {
  Receiver receiver;
  auto metrics = open({.statsd = {{receiver.address}}});
  for (int i = 0; i < 100; ++i) {
    metrics->count("a.rather.long.name.of.a.counter");
  }
  std::string first = receiver.read();
  EXPECT_LE(first.size(), 1400U);
  EXPECT_GT(first.size(), 1300U);
  EXPECT_EQ(first.back(), '\n');
}

TEST_F(MetricsTest, an_address_that_cannot_be_resolved_is_told_and_harmless) {
  auto metrics = open({.statsd = {{"nowhere"}}});
  EXPECT_TRUE(log_.has("Error connecting to statsd"));
  metrics->count("a");
}

TEST_F(MetricsTest, memory_dumps_finished_seconds) {
  auto metrics = open({.in_mem = InMemConfig{}});
  metrics->gauge("g", 3, {{"l", "v"}});
  metrics->count("c");
  metrics->count("c");
  metrics->sample("s", 1);
  metrics->sample("s", 3);
  metrics->dump_in_memory();
  EXPECT_TRUE(log_.lines().empty()) << "the present second is still filling";
  clock_.advance(1s);
  metrics->dump_in_memory();
  EXPECT_TRUE(log_.has("[2030-01-01 00:00:00 +0000 UTC][G] 'spire_server.g.v': 3.000"));
  EXPECT_TRUE(
      log_.has("[2030-01-01 00:00:00 +0000 UTC][C] 'spire_server.c': Count: 2 Sum: 2.000 "
               "LastUpdated: 2030-01-01 00:00:00 +0000 UTC"));
  EXPECT_TRUE(
      log_.has("[2030-01-01 00:00:00 +0000 UTC][S] 'spire_server.s': Count: 2 Min: 1.000 "
               "Mean: 2.000 Max: 3.000 Stddev: 1.414 Sum: 4.000 LastUpdated: 2030-01-01 "
               "00:00:00 +0000 UTC"));
}

TEST_F(MetricsTest, series_that_are_looked_up_once_count_as_single_calls_do) {
  Receiver receiver;
  TelemetryConfig config{.dog_statsd = {{receiver.address}}};
  config.prometheus.emplace();
  auto metrics = open(std::move(config));
  const std::array<MetricLabel, 1> labels{MetricLabel{"l", "x.y"}};
  auto counter = metrics->counter("a", labels);
  auto sampler = metrics->sampler("t", labels);
  counter->put(2);
  metrics->count("a", {{"l", "x.y"}});
  sampler->put(5);
  metrics->sample("t", 7, {{"l", "x.y"}});
  EXPECT_THAT(metrics->prometheus_page(), AllOf(HasSubstr("spire_server_a{l=\"x_y\"} 3\n"),
                                                HasSubstr("spire_server_t_count{l=\"x_y\"} 2\n"),
                                                HasSubstr("spire_server_t_sum{l=\"x_y\"} 12\n")));
  scheduler_.run_for(100ms);
  EXPECT_EQ(receiver.read(),
            "spire_server.a:2|c|#l:x_y\nspire_server.a:1|c|#l:x_y\n"
            "spire_server.t:5.000000|ms|#l:x_y\nspire_server.t:7.000000|ms|#l:x_y\n");
}

TEST_F(MetricsTest, series_obey_the_filters_and_the_limit) {
  TelemetryConfig config;
  config.prometheus.emplace();
  config.blocked_prefixes = {"spire_server.secret"};
  auto metrics = open(std::move(config));
  metrics->counter("secret.a", {})->put(1);
  EXPECT_THAT(metrics->prometheus_page(), Not(HasSubstr("secret")));
  for (std::size_t i = 0; i <= kMetricSeriesMax; ++i) {
    std::string number = std::to_string(i);
    const std::array<MetricLabel, 1> labels{MetricLabel{"i", number}};
    metrics->counter("c", labels)->put(1);
  }
  EXPECT_TRUE(log_.has("Too many metric series, dropping new ones"));
}

TEST_F(MetricsTest, finished_rpcs_are_counted_by_method_and_status) {
  auto metrics = open_prometheus();
  RpcMetrics calls(*metrics, [](std::string_view method) {
    return method == "/quiet" ? std::string() : "rpc" + std::string(method.substr(1));
  });
  for (int i = 0; i < 3; ++i) {
    calls.finished("/a", Code::kOk, 2ms);
    calls.finished("/quiet", Code::kOk, 2ms);
  }
  calls.finished("/a", Code::kNotFound, 5ms);
  for (int i = 0; i < 1000; ++i) {
    calls.finished("/many" + std::to_string(i), Code::kOk, 1ms);
  }
  calls.finished("/many999", Code::kOk, 1ms);
  EXPECT_THAT(
      metrics->prometheus_page(),
      AllOf(HasSubstr("spire_server_rpca{status=\"OK\"} 3\n"),
            HasSubstr("spire_server_rpca{status=\"NotFound\"} 1\n"),
            HasSubstr("spire_server_rpca_elapsed_time_sum{status=\"OK\"} 6\n"),
            HasSubstr("spire_server_rpcmany999{status=\"OK\"} 2\n"), Not(HasSubstr("quiet"))));
}

TEST(MetricNames, rpc_keys_are_spires) {
  for (auto [service, method, key] : std::vector<std::array<std::string_view, 3>>{
           {"spire.api.server.agent.v1.Agent", "AttestAgent", "rpc.agent.v1.agent.attest_agent"},
           {"spire.api.server.svid.v1.SVID", "BatchNewX509SVID",
            "rpc.svid.v1.svid.batch_new_x509svid"},
           {"spire.api.server.svid.v1.SVID", "NewJWTSVID", "rpc.svid.v1.svid.new_jwtsvid"},
           {"spire.api.server.localauthority.v1.LocalAuthority", "GetX509AuthorityState",
            "rpc.localauthority.v1.local_authority.get_x509_authority_state"},
           {"spire.api.server.logger.v1.Logger", "SetLogLevel", "rpc.logger.set_log_level"},
           {"spire.agent.debug.v1.Debug", "GetInfo", "rpc.debug.get_info"},
           {"SpiffeWorkloadAPI", "FetchX509SVID", "rpc.workload_api.fetch_x509svid"},
           {"SpiffeWorkloadAPI", "FetchJWTBundles", "rpc.workload_api.fetch_jwt_bundles"},
           {"envoy.service.secret.v3.SecretDiscoveryService", "StreamSecrets",
            "rpc.sds.v3.stream_secrets"},
           {"spire.api.agent.delegatedidentity.v1.DelegatedIdentity", "SubscribeToX509SVIDs",
            "rpc.delegated_identity.subscribe_to_x509_svids"},
           {"spire.api.agent.delegatedidentity.v1.DelegatedIdentity", "FetchJWTSVIDs",
            "rpc.delegated_identity.fetch_jwtsvi_ds"},
           {"grpc.health.v1.Health", "Check", "rpc.health.check"},
           {"grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo",
            "rpc.grpc.reflection.v1alpha.server_reflection.server_reflection_info"}}) {
    EXPECT_EQ(rpc_metric_key(service, method), key);
  }
}

TEST(MetricNames, labels_are_sanitised_as_spire_does) {
  EXPECT_EQ(sanitize_metric_label("example.org"), "example_org");
  EXPECT_EQ(sanitize_metric_label("spiffe://td/_x"), "spiffe_td_x");
  EXPECT_EQ(sanitize_metric_label("a-_b"), "a_b");
  EXPECT_EQ(sanitize_metric_label("a_-_b"), "a__b");
  EXPECT_EQ(sanitize_metric_label("é"), "_");
  EXPECT_EQ(sanitize_metric_label(""), "");
}

}  // namespace
}  // namespace steeple
