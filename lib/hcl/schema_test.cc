// SPDX-License-Identifier: Apache-2.0

// Goal: one schema gives decoding with the reference's weak typing, all mistakes at once with their
// places, the unknown-key report and the documentation. Method: small structs, texts in.

#include "lib/hcl/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/hcl/parse.h"
#include "lib/hcl/plugins.h"

namespace steeple::hcl {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

struct Subject {
  std::vector<std::string> country = {"US"};
  std::string common_name;
};
const Schema<Subject>& subject_schema() {
  static const auto schema = Schema<Subject>("ca_subject", "Subject of the CA.")
                                 .key("country", &Subject::country, "country")
                                 .key("common_name", &Subject::common_name, "common name");
  return schema;
}

struct Sink {
  std::string address;
};
const Schema<Sink>& sink_schema() {
  static const auto schema =
      Schema<Sink>("Statsd").key("address", &Sink::address, "host:port", {.required = true});
  return schema;
}

struct Shared {
  std::string level = "INFO";
};
const Schema<Shared>& shared_schema() {
  static const auto schema = Schema<Shared>("log").key("log_level", &Shared::level, "level",
                                                       {.one_of = {"debug", "info"}});
  return schema;
}

enum class KeyType { kRsa, kEc };

struct Config {
  std::string trust_domain;
  int port = 8081;
  bool audit = false;
  Duration ttl = 24h;
  double share = 0.5;
  std::int64_t big = -1;
  std::uint64_t size = 0;
  std::optional<bool> attestation;
  std::optional<std::string> staleness;
  std::vector<std::string> admins;
  std::map<std::string, std::string> tags;
  SecretBytes password;
  Subject subject;
  std::optional<Subject> other;
  std::vector<Sink> sinks;
  std::vector<std::pair<std::string, Subject>> relations;
  KeyType key_type = KeyType::kEc;
  Value raw;
  Shared shared;
  Sink free;
};

const Schema<Sink>& free_schema() {
  static const auto schema =
      Schema<Sink>("experimental").key("address", &Sink::address, "x").allow_unknown();
  return schema;
}

Result<KeyType> parse_key_type(const std::string& text) {
  if (text == "rsa") {
    return KeyType::kRsa;
  }
  if (text == "ec") {
    return KeyType::kEc;
  }
  return invalid_argument("unknown key type");
}

const Schema<Config>& schema() {
  static const auto schema =
      Schema<Config>("server", "The server.")
          .key("trust_domain", &Config::trust_domain, "the trust domain", {.required = true})
          .key("bind_port", &Config::port, "port", {.min = 1, .max = 65535})
          .key("audit_log_enabled", &Config::audit, "audit log")
          .key("ca_ttl", &Config::ttl, "life of the CA", {.min = Duration(1s).count()})
          .key("share", &Config::share, "share")
          .key("big", &Config::big, "big", {.deprecated = "use bind_port"})
          .key("size", &Config::size, "size")
          .key("attestation", &Config::attestation, "limit")
          .key("staleness", &Config::staleness, "staleness")
          .key("admin_ids", &Config::admins, "admins")
          .key("tags", &Config::tags, "tags")
          .key("password", &Config::password, "password", {.secret = true})
          .block("ca_subject", &Config::subject, subject_schema())
          .block("other", &Config::other, subject_schema())
          .blocks("Statsd", &Config::sinks, sink_schema())
          .labelled("federates_with", &Config::relations, subject_schema())
          .parsed<KeyType>("key_type", &Config::key_type, parse_key_type, "key type")
          .key("raw", &Config::raw, "raw")
          .include(&Config::shared, shared_schema())
          .block("experimental", &Config::free, free_schema());
  return schema;
}

Config decode(std::string_view text, Report& report) {
  return schema().decode(parse(text).take(), report);
}
Config decode_good(std::string_view text) {
  Report report;
  Config config = decode("trust_domain = \"td\"\n" + std::string(text), report);
  EXPECT_TRUE(report.ok()) << report.result().error().message;
  return config;
}
std::vector<std::string> errors(std::string_view text) {
  Report report;
  report.file = "server.conf";
  decode(text, report);
  std::vector<std::string> out;
  for (const Problem& problem : report.errors) {
    out.push_back(report.text(problem));
  }
  return out;
}

TEST(HclSchema, what_is_not_given_keeps_the_structs_default) {
  Config config = decode_good("");
  EXPECT_EQ(config.port, 8081);
  EXPECT_EQ(config.ttl, 24h);
  EXPECT_EQ(config.attestation, std::nullopt);
  EXPECT_EQ(config.other, std::nullopt) << "an optional block";
  EXPECT_THAT(config.subject.country, ElementsAre("US"));
}

TEST(HclSchema, typing_is_weak_between_scalars) {
  EXPECT_EQ(decode_good("bind_port = \"9090\"").port, 9090);
  EXPECT_EQ(decode_good("bind_port = 0x1F90").port, 8080);
  EXPECT_EQ(decode_good("bind_port = \"010\"").port, 8) << "Go's base 0: a leading 0 is octal";
  EXPECT_EQ(decode_good("bind_port = 1e3").port, 1000);
  EXPECT_EQ(decode_good("audit_log_enabled = \"true\"").audit, true);
  EXPECT_EQ(decode_good("audit_log_enabled = 1").audit, true);
  EXPECT_EQ(decode_good("trust_domain = 12").trust_domain, "12");
  EXPECT_EQ(decode_good("ca_ttl = \"1h30m\"").ttl, 90min);
  EXPECT_EQ(decode_good("big = \"-9223372036854775808\"").big, INT64_MIN);
  EXPECT_EQ(decode_good("size = 18446744073709551615").size, UINT64_MAX);
  EXPECT_EQ(decode_good("share = \"0.25\"").share, 0.25);
  EXPECT_EQ(decode_good("attestation = false").attestation, false);
  EXPECT_EQ(decode_good("BIND_Port = 7").port, 7) << "HCL1 ignores the case of keys";
  EXPECT_EQ(decode_good("password = \"geheim\"").password.reveal(), "geheim");
  EXPECT_EQ(decode_good("key_type = \"rsa\"").key_type, KeyType::kRsa);
  EXPECT_EQ(decode_good("log_level = \"DEBUG\"").shared.level, "DEBUG");
}

TEST(HclSchema, json_one_element_lists_stand_for_blocks) {
  Report report;
  Config config = decode(
      R"({"trust_domain":"td","bind_port":"8081","ca_subject":[{"country":["DE"]}],
          "Statsd":[{"address":"a"},{"address":"b"}],"other":{"common_name":"x"},
          "federates_with":[{"b.test":[{"common_name":"B"}]},{"a.test":{"common_name":"A"}}],
          "tags":[{"k":"v"}],"staleness":null})",
      report);
  EXPECT_TRUE(report.ok()) << report.result().error().message;
  EXPECT_THAT(config.subject.country, ElementsAre("DE"));
  ASSERT_EQ(config.sinks.size(), 2U);
  EXPECT_EQ(config.sinks[1].address, "b");
  EXPECT_EQ(config.other->common_name, "x");
  ASSERT_EQ(config.relations.size(), 2U);
  EXPECT_EQ(config.relations[0].first, "b.test");
  EXPECT_EQ(config.relations[1].second.common_name, "A");
  EXPECT_EQ(config.tags.at("k"), "v");
  EXPECT_EQ(config.staleness, std::nullopt) << "null means unset";
}

