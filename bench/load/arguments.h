// SPDX-License-Identifier: Apache-2.0

// The arguments of one measurement: `--name value` pairs, then, after `--`, a command.

#pragma once

#include <map>
#include <string>
#include <vector>

namespace steeple::bench {

struct Arguments {
  std::map<std::string, std::string> options;
  std::vector<std::string> command;

  const std::string& text(const std::string& name) const;  // ends the program when missing
  long number(const std::string& name) const;
  long number(const std::string& name, long otherwise) const;
};
Arguments parse_arguments(int argc, char** argv);

// The measurements; each prints one JSON line per figure.
int measure_server(const Arguments& arguments);
int measure_agent(const Arguments& arguments);
int measure_fleet(const Arguments& arguments);
int measure_start(const Arguments& arguments);
int measure_empty_call(const Arguments& arguments);
int measure_idle(const Arguments& arguments);

}  // namespace steeple::bench
