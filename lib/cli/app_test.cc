// SPDX-License-Identifier: Apache-2.0

// Goal: help texts, errors and exit codes are those of mitchellh/cli 1.1.5 over Go's flag package.
// Method: the same small tool was written in Go with these libraries and run with the command lines
// below; `$ line`, exit code, stdout, stderr are what it printed. Usage texts, shown once in full,
// stand as <usage of NAME>.

#include "lib/cli/app.h"

#include <gtest/gtest.h>

#include <sstream>

namespace steeple::cli {
namespace {

using namespace std::chrono_literals;

struct ToolFlags {
  std::string socket = "/tmp/x.sock";
  std::string id;
  bool node = false;
  bool v = true;
  int ttl = 600;
  Duration expired_for = 720h;
  Duration timeout = 5s;
  std::vector<std::string> selectors;
  std::vector<std::string> rest;
};

void bind(FlagSet& flags, ToolFlags& values) {
  flags.add("socketPath", &values.socket, "Path to the socket");
  flags.add("id", &values.id, "An `identifier` of it");
  flags.add("node", &values.node, "A boolean");
  flags.add("v", &values.v, "one letter");
  flags.add("ttl", &values.ttl, "Time to live\nin seconds");
  flags.add("expiredFor", &values.expired_for, "how long");
  flags.add_duration_value("timeout", &values.timeout, "Time to wait");
  flags.add("selector", &values.selectors, "repeated");
}

template <char... Name>
Result<void> ran(const ToolFlags& values, Environment& environment) {
  static constexpr std::array<char, sizeof...(Name)> kName = {Name...};
  environment.out << "ran " << std::string_view(kName.data(), kName.size()) << " ["
                  << fmt::format("{}", fmt::join(values.rest, " ")) << "]\n";
  return {};
}

App tool() {
  App app("tool", "1.2.3");
  app.add(command<ToolFlags>("run", "Does run", bind, ran<'r', 'u', 'n'>));
  app.add(command<ToolFlags>("entry create", "Does entry create", bind, ran<'c'>));
  app.add(command<ToolFlags>("entry show", "Does entry show", bind,
                             ran<'e', 'n', 't', 'r', 'y', ' ', 's', 'h', 'o', 'w'>));
  app.add(command<ToolFlags>(
      "local x509 show", "Does local x509 show", bind,
      ran<'l', 'o', 'c', 'a', 'l', ' ', 'x', '5', '0', '9', ' ', 's', 'h', 'o', 'w'>));
  app.add(command<ToolFlags>("local jwt show", "Does local jwt show", bind, ran<'j'>));
  return app;
}

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

Ran run(const App& app, const std::string& line) {
  std::vector<std::string> words;
  std::istringstream split(line);
  for (std::string word; split >> word;) {
    words.push_back(word);
  }
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  Ran result;
  result.code = app.run(words, {in, out, err, [](auto) { return std::nullopt; }, {}});
  result.out = out.str();
  result.err = err.str();
  return result;
}

std::string shorten(std::string text) {
  for (std::size_t at; (at = text.find("Usage of ")) != std::string::npos;) {
    std::size_t colon = text.find(":\n", at);
    std::size_t end = colon + 2;
    while (text.compare(end, 2, "  ") == 0) {
      end = text.find('\n', end) + 1;
    }
    text.replace(at, end - at, "<usage of " + text.substr(at + 9, colon - at - 9) + ">\n");
  }
  return text;
}

constexpr std::string_view kUsage = R"(Usage of run:
  -expiredFor duration
    	how long (default 720h0m0s)
  -id identifier
    	An identifier of it
  -node
    	A boolean
  -selector value
    	repeated
  -socketPath string
    	Path to the socket (default "/tmp/x.sock")
  -timeout value
    	Time to wait (default 5s)
  -ttl int
    	Time to live
    	in seconds (default 600)
  -v	one letter (default true)
)";

constexpr std::string_view kGolden = R"($ 
127
Usage: tool [--version] [--help] <command> [<args>]

Available commands are:
    entry    
    local    
    run      Does run

$ --version
0
1.2.3
$ --help
0
Usage: tool [--version] [--help] <command> [<args>]

Available commands are:
    entry    
    local    
    run      Does run

$ bogus
127
Usage: tool [--version] [--help] <command> [<args>]

Available commands are:
    entry    
    local    
    run      Does run

$ entry
1
<usage of entry create>
<usage of entry show>
This command is accessed by using one of the subcommands below.

Subcommands:
    create    Does entry create
    show      Does entry show
$ entry list
1
<usage of entry create>
<usage of entry show>
This command is accessed by using one of the subcommands below.

Subcommands:
    create    Does entry create
    show      Does entry show
$ entry create -h
0
<usage of entry create>
flag: help requested
$ -x entry show
1
Invalid flags before the subcommand. If these flags are for
the subcommand, please put them after the subcommand.

<usage of entry show>
flag: help requested
$ entry show -bogus
1
flag provided but not defined: -bogus
<usage of entry show>
$ entry show -ttl
1
flag needs an argument: -ttl
<usage of entry show>
$ entry show -ttl x
1
invalid value "x" for flag -ttl: parse error
<usage of entry show>
$ entry show -ttl 99999999999999999999
1
invalid value "99999999999999999999" for flag -ttl: value out of range
<usage of entry show>
$ entry show -node=maybe
1
invalid boolean value "maybe" for -node: parse error
<usage of entry show>
$ entry show -timeout 1x
1
invalid value "1x" for flag -timeout: time: unknown unit "x" in duration "1x"
<usage of entry show>
$ entry show -expiredFor 1x
1
invalid value "1x" for flag -expiredFor: parse error
<usage of entry show>
$ entry show ---x
1
bad flag syntax: ---x
<usage of entry show>
$ entry show -node a b -ttl 3
0
ran entry show [a b -ttl 3]
$ entry show --ttl=0x10 -- -x
0
ran entry show [-x]
$ local
1
This command is accessed by using one of the subcommands below.

Subcommands:
    jwt     
    x509    
$ local x509
1
<usage of local x509 show>
This command is accessed by using one of the subcommands below.

Subcommands:
    show    Does local x509 show
$ local x509 show x
0
ran local x509 show [x]
$ entry show --help=1
1
<usage of entry show>
$ run -version
1
flag provided but not defined: -version
<usage of run>
$ entry shower
1
<usage of entry create>
<usage of entry show>
This command is accessed by using one of the subcommands below.

Subcommands:
    create    Does entry create
    show      Does entry show
$ -h entry
0
<usage of entry create>
<usage of entry show>
This command is accessed by using one of the subcommands below.

Subcommands:
    create    Does entry create
    show      Does entry show
$ local x509 show -selector
1
flag needs an argument: -selector
<usage of local x509 show>
$ local x509 show --selector a -selector=b -node=0 rest -h-not
0
ran local x509 show [rest -h-not]
$ run -v=false -ttl -5 -- -- x
0
ran run [-- x]
$ run -=x
1
bad flag syntax: -=x
<usage of run>
$ run -id= y
0
ran run [y]
$ entry -x
1
<usage of entry create>
<usage of entry show>
This command is accessed by using one of the subcommands below.

Subcommands:
    create    Does entry create
    show      Does entry show
$ version
127
Usage: tool [--version] [--help] <command> [<args>]

Available commands are:
    entry    
    local    
    run      Does run

)";