TEST(HclSchema, repeated_keys_merge) {
  Config config = decode_good(R"(
    bind_port = 1
    bind_port = 2
    admin_ids = ["a"]
    admin_ids = "b"
    ca_subject { common_name = "first" }
    ca_subject { country = ["FR", "DE"] }
    Statsd { address = "x" }
    Statsd = [{ address = "y" }]
    federates_with "td2" { common_name = "n" }
  )");
  EXPECT_EQ(config.port, 2);
  EXPECT_THAT(config.admins, ElementsAre("a", "b"));
  EXPECT_EQ(config.subject.common_name, "first");
  EXPECT_THAT(config.subject.country, ElementsAre("FR", "DE"));
  ASSERT_EQ(config.sinks.size(), 2U);
  EXPECT_EQ(config.relations.at(0).first, "td2");
}

TEST(HclSchema, every_mistake_is_told_with_place_and_path) {
  EXPECT_THAT(
      errors("bind_port = 70000\n"
             "audit_log_enabled = \"maybe\"\n"
             "ca_ttl = \"1x\"\n"
             "share = \"much\"\n"
             "size = -1\n"
             "admin_ids = [{}]\n"
             "ca_subject = 3\n"
             "Statsd { }\n"
             "federates_with \"b\" { common_name = [] }\n"
             "key_type = \"dsa\"\n"
             "log_level = \"loud\"\n"
             "big = \"12345678901234567890\"\n"),
      ElementsAre(
          "server.conf:1:1: trust_domain: must be configured",
          "server.conf:1:13: bind_port: \"70000\" is above the maximum of 65535",
          "server.conf:2:21: audit_log_enabled: \"maybe\" is not a valid bool",
          "server.conf:3:10: ca_ttl: time: unknown unit \"x\" in duration \"1x\"",
          "server.conf:4:9: share: \"much\" is not a valid number",
          "server.conf:12:7: big: \"12345678901234567890\" is not a valid number",
          "server.conf:5:8: size: \"-1\" is not a valid number",
          "server.conf:6:14: admin_ids: is a block, expected a string",
          "server.conf:7:14: ca_subject: is a number, not a block",
          "server.conf:8:8: Statsd.address: must be configured",
          "server.conf:9:36: federates_with[\"b\"].common_name: is a list, expected a string",
          "server.conf:10:12: key_type: unknown key type",
          "server.conf:11:13: log_level: \"loud\" is not one of: debug, info"));
}

