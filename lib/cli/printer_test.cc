// SPDX-License-Identifier: Apache-2.0

// Goal: -output json is the reference's JSON. Method: API messages in, text out; the expectations
// follow the reference's protojson settings.

#include "lib/cli/printer.h"

#include <gtest/gtest.h>

#include <sstream>

#include "spire/api/server/agent/v1/agent.pb.h"
#include "spire/api/server/logger/v1/logger.pb.h"
#include "spire/api/types/bundle.pb.h"
#include "spire/api/types/entry.pb.h"
#include "spire/api/types/federationrelationship.pb.h"

namespace steeple::cli {
namespace {

using Messages = std::vector<const google::protobuf::Message*>;

std::string json(const Messages& messages) {
  auto text = to_json(messages);
  return text.ok() ? *text : "error: " + text.error().message;
}

TEST(CliPrinter, one_message_is_an_object_several_are_an_array_none_is_nothing) {
  spire::api::server::agent::v1::CountAgentsResponse count;
  EXPECT_EQ(json({&count}), "{\"count\":0}");
  count.set_count(42);
  EXPECT_EQ(json({&count, &count}), "[{\"count\":42},{\"count\":42}]");
  EXPECT_EQ(json({}), "");
}

TEST(CliPrinter, an_entry_shows_unpopulated_fields_sorted_and_numbers_as_protojson) {
  spire::api::types::Entry entry;
  entry.set_id("e");
  entry.mutable_spiffe_id()->set_trust_domain("td");
  entry.mutable_spiffe_id()->set_path("/x");
  entry.add_selectors()->set_type("unix");
  entry.set_expires_at(1893456000);
  entry.set_revision_number(9007199254740993);
  entry.set_x509_svid_ttl(60);
  std::string text = json({&entry});
  EXPECT_TRUE(text.starts_with("{\"admin\":false,")) << text;
  for (std::string_view part : {"\"dns_names\":[]", "\"expires_at\":\"1893456000\"",
                                "\"revision_number\":\"9007199254740993\"",
                                "\"selectors\":[{\"type\":\"unix\",\"value\":\"\"}]",
                                "\"spiffe_id\":{\"path\":\"/x\",\"trust_domain\":\"td\"}",
                                "\"x509_svid_ttl\":60", "\"hint\":\"\""}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
  EXPECT_EQ(text.find("parent_id"), std::string::npos) << "unset messages are left out";
}

TEST(CliPrinter, bytes_are_base64_and_enums_names) {
  spire::api::types::Bundle bundle;
  bundle.add_x509_authorities()->set_asn1("\xfb\xff");
  EXPECT_NE(json({&bundle}).find("\"asn1\":\"+/8=\""), std::string::npos) << json({&bundle});
  spire::api::types::Logger logger;
  logger.set_current_level(spire::api::types::DEBUG);
  logger.set_launch_level(spire::api::types::INFO);
  EXPECT_EQ(json({&logger}), "{\"current_level\":\"DEBUG\",\"launch_level\":\"INFO\"}");
}

TEST(CliPrinter, a_oneof_without_a_value_is_left_out) {
  spire::api::types::FederationRelationship relation;
  relation.set_trust_domain("td");
  relation.set_bundle_endpoint_url("https://td/");
  EXPECT_EQ(json({&relation}), "{\"bundle_endpoint_url\":\"https://td/\",\"trust_domain\":\"td\"}");
}

TEST(CliPrinter, plain_json_is_cleaned_and_escaped_as_go_does) {
  EXPECT_EQ(
      normalize_json("{\"b\":null,\"a\":[null,{\"z\":null,\"y\":\"<&> \xE2\x80\xA8\"},[null]]}")
          .take(),
      "{\"a\":[{\"y\":\"\\u003c\\u0026\\u003e \\u2028\"},[]]}");
  EXPECT_FALSE(normalize_json("{").ok());
  EXPECT_FALSE(normalize_json("{\"a\":\"\xff\"}").ok());
}

TEST(CliPrinter, the_flag_chooses_between_pretty_and_json) {
  auto run = [](std::vector<std::string> arguments) {
    Output output;
    FlagSet flags("t");
    add_output_flag(flags, output);
    std::string printed;
    auto parsed = flags.parse(arguments, printed);
    if (!parsed.ok()) {
      return parsed.error().message;
    }
    std::istringstream in;
    std::ostringstream out;
    Environment environment{in, out, out, [](auto) { return std::nullopt; }, {}};
    spire::api::server::agent::v1::CountAgentsResponse count;
    EXPECT_TRUE(print(output, environment, {&count}, [](Environment& to) -> Result<void> {
                  to.out << "0 attested agents\n";
                  return {};
                }).ok());
    return out.str();
  };
  EXPECT_EQ(run({}), "0 attested agents\n");
  EXPECT_EQ(run({"-output", "json"}), "{\"count\":0}\n");
  EXPECT_EQ(run({"-output", "PrettyPrint"}), "0 attested agents\n");
  EXPECT_EQ(run({"-output", "xml"}),
            "invalid value \"xml\" for flag -output: bad formatter flag: unknown format option: "
            "\"xml\"");
  EXPECT_EQ(run({"-output", "json", "-output", "pretty"}),
            "invalid value \"pretty\" for flag -output: the output format has already been set to "
            "\"json\"");
}

}  // namespace
}  // namespace steeple::cli
