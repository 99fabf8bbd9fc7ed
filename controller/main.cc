// SPDX-License-Identifier: Apache-2.0

// spire-controller-manager: see run.h.

#include <string>
#include <vector>

#include "controller/run.h"

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  steeple::cli::Environment environment = steeple::cli::process_environment();
  return steeple::controller::run(arguments, environment);
}