TEST(HclSchema, bounds_of_durations_are_told_as_durations) {
  EXPECT_THAT(errors("trust_domain = \"t\"\nca_ttl = \"1ms\""),
              ElementsAre("server.conf:2:10: ca_ttl: \"1ms\" is below the minimum of 1s"));
}

TEST(HclSchema, unknown_keys_are_collected_by_block) {
  Report report;
  decode(
      "trust_domain = \"t\"\nzeta = 1\nalpha = 2\nca_subject { contry = [] }\n"
      "experimental { whatever = 1 }\n",
      report);
  ASSERT_EQ(report.unknown.size(), 2U);
  EXPECT_EQ(report.unknown[0].section, "server");
  EXPECT_EQ(report.unknown[0].joined(), "alpha,zeta");
  EXPECT_EQ(report.unknown[1].section, "ca_subject");
  EXPECT_EQ(report.unknown[1].joined(), "contry");
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(
      report.result().error().message,
      "2:1: zeta: unknown key\n3:1: alpha: unknown key\n4:14: ca_subject.contry: unknown key");
  EXPECT_TRUE(report.result(false).ok());
}

TEST(HclSchema, deprecated_keys_warn_and_work) {
  Report report;
  Config config = decode("trust_domain = \"t\"\nbig = 3", report);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(config.big, 3);
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_EQ(report.text(report.warnings[0]), "2:7: big: is deprecated: use bind_port");
}

TEST(HclSchema, secrets_are_not_in_messages) {
  Report report;
  decode("trust_domain = \"t\"\npassword = [\"geheim\", \"zwei\"]", report);
  ASSERT_EQ(report.errors.size(), 1U);
  EXPECT_THAT(report.errors[0].message, testing::Not(testing::HasSubstr("geheim")));
}

