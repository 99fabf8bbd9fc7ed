// SPDX-License-Identifier: Apache-2.0

// simulation --seeds A..B | --seed N [--days D] [--twice]: runs seeds, each in a child process of
// its own so that a crash is told with its seed. `--seed` prints every event. `--twice` runs each
// seed two times and compares. One line per seed, then `N passed, N failed`.

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "tests/simulation/world.h"

namespace steeple::simulation {
namespace {

struct Arguments {
  std::uint64_t first = 1;
  std::uint64_t last = 0;
  std::uint64_t days = 30;
  bool verbose = false;
  bool twice = false;
};

bool number(std::string_view text, std::uint64_t& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse(int count, char** words, Arguments& out) {
  for (int i = 1; i < count; ++i) {
    std::string_view word = words[i];
    std::string_view value = i + 1 < count ? words[i + 1] : "";
    if (word == "--twice") {
      out.twice = true;
      continue;
    }
    ++i;
    if (word == "--seed" && number(value, out.first)) {
      out.last = out.first;
      out.verbose = true;
    } else if (word == "--seeds") {
      std::size_t dots = value.find("..");
      if (dots == std::string_view::npos || !number(value.substr(0, dots), out.first) ||
          !number(value.substr(dots + 2), out.last)) {
        return false;
      }
    } else if (word != "--days" || !number(value, out.days)) {
      return false;
    }
  }
  return out.last >= out.first;
}

Outcome run_once(const Plan& plan, bool verbose) {
  std::string folder = std::filesystem::temp_directory_path() / "simulation-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) {
    return {.failures = {"no temporary folder"}};
  }
  Outcome out;
  {
    World world(plan, folder, verbose);
    out = world.run();
  }
  std::filesystem::remove_all(folder);
  return out;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// In the child.
int run_seed(std::uint64_t seed, const Arguments& arguments) {
  Plan plan = make_plan(seed, std::chrono::hours(24 * arguments.days));
  Outcome out = run_once(plan, arguments.verbose);
  if (out.failures.empty() && arguments.twice) {
    Outcome again = run_once(plan, false);
    if (again.hash != out.hash) {
      out.failures.push_back(fmt::format("two runs differ: {:016x} ({} events) and {:016x} ({})",
                                         out.hash, out.events, again.hash, again.events));
    }
  }
  fmt::print(
      "seed {} {} {:016x}: {} events, {} faults, {} operations, {} updates, {} tokens, {:.2f} s\n",
      seed, out.failures.empty() ? "passed" : "FAILED", out.hash, out.events, out.faults,
      out.operations, out.updates, out.tokens, cpu_seconds());
  for (const std::string& failure : out.failures) {
    fmt::print("  {}\n", failure);
  }
  std::fflush(stdout);
  return out.failures.empty() ? 0 : 1;
}

int run(const Arguments& arguments) {
  std::uint64_t passed = 0;
  std::uint64_t failed = 0;
  for (std::uint64_t seed = arguments.first; seed <= arguments.last; ++seed) {
    std::fflush(stdout);
    pid_t child = ::fork();
    if (child == 0) {
      std::_Exit(run_seed(seed, arguments));
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!WIFEXITED(status)) {
      fmt::print("seed {} FAILED: signal {}\n", seed, WTERMSIG(status));
    }
    ++(good ? passed : failed);
  }
  fmt::print("{} passed, {} failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace steeple::simulation

int main(int argc, char** argv) {
  steeple::simulation::Arguments arguments;
  if (!steeple::simulation::parse(argc, argv, arguments)) {
    std::fputs("usage: simulation --seeds A..B | --seed N [--days D] [--twice]\n", stderr);
    return 2;
  }
  return steeple::simulation::run(arguments);
}
