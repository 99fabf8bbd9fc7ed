// SPDX-License-Identifier: Apache-2.0

// Calls of the SPIRE server over its admin socket: one place for the deadline, the size limit and
// the names of methods. On the channel's loop.

#pragma once

#include <memory>
#include <string>
#include <utility>

#include "lib/base/clock.h"
#include "lib/rpc/typed.h"

namespace steeple::controller {

namespace method {
inline constexpr const char* kCountEntries = "/spire.api.server.entry.v1.Entry/CountEntries";
inline constexpr const char* kListEntries = "/spire.api.server.entry.v1.Entry/ListEntries";
inline constexpr const char* kCreateEntries = "/spire.api.server.entry.v1.Entry/BatchCreateEntry";
inline constexpr const char* kUpdateEntries = "/spire.api.server.entry.v1.Entry/BatchUpdateEntry";
inline constexpr const char* kDeleteEntries = "/spire.api.server.entry.v1.Entry/BatchDeleteEntry";
inline constexpr const char* kGetBundle = "/spire.api.server.bundle.v1.Bundle/GetBundle";
inline constexpr const char* kListFederatedBundles =
    "/spire.api.server.bundle.v1.Bundle/ListFederatedBundles";
inline constexpr const char* kMintX509Svid = "/spire.api.server.svid.v1.SVID/MintX509SVID";
inline constexpr const char* kListRelationships =
    "/spire.api.server.trustdomain.v1.TrustDomain/ListFederationRelationships";
inline constexpr const char* kCreateRelationships =
    "/spire.api.server.trustdomain.v1.TrustDomain/BatchCreateFederationRelationship";
inline constexpr const char* kUpdateRelationships =
    "/spire.api.server.trustdomain.v1.TrustDomain/BatchUpdateFederationRelationship";
inline constexpr const char* kDeleteRelationships =
    "/spire.api.server.trustdomain.v1.TrustDomain/BatchDeleteFederationRelationship";
}  // namespace method

class SpireApi {
 public:
  using Handle = std::unique_ptr<rpc::ClientCall>;

  struct Options {
    std::size_t message_bytes_max = limits::kMessageBytesMax;
    Duration timeout = std::chrono::seconds(60);
  };

  SpireApi(rpc::Channel& channel, Options options) : channel_(channel), options_(options) {}

  // reply: void(Result<Response>), later, on the loop. Destroying the handle cancels.
  template <class Response, class Request, class Reply>
  [[nodiscard]] Handle call(const char* name, const Request& request, Reply reply) {
    rpc::CallOptions options;
    options.timeout = options_.timeout;
    options.message_bytes_max = options_.message_bytes_max;
    return rpc::unary_call<Response>(channel_, name, request, std::move(options), std::move(reply));
  }

 private:
  rpc::Channel& channel_;
  const Options options_;
};

}  // namespace steeple::controller
