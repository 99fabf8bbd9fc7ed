// SPDX-License-Identifier: Apache-2.0

// Fuzz target: requests of a workload, in a whole agent with a server in memory. The first byte
// chooses the method and whether the header is there, the rest is the request. Every call ends or
// is a stream that goes on; the agent never ends, and another workload is still served.

#include <google/protobuf/stubs/logging.h>

#include "agent/fake_world.h"
#include "lib/base/fuzz_seeds.h"

namespace steeple::agent {
namespace {

constexpr int kRunsPerWorld = 2000;
constexpr auto kDeadline = std::chrono::seconds(2);

struct Method {
  bool admin;
  const char* name;
};
constexpr std::array kMethods = {
    Method{false, "/SpiffeWorkloadAPI/FetchX509SVID"},
    Method{false, "/SpiffeWorkloadAPI/FetchX509Bundles"},
    Method{false, "/SpiffeWorkloadAPI/FetchJWTSVID"},
    Method{false, "/SpiffeWorkloadAPI/FetchJWTBundles"},
    Method{false, "/SpiffeWorkloadAPI/ValidateJWTSVID"},
    Method{false, "/SpiffeWorkloadAPI/FetchWITSVID"},
    Method{false, "/grpc.health.v1.Health/Check"},
    Method{false, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"},
    Method{true, "/spire.agent.debug.v1.Debug/GetInfo"},
    Method{true, "/spire.api.agent.logger.v1.Logger/SetLogLevel"},
    Method{false, "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"},
};

struct Node {
  World world;
  std::unique_ptr<Workload> hostile, hostile_admin, other;

  Node() {
    world.server.put_entry("e", "/web", {"uid:1"});
    world.start_agent();
    CHECK(world.until_serving());
    hostile = std::make_unique<Workload>(world, 10, 1);
    hostile_admin = std::make_unique<Workload>(world, 11, 0, World::kAdminSocket);
    other = std::make_unique<Workload>(world, 12, 1);
  }

  void run(std::uint8_t choice, Bytes request) {
    const Method& method = kMethods[(choice >> 1) % kMethods.size()];
    Workload& from = method.admin ? *hostile_admin : *hostile;
    rpc::CallOptions options;
    options.timeout = kDeadline;
    if (choice % 2 == 0) {
      options.metadata = {{"workload.spiffe.io", "true"}};
    }
    bool done = false;
    auto call = from.channel().stream(
        method.name, options,
        {.on_message = [](ByteView) {}, .on_done = [&](Result<void>) { done = true; }});
    call->send(std::move(request));
    call->close_send();
    CHECK(world.until([&] { return done; }, 2 * kDeadline));
    // No stream for this: each would be reset, and nghttp2 counts resets by the real clock.
    CHECK(other->jwt({"b"}).ok());
    CHECK(!world.ended);
  }
};

std::string input(std::string_view method, const std::string& request) {
  for (std::size_t i = 0; i < kMethods.size(); ++i) {
    if (std::string_view(kMethods[i].name).ends_with(method)) {
      return std::string(1, static_cast<char>(i * 2)) + request;
    }
  }
  return {};
}

}  // namespace
}  // namespace steeple::agent

std::vector<std::string> steeple::fuzz_seeds() {
  google::protobuf::SetLogHandler(nullptr);
  using agent::input;
  ::JWTSVIDRequest jwt;
  jwt.add_audience("a");
  jwt.set_spiffe_id("spiffe://example.org/web");
  ::ValidateJWTSVIDRequest validate;
  validate.set_audience("a");
  validate.set_svid(base64url_encode(R"({"alg":"ES256","kid":"k","typ":"JWT"})") + "." +
                    base64url_encode(R"({"sub":"spiffe://example.org/web","aud":["a"],"exp":9})") +
                    ".AAAA");
  return {input("FetchX509SVID", ""),
          input("FetchX509Bundles", ""),
          input("FetchJWTBundles", ""),
          input("FetchJWTSVID", jwt.SerializeAsString()),
          input("ValidateJWTSVID", validate.SerializeAsString()),
          input("Check", ""),
          input("ServerReflectionInfo", std::string("\x3a\0", 2)),
          input("SetLogLevel", "\x08\x03"),
          input("GetInfo", ""),
          "\1"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  // Never destroyed at the end: the statics that it uses go before it.
  static auto& node = *std::make_unique<std::unique_ptr<agent::Node>>().release();
  static int runs = 0;
  if (size == 0) {
    return 0;
  }
  if (runs++ % agent::kRunsPerWorld == 0) {
    node.reset();
    node = std::make_unique<agent::Node>();
  }
  node->run(data[0], Bytes(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
