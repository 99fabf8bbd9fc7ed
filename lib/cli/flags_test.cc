// SPDX-License-Identifier: Apache-2.0

// Goal: flags set their targets as Go's flag package does, and sockets are found as the reference
// finds them. Texts and exit codes are in app_test.cc.

#include "lib/cli/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "lib/cli/environment.h"

namespace steeple::cli {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

std::string parse(FlagSet& flags, std::vector<std::string> arguments) {
  std::string printed;
  auto result = flags.parse(arguments, printed);
  return result.ok() ? "" : result.error().message;
}

TEST(CliFlags, every_spelling_of_a_value_works) {
  for (std::vector<std::string> line :
       {std::vector<std::string>{"-s", "x"}, {"-s=x"}, {"--s", "x"}, {"--s=x"}}) {
    std::string s;
    FlagSet flags("t");
    flags.add("s", &s, "");
    EXPECT_EQ(parse(flags, line), "");
    EXPECT_EQ(s, "x") << line[0];
    EXPECT_TRUE(flags.was_set("s"));
  }
}

TEST(CliFlags, a_value_may_look_like_a_flag_or_be_empty) {
  std::string s = "d";
  FlagSet flags("t");
  flags.add("s", &s, "");
  EXPECT_EQ(parse(flags, {"-s", "-x"}), "");
  EXPECT_EQ(s, "-x");
  EXPECT_EQ(parse(flags, {"-s="}), "");
  EXPECT_EQ(s, "");
  EXPECT_EQ(parse(flags, {"-s=a=b"}), "");
  EXPECT_EQ(s, "a=b");
}

TEST(CliFlags, types) {
  bool b = false;
  int i = 0;
  std::int64_t l = 0;
  Duration d{};
  std::vector<std::string> many = {"preset"};
  std::vector<std::string> list;
  FlagSet flags("t");
  flags.add("b", &b, "");
  flags.add("i", &i, "");
  flags.add("l", &l, "");
  flags.add("d", &d, "");
  flags.add("m", &many, "");
  flags.add_comma_list("c", &list, "");
  EXPECT_EQ(parse(flags, {"-b", "-i", "-0x10", "-l=9223372036854775807", "-d", "1h30m", "-m", "a",
                          "-m", "b", "-c", "x,,y", "-", "z"}),
            "");
  EXPECT_TRUE(b);
  EXPECT_EQ(i, -16);
  EXPECT_EQ(l, INT64_MAX);
  EXPECT_EQ(d, 90min);
  EXPECT_THAT(many, ElementsAre("preset", "a", "b"));
  EXPECT_THAT(list, ElementsAre("x", "", "y"));
  EXPECT_THAT(flags.rest(), ElementsAre("-", "z"));
  EXPECT_EQ(parse(flags, {"-i", "2147483648"}),
            "invalid value \"2147483648\" for flag -i: value out of range");
  EXPECT_EQ(parse(flags, {"-i", "--5"}), "invalid value \"--5\" for flag -i: parse error");
  EXPECT_EQ(parse(flags, {"-i", ""}), "invalid value \"\" for flag -i: parse error");
}

TEST(CliSocket, the_flag_wins_then_the_instance_then_the_variable_then_the_default) {
  std::map<std::string, std::string, std::less<>> variables;
  std::istringstream in;
  std::ostringstream out;
  Environment environment{in,
                          out,
                          out,
                          [&](std::string_view name) -> std::optional<std::string> {
                            auto found = variables.find(name);
                            return found == variables.end() ? std::nullopt
                                                            : std::optional(found->second);
                          },
                          {}};
  SocketNames names = server_socket();
  SocketFlags flags{names.default_path, ""};
  EXPECT_EQ(resolve_socket(flags, names, environment).take(), "/tmp/spire-server/private/api.sock");
  variables["SPIRE_SERVER_PRIVATE_SOCKET"] = "/run/a.sock";
  EXPECT_EQ(resolve_socket(flags, names, environment).take(), "/run/a.sock");
  flags.instance = "blue";
  EXPECT_EQ(resolve_socket(flags, names, environment).error().message,
            "you must define SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE to use the instance flag");
  variables["SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE"] = "/run/x.sock";
  EXPECT_EQ(resolve_socket(flags, names, environment).error().message,
            "failed to find %i in SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE");
  variables["SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE"] = "/run/%i/%i.sock";
  EXPECT_EQ(resolve_socket(flags, names, environment).take(), "/run/blue/blue.sock");
  flags.path = "/mine.sock";
  EXPECT_EQ(resolve_socket(flags, names, environment).take(), "/mine.sock");
}

TEST(CliEnvironment, relative_paths_start_at_the_base_folder) {
  Environment environment = process_environment();
  EXPECT_EQ(environment.resolve("a/b"), "a/b");
  environment.base_dir = "/base";
  EXPECT_EQ(environment.resolve("a/b"), "/base/a/b");
  EXPECT_EQ(environment.resolve("/a"), "/a");
}

}  // namespace
}  // namespace steeple::cli
