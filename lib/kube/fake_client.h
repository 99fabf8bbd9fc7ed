// SPDX-License-Identifier: Apache-2.0

// A client on simulated time with a scripted transport, for tests of what stands on the client.

#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/io/fake_loop.h"
#include "lib/kube/client.h"
#include "lib/kube/fake_transport.h"

namespace steeple::kube {

// An Access whose credentials the test changes.
class FakeAccess final : public Access {
 public:
  const std::string& server() const override { return server_; }
  Result<Credential> credential() override { return Credential{nullptr, "Bearer " + token}; }
  bool refused() override {
    ++refusals;
    token = next_token.empty() ? token : next_token;
    return can_refresh;
  }

  std::string token = "t1";
  std::string next_token = {};
  bool can_refresh = true;
  int refusals = 0;

 private:
  const std::string server_ = "https://api:6443";
};

struct FakeClient {
  // Everything that is due, and what it causes.
  void run() { scheduler.run_ready(); }
  void advance(Duration time) { scheduler.run_for(time); }

  static std::string status(int code, std::string_view reason, std::string_view message = "no") {
    return nlohmann::json{{"kind", "Status"}, {"apiVersion", "v1"}, {"status", "Failure"},
                          {"code", code},     {"reason", reason},   {"message", message}}
        .dump();
  }

  FakeClock clock;
  io::SimScheduler scheduler{clock, 1};
  io::SimLoop loop{scheduler};
  SeededRandom random{1};
  FakeTransport transport;
  FakeAccess access;
  Client client{{loop, transport, access}};
};

}  // namespace steeple::kube
