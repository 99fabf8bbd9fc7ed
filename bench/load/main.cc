// SPDX-License-Identifier: Apache-2.0

// load: drives a running spire-server or spire-agent (ours or SPIRE's: it only knows the public
// APIs) and prints what each kind of work costs that process, one JSON line per figure.
//   load server --pid N --socket ADMIN --address HOST --port N --trust-domain NAME
//               [--attestations N] [--entries N] [--part x509|mint|jwt|sync|create|list]
//   load agent  --pid N --socket WORKLOAD --admin ADMIN --trust-domain NAME --parent PATH
//               [--rounds N] [--part propagate] [--prefix TEXT]
//   load fleet  --pid N --socket ADMIN --address HOST --port N --trust-domain NAME
//               [--agents N] [--entries N]: stays until it is ended
//   load start  --socket PATH [--rounds N] --name FIGURE -- COMMAND...
//   load idle   --pid N --name PREFIX [--seconds N]
//   load empty-call
// bench/run.py calls it; see docs/benchmarks.md.

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "bench/load/arguments.h"

namespace steeple::bench {

const std::string& Arguments::text(const std::string& name) const {
  auto at = options.find(name);
  if (at == options.end()) {
    fmt::print(stderr, "load: --{} is missing\n", name);
    std::exit(2);
  }
  return at->second;
}

long Arguments::number(const std::string& name) const {
  return std::strtol(text(name).c_str(), nullptr, 10);
}

long Arguments::number(const std::string& name, long otherwise) const {
  return options.contains(name) ? number(name) : otherwise;
}

Arguments parse_arguments(int argc, char** argv) {
  Arguments out;
  for (int i = 0; i < argc; ++i) {
    std::string_view name = argv[i];
    if (name == "--") {
      out.command.assign(argv + i + 1, argv + argc);
      break;
    }
    if (!name.starts_with("--") || i + 1 == argc) {
      fmt::print(stderr, "load: unexpected argument {}\n", name);
      std::exit(2);
    }
    out.options[std::string(name.substr(2))] = argv[++i];
  }
  return out;
}

int run(int argc, char** argv) {
  std::string_view verb = argc > 1 ? argv[1] : "";
  Arguments arguments = parse_arguments(argc - 2, argv + 2);
  if (verb == "server") {
    return measure_server(arguments);
  }
  if (verb == "agent") {
    return measure_agent(arguments);
  }
  if (verb == "fleet") {
    return measure_fleet(arguments);
  }
  if (verb == "start") {
    return measure_start(arguments);
  }
  if (verb == "idle") {
    return measure_idle(arguments);
  }
  if (verb == "empty-call") {
    return measure_empty_call(arguments);
  }
  fmt::print(stderr, "usage: load server|agent|fleet|start|idle|empty-call [--name value]...\n");
  return 2;
}

}  // namespace steeple::bench

int main(int argc, char** argv) { return steeple::bench::run(argc, argv); }
