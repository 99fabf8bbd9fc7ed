// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/app.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <set>

namespace steeple::cli {
namespace {

constexpr std::string_view kGroupHelp =
    "This command is accessed by using one of the subcommands below.";
constexpr std::string_view kFlagsBefore =
    "Invalid flags before the subcommand. If these flags are for\n"
    "the subcommand, please put them after the subcommand.\n\n";

bool is_help(std::string_view argument) {
  return argument == "-h" || argument == "-help" || argument == "--help";
}
bool is_version(std::string_view argument) {
  return argument == "-v" || argument == "-version" || argument == "--version";
}

}  // namespace

namespace detail {

bool parse_flags(FlagSet& flags, std::span<const std::string> arguments, Environment& environment,
                 bool repeat_error) {
  std::string printed;
  auto parsed = flags.parse(arguments, printed);
  environment.err << printed;
  if (!parsed.ok() && repeat_error) {
    environment.err << parsed.error().message << '\n';
  }
  return parsed.ok();
}

int finish(const Result<void>& result, Environment& environment) {
  if (result.ok()) {
    return 0;
  }
  if (!result.error().message.empty()) {
    environment.err << "Error: " << result.error().message << '\n';
  }
  return 1;
}

}  // namespace detail

// The command line, taken apart as mitchellh/cli does it.
struct App::Line {
  bool help = false;
  bool version = false;
  bool flags_before = false;
  std::string command;
  std::vector<std::string> arguments;
};

void App::add(Command command) {
  std::string name = command.name;
  commands_[std::move(name)] = std::move(command);
}

bool App::is_group(const std::string& name) const {
  auto next = commands_.lower_bound(name + " ");
  return next != commands_.end() && next->first.starts_with(name + " ");
}

App::Line App::read(std::span<const std::string> arguments) const {
  Line line;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      break;
    }
    if (is_help(argument)) {
      line.help = true;
      continue;
    }
    if (!line.command.empty()) {
      continue;
    }
    if (is_version(argument)) {
      line.version = true;
      continue;
    }
    if (argument.starts_with('-')) {
      line.flags_before = true;
    }
    if (argument.empty() || argument[0] == '-') {
      continue;
    }
    if (argument.contains(' ')) {
      return line;
    }
    // As many words as still name a command or a group.
    std::size_t used = 1;
    std::string name = argument;
    std::string candidate = argument;
    for (std::size_t k = i + 1; k < arguments.size(); ++k) {
      const std::string& word = arguments[k];
      if (word.empty() || word[0] == '-' || word.contains(' ')) {
        break;
      }
      candidate += " " + word;
      if (commands_.contains(candidate) || is_group(candidate)) {
        name = candidate;
        used = k - i + 1;
      }
    }
    line.command = name;
    auto rest = arguments.subspan(i + used);
    line.arguments.assign(rest.begin(), rest.end());
  }
  return line;
}

// The commands and groups one word below `parent`; null for groups.
std::map<std::string, const Command*> App::children(const std::string& parent) const {
  std::string prefix = parent.empty() ? "" : parent + " ";
  std::map<std::string, const Command*> out;
  for (const auto& [name, command] : commands_) {
    if (!name.starts_with(prefix)) {
      continue;
    }
    std::size_t space = name.find(' ', prefix.size());
    if (space == std::string::npos) {
      out[name] = &command;
    } else {
      out.try_emplace(name.substr(0, space), nullptr);
    }
  }
  return out;
}

std::string App::top_help(const std::string& parent) const {
  std::string out = fmt::format(
      "Usage: {} [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n", name_);
  auto listed = children(parent);
  std::size_t width = 0;
  for (const auto& [name, command] : listed) {
    width = std::max(width, name.size());
  }
  for (const auto& [name, command] : listed) {
    out +=
        fmt::format("    {:<{}}    {}\n", name, width, command == nullptr ? "" : command->synopsis);
  }
  return out + "\n";
}

// Asking the reference's commands for help prints their usage first; so it is here, and a group's
// list comes below the usage texts of all its commands.
void App::print_help(const std::string& name, Environment& environment) const {
  auto usage = [&](const Command& command) {
    if (command.usage) {
      environment.err << command.usage();
    }
  };
  auto found = commands_.find(name);
  std::string help(kGroupHelp);
  if (found != commands_.end()) {
    usage(found->second);
    help = found->second.help_line;
  }
  auto listed = children(name);
  std::size_t width = 0;
  for (const auto& [child, command] : listed) {
    width = std::max(width, child.size());
    if (command != nullptr) {
      usage(*command);
    }
  }
  if (!listed.empty()) {
    help += "\n\nSubcommands:";
  }
  for (const auto& [child, command] : listed) {
    std::string last = child.substr(child.rfind(' ') + 1);
    help += fmt::format("\n    {}{}    {}", last, std::string(width - child.size(), ' '),
                        command == nullptr ? "" : command->synopsis);
  }
  environment.err << help << '\n';
}

int App::run(std::span<const std::string> arguments, Environment environment) const {
  Line line = read(arguments);
  if (line.version) {
    environment.err << version_ << '\n';
    return 0;
  }
  if (line.help && line.command.empty()) {
    environment.err << top_help("");
    return 0;
  }
  auto found = commands_.find(line.command);
  if (found == commands_.end() && (line.command.empty() || !is_group(line.command))) {
    environment.err << top_help("");
    return 127;
  }
  if (line.help) {
    print_help(line.command, environment);
    return 0;
  }
  if (line.flags_before) {
    environment.err << kFlagsBefore;
    print_help(line.command, environment);
    return 1;
  }
  if (found == commands_.end()) {
    print_help(line.command, environment);
    return 1;
  }
  int code = found->second.run(line.arguments, environment);
  environment.out.flush();
  environment.err.flush();
  return code;
}

}  // namespace steeple::cli