TEST(HclSchema, documentation_comes_from_the_same_declaration) {
  std::string text = markdown(schema(), "server");
  EXPECT_THAT(text, testing::StartsWith("## server\n\nThe server.\n\n| Key | Type | Default |"));
  EXPECT_THAT(text, testing::HasSubstr("| `bind_port` | number | `8081` | port; 1 to 65535 |\n"));
  EXPECT_THAT(text, testing::HasSubstr(
                        "| `ca_ttl` | duration | `24h0m0s` | life of the CA; at least 1s |"));
  EXPECT_THAT(text, testing::HasSubstr("| `password` | string |  | password; secret |"));
  EXPECT_THAT(text, testing::HasSubstr("| `log_level` | string | `INFO` | level; one of `debug`"));
  EXPECT_THAT(text, testing::HasSubstr("### server.ca_subject\n\nSubject of the CA.\n"));
}

// --- plugins -----------------------------------------------------------------------------------

std::vector<std::string> names(const std::vector<PluginConfig>& plugins) {
  std::vector<std::string> out;
  for (const PluginConfig& plugin : plugins) {
    out.push_back(plugin.type + "/" + plugin.name);
  }
  return out;
}

TEST(HclPlugins, hcl_and_json_shapes_give_the_same_plugins_in_order) {
  Report report;
  auto hcl = decode_plugins(*parse(R"(
    plugins {
      NodeAttestor "join_token" { plugin_data {} }
      KeyManager "disk" { plugin_data { keys_path = "k" } }
      NodeAttestor "x509pop" { enabled = false, plugin_data_file = "f" }
      UpstreamAuthority "ext" {
        plugin_cmd = "/bin/x" plugin_args = ["-a", "b"] plugin_checksum = "00"
      }
    })")
                                 .take()
                                 .find("plugins"),
                            report);
  auto json =
      decode_plugins(*parse(R"({"plugins":{"NodeAttestor":[{"join_token":[{"plugin_data":[{}]}]}],
                "KeyManager":[{"disk":{"plugin_data":{"keys_path":"k"}}}]}})")
                          .take()
                          .find("plugins"),
                     report);
  EXPECT_TRUE(report.ok()) << report.result().error().message;
  EXPECT_THAT(names(hcl), ElementsAre("NodeAttestor/join_token", "KeyManager/disk",
                                      "NodeAttestor/x509pop", "UpstreamAuthority/ext"));
  EXPECT_THAT(names(json), ElementsAre("NodeAttestor/join_token", "KeyManager/disk"));
  EXPECT_EQ(load_plugin_data(hcl[1]).take().find("keys_path")->text, "k");
  EXPECT_EQ(load_plugin_data(json[1]).take().find("keys_path")->text, "k");
  EXPECT_THAT(load_plugin_data(json[0]).take().members, IsEmpty());
  EXPECT_FALSE(hcl[2].enabled);
  EXPECT_EQ(hcl[2].data_file, "f");
  EXPECT_TRUE(hcl[3].external());
  EXPECT_THAT(hcl[3].args, ElementsAre("-a", "b"));
  EXPECT_EQ(enabled_plugins(hcl, "NodeAttestor").size(), 1U);
}

TEST(HclPlugins, mistakes_are_refused) {
  Report report;
  decode_plugins(
      parse("A \"x\" {}\nA \"x\" {}\nB \"y\" { plugin_data {} plugin_data_file = \"f\" }\n"
            "C \"z\" { plugin_data = 3 }\nD = 1")
          .take(),
      report);
  std::vector<std::string> texts;
  for (const Problem& problem : report.errors) {
    texts.push_back(report.text(problem));
  }
  EXPECT_THAT(
      texts,
      ElementsAre("2:3: plugins.A[\"x\"]: plugin \"A\"/\"x\" declared more than once",
                  "3:3: plugins.B[\"y\"]: only one of [plugin_data, plugin_data_file] can be used",
                  "4:23: plugins.C[\"z\"].plugin_data: is a number, not a block",
                  "5:5: plugins.D: is a number, not a block"));
}

TEST(HclPlugins, a_missing_data_file_is_told_in_spires_words) {
  PluginConfig plugin;
  plugin.data_file = "/nonexistent/f";
  EXPECT_EQ(load_plugin_data(plugin).error().message,
            "failed to read plugin configuration: open /nonexistent/f: no such file or directory");
}

}  // namespace
}  // namespace steeple::hcl
