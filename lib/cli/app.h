// SPDX-License-Identifier: Apache-2.0

// The table of commands of one program, and its help texts and exit codes as mitchellh/cli has
// them: an unknown command prints the help and exits 127; a group ("entry") prints its subcommands
// and exits 1; --version and --help exit 0.
//
//   App app("spire-server", "1.15.3");
//   app.add(command<TokenFlags>("token generate", "Generates a join token",
//                               token_flags, token_generate));
//   return app.run(arguments, process_environment());

#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/result.h"
#include "lib/cli/environment.h"
#include "lib/cli/flags.h"

namespace steeple::cli {

struct Command {
  std::string name;      // words separated by one space: "localauthority x509 show"
  std::string synopsis;  // one line for the lists
  // Parses the arguments and runs; the exit code.
  std::function<int(std::span<const std::string> arguments, Environment& environment)> run;
  // What Help() of the reference prints aside: the usage text.
  std::function<std::string()> usage;
  std::string help_line = "flag: help requested";  // and what it returns, printed below
};

// What the flag set of a command is called, and so its usage text; the command's name by default.
struct CommandOptions {
  std::string flag_set_name = {};
  // `run` and `validate` of the reference print a flag error a second time, below the usage.
  bool repeat_flag_error = false;
  // Some of the agent's commands say nothing below their usage when asked for help.
  bool bare_help = false;
};

// A command on a plain struct of flags. `bind` ties the flags to it (a member `rest`, a list of
// strings, gets what follows the flags); `run` does the work: an error is printed as "Error:
// <message>" and exits 1. A message that is empty was printed already.
template <class Flags>
Command command(std::string name, std::string synopsis, void (*bind)(FlagSet&, Flags&),
                Result<void> (*run)(const Flags&, Environment&), CommandOptions options = {});

// The same for commands with exit codes or error texts of their own (run, validate).
template <class Flags>
Command command(std::string name, std::string synopsis, void (*bind)(FlagSet&, Flags&),
                int (*run)(const Flags&, Environment&), CommandOptions options = {});

class App {
 public:
  App(std::string name, std::string version)
      : name_(std::move(name)), version_(std::move(version)) {}

  void add(Command command);
  // `arguments` without the program's name.
  int run(std::span<const std::string> arguments, Environment environment) const;

 private:
  struct Line;
  Line read(std::span<const std::string> arguments) const;
  bool is_group(const std::string& name) const;
  std::map<std::string, const Command*> children(const std::string& parent) const;
  std::string top_help(const std::string& parent) const;
  void print_help(const std::string& name, Environment& environment) const;

  std::string name_;
  std::string version_;
  std::map<std::string, Command> commands_;
};

// --- the templates -----------------------------------------------------------------------------

namespace detail {
// Parses, printing Go's texts to stderr; false: exit 1.
bool parse_flags(FlagSet& flags, std::span<const std::string> arguments, Environment& environment,
                 bool repeat_error);
int finish(const Result<void>& result, Environment& environment);

template <class Flags, class Bind, class Run>
Command make_command(std::string name, std::string synopsis, Bind bind, Run run,
                     CommandOptions options) {
  if (options.flag_set_name.empty()) {
    options.flag_set_name = name;
  }
  Command out;
  out.name = std::move(name);
  out.synopsis = std::move(synopsis);
  out.run = [bind = std::move(bind), run = std::move(run), options](
                std::span<const std::string> arguments, Environment& environment) {
    Flags values{};
    FlagSet flags(options.flag_set_name);
    bind(flags, values);
    if (!parse_flags(flags, arguments, environment, options.repeat_flag_error)) {
      return 1;
    }
    if constexpr (requires { values.rest = flags.rest(); }) {
      values.rest = flags.rest();
    }
    return run(values, environment);
  };
  out.usage = [bind, set = options.flag_set_name] {
    Flags values{};
    FlagSet flags(set);
    bind(flags, values);
    return flags.usage();
  };
  if (options.bare_help) {
    out.help_line.clear();
  }
  return out;
}
}  // namespace detail

template <class Flags>
Command command(std::string name, std::string synopsis, void (*bind)(FlagSet&, Flags&),
                Result<void> (*run)(const Flags&, Environment&), CommandOptions options) {
  auto guarded = [run](const Flags& values, Environment& environment) {
    return detail::finish(run(values, environment), environment);
  };
  return detail::make_command<Flags>(std::move(name), std::move(synopsis), bind, guarded,
                                     std::move(options));
}

template <class Flags>
Command command(std::string name, std::string synopsis, void (*bind)(FlagSet&, Flags&),
                int (*run)(const Flags&, Environment&), CommandOptions options) {
  return detail::make_command<Flags>(std::move(name), std::move(synopsis), bind, run,
                                     std::move(options));
}

}  // namespace steeple::cli
