// SPDX-License-Identifier: Apache-2.0

// The workload that only is there, as long as its container: it prints its identity whenever that
// changes. What the program does when no command is given.

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <ostream>
#include <utility>

#include "lib/base/guarded.h"
#include "spiffe/examples/spiffe_workload/commands.h"
#include "spiffe/workloadapi/client.h"

namespace spiffe::example {
namespace {

namespace cli = steeple::cli;

struct WatchFlags {};

void bind(cli::FlagSet& /*none*/, WatchFlags& /*none*/) {}

// Tells each thing once: the Workload API says the same error at each try.
class Printer {
 public:
  explicit Printer(cli::Environment& to) : to_(to) {}

  void update(const X509Context& context) {
    auto state = state_.lock();
    state->last_error.clear();
    to_.out << describe(context) << std::endl;
  }

  void error(const steeple::Error& error) {
    auto state = state_.lock();
    if (std::exchange(state->last_error, error.message) != error.message) {
      to_.err << "No identity: " << error.message << std::endl;
    }
    if (error.code == steeple::Code::kInvalidArgument) {
      state->hopeless = error;
      ::kill(::getpid(), SIGTERM);  // no later try can mend it
    }
  }

  steeple::Result<void> end() {
    auto state = state_.lock();
    return state->hopeless ? steeple::Result<void>(*state->hopeless) : steeple::Result<void>();
  }

 private:
  struct State {
    std::string last_error;
    std::optional<steeple::Error> hopeless;
  };
  cli::Environment& to_;
  steeple::Guarded<State> state_;
};

steeple::Result<void> watch(const WatchFlags& /*none*/, cli::Environment& environment) {
  // Before the client's thread starts, so that no thread but this one gets them.
  sigset_t ending;
  ::sigemptyset(&ending);
  ::sigaddset(&ending, SIGINT);
  ::sigaddset(&ending, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  environment.out << "Waiting for the identity of this workload" << std::endl;
  Printer printer(environment);
  auto client = TRY(Client::make());
  auto handle = client->watch_x509_context(
      {.on_update = [&](const auto& context) { printer.update(*context); },
       .on_error = [&](const steeple::Error& error) { printer.error(error); }});
  int signal = 0;
  ::sigwait(&ending, &signal);
  handle.reset();
  return printer.end();
}

}  // namespace

cli::Command watch_command() {
  return cli::command<WatchFlags>(
      "watch", "Prints the identity of this workload whenever it changes (without a command: this)",
      bind, watch);
}

}  // namespace spiffe::example
