// SPDX-License-Identifier: Apache-2.0

// Goal: health checks run at the reference's times, tell what it tells, and both listeners answer
// as its own do. Method: simulated loop and network; the schemas with SPIRE's keys, HCL and JSON.

#include "lib/telemetry/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/hcl/parse.h"
#include "lib/io/fake_network.h"
#include "lib/io/fake_workers.h"
#include "lib/telemetry/fake_log.h"
#include "lib/telemetry/listeners.h"

namespace steeple {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;
using namespace std::chrono_literals;

class HealthTest : public testing::Test {
 protected:
  std::string get(std::uint16_t port, const std::string& path) {
    std::string answer;
    std::unique_ptr<io::Connection> client;
    network_->connect(loop_, io::Endpoint::tcp("localhost", port), 1s,
                      [&](Result<std::unique_ptr<io::Connection>> connected) {
                        if (!connected.ok()) {
                          answer = connected.error().message;
                          return;
                        }
                        client = std::move(connected).take();
                        std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
                        client->on_ready([&, request](bool, bool) mutable {
                          auto put = client->write(request);
                          request.erase(0, put.bytes);
                          std::array<char, 65536> buffer{};
                          auto got = client->read(buffer);
                          answer.append(buffer.data(), got.bytes);
                          client->interest(got.status != io::IoStatus::kEof, !request.empty());
                        });
                        client->interest(true, true);
                      });
    scheduler_.run_for(1s);
    return answer;
  }

  FakeClock clock_;
  io::SimScheduler scheduler_{clock_, 7};
  io::SimSwitch switch_{scheduler_};
  io::SimLoop loop_{scheduler_};
  io::SimWorkers workers_{scheduler_};
  std::unique_ptr<io::Network> network_ = switch_.join("localhost");
  CapturedLog log_;
};

HealthState good() {
  return {.started = {},
          .live = true,
          .ready = true,
          .live_details = HealthState::Details{},
          .ready_details = HealthState::Details{}};
}

TEST_F(HealthTest, checks_run_each_second_until_good_and_then_each_minute) {
  HealthChecks checks(loop_, log_);
  int runs = 0;
  HealthState state{};
  ASSERT_TRUE(checks
                  .add("server",
                       [&] {
                         ++runs;
                         return state;
                       })
                  .ok());
  ASSERT_TRUE(checks.start().ok());
  EXPECT_EQ(runs, 1);
  scheduler_.run_for(3s);
  EXPECT_EQ(runs, 4);
  state = good();
  scheduler_.run_for(1s);
  EXPECT_EQ(runs, 5);
  scheduler_.run_for(59s);
  EXPECT_EQ(runs, 5);
  scheduler_.run_for(1s);
  EXPECT_EQ(runs, 6);
  state.ready = false;
  scheduler_.run_for(120s);
  EXPECT_EQ(runs, 8) << "the fast phase does not come back";
}

TEST_F(HealthTest, failures_and_recoveries_are_logged) {
  HealthChecks checks(loop_, log_);
  HealthState state{
      .started = false, .live = true, .ready = false, .live_details = {}, .ready_details = {}};
  ASSERT_TRUE(checks.add("agent", [&] { return state; }).ok());
  ASSERT_TRUE(checks.start().ok());
  scheduler_.run_for(3s);
  EXPECT_EQ(log_.lines("Health check has failed. Starting up still.").size(), 1U);
  EXPECT_EQ(log_.lines("Health check failed").size(), 1U);
  EXPECT_FALSE(checks.started());
  state.started = true;
  scheduler_.run_for(1s);
  ASSERT_EQ(log_.lines("Health check has failed").size(), 1U);
  EXPECT_EQ(log_.lines("Health check has failed")[0].fields.at("error"), "subsystem is not ready");
  EXPECT_EQ(log_.lines("Health check has failed")[0].fields.at("subsystem_name"), "health");
  state = good();
  scheduler_.run_for(1s);
  auto recovered = log_.lines("Health check recovered");
  ASSERT_EQ(recovered.size(), 1U);
  EXPECT_EQ(recovered[0].fields.at("failures"), "5");
  EXPECT_EQ(recovered[0].fields.at("duration"), "5");
}

TEST_F(HealthTest, names_are_unique_and_something_must_be_checked) {
  HealthChecks checks(loop_, log_);
  EXPECT_EQ(checks.start().error().message, "no health checks defined");
  ASSERT_TRUE(checks.add("a", good).ok());
  EXPECT_EQ(checks.add("a", good).error().message, "check \"a\" has already been added");
}

TEST_F(HealthTest, the_listener_shows_details_per_subsystem) {
  HealthChecks checks(loop_, log_);
  HealthState server = good();
  HealthState agent{.started = {},
                    .live = true,
                    .ready = false,
                    .live_details = {},
                    .ready_details = {{{"make_new_x509_err", "no \"svid\""}}}};
  ASSERT_TRUE(checks.add("server", [&] { return server; }).ok());
  ASSERT_TRUE(checks.add("agent", [&] { return agent; }).ok());
  ASSERT_TRUE(checks.start().ok());
  auto listener = serve_health({.listener_enabled = true, .bind_port = "8080"}, checks,
                               {loop_, *network_, log_})
                      .take();
  EXPECT_THAT(get(8080, "/live"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Content-Type: application/json"),
                    EndsWith("\r\n\r\n{\"agent\":null,\"server\":{}}\n")));
  EXPECT_THAT(get(8080, "/ready"),
              AllOf(StartsWith("HTTP/1.1 500 "),
                    EndsWith("{\"agent\":{\"make_new_x509_err\":\"no \\\"svid\\\"\"},"
                             "\"server\":{}}\n")));
  EXPECT_THAT(get(8080, "/other"), StartsWith("HTTP/1.1 404 "));
  EXPECT_TRUE(log_.has("Serving health checks"));
}

TEST_F(HealthTest, no_listener_unless_enabled_and_a_bad_port_is_refused) {
  HealthChecks checks(loop_, log_);
  EXPECT_EQ(serve_health({}, checks, {loop_, *network_, log_}).take(), nullptr);
  EXPECT_FALSE(
      serve_health({.listener_enabled = true, .bind_port = "x"}, checks, {loop_, *network_, log_})
          .ok());
}

TEST_F(HealthTest, every_path_of_the_prometheus_listener_is_the_page) {
  TelemetryConfig config;
  config.prometheus = PrometheusConfig{.port = 9988};
  auto metrics =
      MetricsRegistry::create(
          {.config = config, .service_name = "spire_server", .trust_domain = "td", .host_name = ""},
          {.loop = loop_, .log = log_})
          .take();
  metrics->gauge("started", 1);
  auto handshake = tls::openssl_handshake();
  MetricsTlsDeps tls{
      .workers = workers_, .handshake = *handshake, .own_svid = {}, .authorities = {}};
  auto listener =
      serve_prometheus(*config.prometheus, *metrics, {loop_, *network_, log_}, tls).take();
  for (const char* path : {"/", "/metrics"}) {
    EXPECT_THAT(get(9988, path),
                AllOf(HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
                      HasSubstr("\nspire_server_started 1\n")));
  }
  config.prometheus->tls.emplace();
  EXPECT_FALSE(serve_prometheus(*config.prometheus, *metrics, {loop_, *network_, log_}, tls).ok());
}

// --- configuration -----------------------------------------------------------------------------

TelemetryConfig telemetry(std::string_view text, hcl::Report& report) {
  return telemetry_schema().decode(hcl::parse(text).take(), report);
}

TEST(TelemetryConfigTest, hcl_and_json_with_spires_keys) {
  hcl::Report report;
  auto config = telemetry(R"(
    Prometheus { host = "0.0.0.0" port = 9988 tls { cert_file = "c" key_file = "k" } }
    DogStatsd = [ { address = "a:1" }, { address = "b:2" } ]
    Statsd { address = "c:3" }
    InMem {}
    MetricPrefix = "x" EnableTrustDomainLabel = true EnableHostnameLabel = false
    AllowedLabels = [] BlockedPrefixes = ["a.b"]
  )",
                          report);
  EXPECT_TRUE(report.ok()) << report.result().error().message;
  EXPECT_EQ(config.prometheus->port, 9988);
  EXPECT_EQ(config.prometheus->tls->key_file, "k");
  ASSERT_EQ(config.dog_statsd.size(), 2U);
  EXPECT_EQ(config.dog_statsd[1].address, "b:2");
  EXPECT_EQ(config.statsd.at(0).address, "c:3");
  EXPECT_TRUE(config.in_mem.has_value());
  EXPECT_FALSE(config.enable_hostname_label);
  EXPECT_TRUE(config.allowed_labels.has_value());
  EXPECT_THAT(config.blocked_prefixes, ElementsAre("a.b"));
  auto json = telemetry(R"({"Prometheus":[{"host":"h","port":"9988"}]})", report);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(json.prometheus->port, 9988);
  EXPECT_TRUE(json.enable_hostname_label);
  EXPECT_FALSE(telemetry("", report).any_sink());
}