TEST(CliApp, usage_is_gos) {
  EXPECT_EQ(run(tool(), "run -h").err, fmt::format("{}flag: help requested\n", kUsage));
}

TEST(CliApp, command_lines_give_the_references_output_and_exit_code) {
  App app = tool();
  std::string all;
  std::istringstream lines{std::string(kGolden)};
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("$ ")) {
      continue;
    }
    Ran result = run(app, line.substr(2));
    all += line + "\n" + std::to_string(result.code) + "\n" + result.out + shorten(result.err);
  }
  EXPECT_EQ(all, kGolden);
}

int own_code(const ToolFlags&, Environment&) { return 3; }
Result<void> fails(const ToolFlags& values, Environment&) {
  return values.node ? Error{Code::kNotFound, ""} : not_found("no such entry");
}

TEST(CliApp, a_commands_error_is_printed_once_and_exits_1) {
  App app("tool", "1");
  app.add(command<ToolFlags>("a", "A", bind, fails));
  app.add(command<ToolFlags>("b", "B", bind, own_code));
  EXPECT_EQ(run(app, "a").err, "Error: no such entry\n");
  EXPECT_EQ(run(app, "a").code, 1);
  EXPECT_EQ(run(app, "a -node").err, "") << "an empty message was printed by the command";
  EXPECT_EQ(run(app, "a -node").code, 1);
  EXPECT_EQ(run(app, "b").code, 3);
}

TEST(CliApp, run_and_validate_repeat_a_flag_error) {
  App app("tool", "1");
  app.add(command<ToolFlags>("run", "R", bind, own_code, {.repeat_flag_error = true}));
  EXPECT_EQ(shorten(run(app, "run -x").err),
            "flag provided but not defined: -x\n<usage of run>\n"
            "flag provided but not defined: -x\n");
}

TEST(CliApp, the_flag_set_may_have_another_name) {
  App app("tool", "1");
  app.add(command<ToolFlags>("api fetch", "F", bind, own_code, {.flag_set_name = "fetch x509"}));
  EXPECT_EQ(shorten(run(app, "api fetch -x").err),
            "flag provided but not defined: -x\n<usage of fetch x509>\n");
}

}  // namespace
}  // namespace steeple::cli
