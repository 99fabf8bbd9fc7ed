// SPDX-License-Identifier: Apache-2.0

// The server's RPCs that an agent uses, typed and checked: what comes back is an Entry, a bundle or
// an error, never a message. Each call gives a handle; dropping it cancels. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/cache/entry.h"
#include "agent/nodeattestor/node_identity.h"
#include "lib/base/result.h"
#include "lib/jose/bundle.h"
#include "lib/rpc/client.h"
#include "lib/telemetry/log.h"

namespace spire::api::types {
class Bundle;
class Entry;
class EntryMask;
}  // namespace spire::api::types

namespace steeple::agent {

inline constexpr auto kServerCallTimeout = std::chrono::seconds(30);

// Surface 5.8: the fields an agent asks for.
spire::api::types::EntryMask entry_output_mask();
// kInvalidArgument for an entry that no agent can use.
Result<EntryPtr> entry_from_proto(const spire::api::types::Entry& entry);
Result<jose::Bundle> bundle_from_proto(const spire::api::types::Bundle& bundle);

struct NewSvidRequest {
  std::string entry_id;
  Bytes csr;
};
struct NewSvidResult {
  Result<std::vector<Bytes>> chain;  // DER, leaf first
};
struct NewJwtSvid {
  spiffe::SpiffeId id;
  std::string token;
  WallTime issued_at;
  WallTime expires_at;
};

class ServerApi {
 public:
  using Handle = std::unique_ptr<rpc::ClientCall>;
  template <class T>
  using Reply = std::move_only_function<void(Result<T>)>;

  // Calls are made on the identity's channel; it must outlive this. A call that is denied because
  // it was made with an SVID that was replaced meanwhile ends with kUnavailable.
  explicit ServerApi(NodeIdentity& identity) : identity_(identity) {}

  [[nodiscard]] Handle get_bundle(Reply<jose::Bundle> reply);
  [[nodiscard]] Handle get_federated_bundle(const spiffe::TrustDomain& domain,
                                            Reply<jose::Bundle> reply);
  [[nodiscard]] Handle get_authorized_entries(Reply<std::vector<EntryPtr>> reply, Logger log);
  // One result per request, in order.
  [[nodiscard]] Handle batch_new_x509_svid(const std::vector<NewSvidRequest>& requests,
                                           Reply<std::vector<NewSvidResult>> reply);
  [[nodiscard]] Handle new_jwt_svid(const std::string& entry_id,
                                    const std::vector<std::string>& audience, Duration timeout,
                                    Reply<NewJwtSvid> reply);
  [[nodiscard]] Handle post_status(const std::string& version, Reply<void> reply);

  [[nodiscard]] Handle stream(std::string method, rpc::CallOptions options, rpc::StreamReply reply);

 private:
  Handle unary(std::string method, Bytes request, rpc::CallOptions options, rpc::UnaryReply reply);

  NodeIdentity& identity_;
};

}  // namespace steeple::agent