TEST(TelemetryConfigTest, unknown_keys_of_a_sink_are_told_under_its_name) {
  hcl::Report report;
  telemetry("Prometheus { prt = 1 }\nStatsd { adress = \"x\" }\nwhatever = 1", report);
  ASSERT_EQ(report.unknown.size(), 2U) << "telemetry itself is not checked, as in the reference";
  EXPECT_EQ(report.unknown[0].section, "Prometheus");
  EXPECT_EQ(report.unknown[1].section, "Statsd");
}

TEST(TelemetryConfigTest, contradicting_tls_keys_are_refused_in_spires_words) {
  TelemetryConfig config;
  config.prometheus.emplace().tls.emplace();
  EXPECT_EQ(check_telemetry(config).error().message,
            "failed to create TLS config for Prometheus: cert_file and key_file must both be "
            "configured unless use_spire_svid is enabled");
  config.prometheus->tls->use_spire_svid = true;
  EXPECT_TRUE(check_telemetry(config).ok());
  config.prometheus->tls->cert_file = "c";
  EXPECT_EQ(
      check_telemetry(config).error().message,
      "failed to create TLS config for Prometheus: cert_file and key_file cannot be configured "
      "when use_spire_svid is enabled");
}

TEST(TelemetryConfigTest, health_checks_take_the_port_as_text_or_number) {
  hcl::Report report;
  auto config = health_schema().decode(
      hcl::parse("listener_enabled = true\nbind_port = 8080").take(), report);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(config.bind_port, "8080");
  EXPECT_EQ(config.live_path, "/live");
}

}  // namespace
}  // namespace steeple
