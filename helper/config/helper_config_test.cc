// SPDX-License-Identifier: Apache-2.0

// Goal: a spiffe-helper configuration means here what it means there, and is refused in the same
// words. Method: texts.

#include "helper/config/helper_config.h"

#include <gmock/gmock.h>

#include <csignal>

namespace steeple::helper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kX509 =
    "cert_dir = \"certs\"\n"
    "svid_file_name = \"svid.pem\"\n"
    "svid_key_file_name = \"svid_key.pem\"\n"
    "svid_bundle_file_name = \"svid_bundle.pem\"\n";

std::optional<std::string> no_variable(std::string_view) { return {}; }

Result<HelperConfig> parse(const std::string& text, std::optional<bool> daemon = {}) {
  return parse_config(text, daemon, no_variable);
}
std::string refusal(const std::string& text) {
  auto config = parse(text);
  return config.ok() ? "accepted" : config.error().message;
}

TEST(HelperConfigTest, TheReferencesSampleIsRead) {
  auto config = parse(R"(
agent_address = "/tmp/spire-agent/public/api.sock"
cmd = "hot-restarter.py"
cmd_args = "start_envoy.sh"
cert_dir = "certs"
cert_file_mode = 0444
key_file_mode = 0440
jwt_bundle_file_mode = 292
jwt_svid_file_mode = "0400"
renew_signal = "SIGHUP"
svid_file_name = "svid.pem"
svid_key_file_name = "svid_key.pem"
svid_bundle_file_name = "svid_bundle.pem"
jwt_bundle_file_name = "jwt_bundle.json"
jwt_svids = [
  {
    jwt_svid_file_name = "jwt_svid.token"
    jwt_audience = "your-audience"
    jwt_extra_audiences = ["your-extra-audience-1", "your-extra-audience-2"]
  }
]
add_intermediates_to_bundle = true
hint = "internal"
)");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->agent_address, "unix:///tmp/spire-agent/public/api.sock");
  EXPECT_EQ(config->cmd, "hot-restarter.py");
  EXPECT_THAT(config->cmd_args, ElementsAre("start_envoy.sh"));
  EXPECT_EQ(config->cert_file_mode, 0444U);
  EXPECT_EQ(config->key_file_mode, 0440U);
  EXPECT_EQ(config->jwt_bundle_file_mode, 0444U) << "decimal, as it is written";
  EXPECT_EQ(config->jwt_svid_file_mode, 0400U);
  EXPECT_EQ(config->renew_signal_number, SIGHUP);
  ASSERT_EQ(config->jwt_svids.size(), 1U);
  EXPECT_EQ(config->jwt_svids[0].audience, "your-audience");
  EXPECT_THAT(config->jwt_svids[0].extra_audiences,
              ElementsAre("your-extra-audience-1", "your-extra-audience-2"));
  EXPECT_EQ(config->path_of("svid.pem"), "certs/svid.pem");
  EXPECT_TRUE(config->add_intermediates_to_bundle);
  EXPECT_EQ(config->hint, "internal");
  EXPECT_TRUE(config->daemon_mode);
}

TEST(HelperConfigTest, WhatIsLeftOutHasTheReferencesDefaults) {
  auto config = parse(std::string(kX509) + "health_checks { listener_enabled = true }");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->agent_address, "unix:///tmp/spire-agent/public/api.sock");
  EXPECT_EQ(config->cert_file_mode, 0644U);
  EXPECT_EQ(config->key_file_mode, 0600U);
  EXPECT_EQ(config->jwt_bundle_file_mode, 0600U);
  EXPECT_EQ(config->jwt_svid_file_mode, 0600U);
  EXPECT_EQ(config->health.bind_port, 8081);
  EXPECT_EQ(config->health.liveness_path, "/live");
  EXPECT_EQ(config->health.readiness_path, "/ready");
  EXPECT_FALSE(config->omit_expired || config->include_federated_domains ||
               config->add_intermediates_to_bundle);
}

TEST(HelperConfigTest, TheAddressComesFromTheFileThenFromTheEnvironment) {
  auto variable = [](std::string_view name) -> std::optional<std::string> {
    return name == "SPIFFE_ENDPOINT_SOCKET" ? std::optional<std::string>("unix:///env.sock")
                                            : std::nullopt;
  };
  EXPECT_EQ(parse_config(kX509, {}, variable)->agent_address, "unix:///env.sock");
  auto both = parse_config(std::string(kX509) + "agent_address = \"/file.sock\"", {}, variable);
  EXPECT_EQ(both->agent_address, "unix:///file.sock");
}

