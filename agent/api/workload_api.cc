// SPDX-License-Identifier: Apache-2.0

#include "agent/api/workload_api.h"

#include "agent/api/workload_session.h"

namespace steeple::agent {
namespace {

constexpr std::string_view kService = "/SpiffeWorkloadAPI/";
constexpr std::string_view kSecurityHeader = "workload.spiffe.io";

}  // namespace

class WorkloadApi::Core {
 public:
  Core(Options options, Deps deps) {
    RateLimits limits = options.rate_limits;
    Clock& clock = deps.loop.clock();
    tell_limit(deps.log, "FetchX509SVID", limits.fetch_x509_svid);
    tell_limit(deps.log, "FetchJWTSVID", limits.fetch_jwt_svid);
    tell_limit(deps.log, "FetchX509Bundles", limits.fetch_x509_bundles);
    tell_limit(deps.log, "FetchJWTBundles", limits.fetch_jwt_bundles);
    context_ = std::make_shared<WorkloadContext>(
        WorkloadContext{.options = std::move(options),
                        .deps = std::move(deps),
                        .x509_svid = RateLimit(limits.fetch_x509_svid, clock),
                        .jwt_svid = RateLimit(limits.fetch_jwt_svid, clock),
                        .x509_bundles = RateLimit(limits.fetch_x509_bundles, clock),
                        .jwt_bundles = RateLimit(limits.fetch_jwt_bundles, clock)});
  }

  void attest_streams_again() {
    auto streams = context_->streams;  // an attestation may end one
    for (const auto& [number, stream] : streams) {
      if (auto session = stream.lock()) {
        session->attest_again();
      }
    }
  }

  // The unary methods are streams of one message here: their answers may come later.
  void add(rpc::Server& server, std::string_view name, WorkloadMethod method) {
    server.stream(std::string(kService) + std::string(name),
                  [context = context_, method](std::shared_ptr<rpc::ServerStream> stream) {
                    std::make_shared<WorkloadSession>(context, method, std::move(stream))->begin();
                  });
  }

 private:
  static void tell_limit(const Logger& log, std::string_view method, int limit) {
    if (limit > 0) {
      LOG_INFO(log, "Workload API/SDS rate limiting enabled", {"limit", limit},
               {"method", std::string(kService) + std::string(method)});
    }
  }

  std::shared_ptr<WorkloadContext> context_;
};

WorkloadApi::WorkloadApi(Options options, Deps deps)
    : core_(std::make_shared<Core>(std::move(options), std::move(deps))) {}

WorkloadApi::~WorkloadApi() = default;

void WorkloadApi::attest_streams_again() { core_->attest_streams_again(); }

void WorkloadApi::add_to(rpc::Server& server) {
  core_->add(server, "FetchX509SVID", WorkloadMethod::kFetchX509Svid);
  core_->add(server, "FetchX509Bundles", WorkloadMethod::kFetchX509Bundles);
  core_->add(server, "FetchJWTSVID", WorkloadMethod::kFetchJwtSvid);
  core_->add(server, "FetchJWTBundles", WorkloadMethod::kFetchJwtBundles);
  core_->add(server, "ValidateJWTSVID", WorkloadMethod::kValidateJwtSvid);
  auto refuse = [&server](std::string_view name, const char* text) {
    server.stream(std::string(kService) + std::string(name),
                  [text](const std::shared_ptr<rpc::ServerStream>& stream) {
                    stream->finish(unimplemented(text));
                  });
  };
  refuse("FetchWITSVID", "fetching WIT-SVIDs is not implemented");
  refuse("FetchWITBundles", "fetching WIT bundles is not implemented");
  server.describe(::X509SVIDRequest::descriptor()->file()->service(0));
}

Result<void> WorkloadApi::authorize(const rpc::CallContext& call) {
  if (!call.method.starts_with(kService)) {
    return {};
  }
  std::size_t count = 0;
  bool right = false;
  for (const auto& [name, value] : call.metadata) {
    if (name == kSecurityHeader) {
      ++count;
      right = value == "true";
    }
  }
  if (count != 1 || !right) {
    return invalid_argument("security header missing from request");
  }
  return {};
}

}  // namespace steeple::agent