TEST(HelperConfigTest, UnknownKeysAreNamedAllAtOnce) {
  EXPECT_EQ(refusal(std::string(kX509) + "svidfile = \"x\"\nbundle = \"y\""),
            "unknown top level key(s): bundle,svidfile");
  EXPECT_EQ(refusal("jwt_svids = [{jwt_audience=\"a\", jwt_svid_file_name=\"f\"}, "
                    "{jwt_audience=\"a\", jwt_svid_file_name=\"f\", aud=\"x\"}]"),
            "unknown key(s) in jwt_svids[1]: aud");
}

TEST(HelperConfigTest, WhatDoesNotFitTogetherIsRefused) {
  const std::string x509 = kX509;
  EXPECT_EQ(
      refusal("svid_file_name = \"s\""),
      "all or none of 'svid_file_name', 'svid_key_file_name', 'svid_bundle_file_name' must be "
      "specified");
  EXPECT_THAT(refusal("cert_dir = \"certs\""), HasSubstr("at least one of the sets"));
  EXPECT_EQ(refusal("jwt_svids = [{jwt_audience=\"a\"}]"),
            "'jwt_file_name' is required in 'jwt_svids'");
  EXPECT_EQ(refusal("jwt_svids = [{jwt_svid_file_name=\"a\"}]"),
            "'jwt_audience' is required in 'jwt_svids'");
  EXPECT_EQ(refusal(x509 + "pid_file_name = \"p\""),
            "must specify renew_signal when using pid_file_name");
  EXPECT_EQ(refusal(x509 + "daemon_mode = false\npid_file_name = \"p\"\nrenew_signal=\"SIGHUP\""),
            "pid_file_name is set but daemon_mode is false. pid_file_name is only supported in "
            "daemon_mode");
  EXPECT_EQ(refusal(x509 + "key_file_mode = -1"), "key file mode must be positive");
  EXPECT_EQ(refusal(x509 + "health_checks { listener_enabled = true\n bind_port = -1 }"),
            "bind port must be positive");
  EXPECT_EQ(refusal(x509 + "cmd = \"x\"\nrenew_signal = \"HUP\""),
            "renew_signal \"HUP\" is no signal's name");
  EXPECT_THAT(refusal("svid_file_name = "), HasSubstr("1:"));
}

TEST(HelperConfigTest, TheFlagWinsOverTheFileForDaemonMode) {
  EXPECT_FALSE(parse(std::string(kX509) + "daemon_mode = false")->daemon_mode);
  EXPECT_TRUE(parse(std::string(kX509) + "daemon_mode = false", true)->daemon_mode);
  EXPECT_FALSE(parse(kX509, false)->daemon_mode);
}

TEST(HelperConfigTest, OnceOnlyIgnoresTheCommandAndSaysSo) {
  auto config = parse(std::string(kX509) + "cmd = \"x\"\nrenew_signal = \"SIGHUP\"", false);
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->warnings,
              ElementsAre(HasSubstr("cmd is set but daemon_mode is false"),
                          HasSubstr("renew_signal is set but daemon_mode is false")));
}

TEST(SplitArgumentsTest, SpacesSeparateQuotesKeepTogether) {
  EXPECT_THAT(*split_arguments(""), IsEmpty());
  EXPECT_THAT(*split_arguments("-x arg -y arg"), ElementsAre("-x", "arg", "-y", "arg"));
  EXPECT_THAT(*split_arguments("-x \"two words\" \"say \"\"hi\"\"\""),
              ElementsAre("-x", "two words", "say \"hi\""));
  EXPECT_THAT(*split_arguments("a  b"), ElementsAre("a", "", "b"));
  EXPECT_THAT(*split_arguments("a "), ElementsAre("a", ""));
  EXPECT_THAT(*split_arguments("\"\""), ElementsAre(""));
}

TEST(SplitArgumentsTest, QuotesOutOfPlaceAreErrors) {
  EXPECT_THAT(split_arguments("-x \"flag").error().message,
              HasSubstr("extraneous or missing \" in quoted-field"));
  EXPECT_THAT(split_arguments("\"a\"b").error().message,
              HasSubstr("extraneous or missing \" in quoted-field"));
  EXPECT_THAT(split_arguments("a b\"c").error().message,
              HasSubstr("column 4: bare \" in non-quoted-field"));
}

TEST(SignalNumberTest, NamesAreTheKernels) {
  EXPECT_EQ(signal_number("SIGUSR1"), SIGUSR1);
  EXPECT_EQ(signal_number("SIGTERM"), SIGTERM);
  for (const char* none : {"", "SIG", "USR1", "sigusr1", "SIGNOPE", "1"}) {
    EXPECT_EQ(signal_number(none), 0) << none;
  }
}

}  // namespace
}  // namespace steeple::helper
