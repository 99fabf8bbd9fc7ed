// SPDX-License-Identifier: Apache-2.0

// The client for code on workers that just wants the answer (node attestation, notifiers). Each
// call hops to the client's loop and waits there and back, within the deadline. Any thread but the
// loop; the loop must run, and must outlive waiting calls.

#pragma once

#include <nlohmann/json_fwd.hpp>

#include "lib/kube/client.h"
#include "lib/kube/token_review.h"

namespace steeple::kube {

class BlockingClient {
 public:
  // The deadline bounds the wait, over and above the client's own timeout.
  explicit BlockingClient(Client& client, Duration deadline = std::chrono::seconds(60));

  Result<ObjectPtr> get(const Target& target);
  Result<ObjectPtr> create(const Target& target, const nlohmann::json& object,
                           const WriteOptions& options = {});
  Result<ObjectPtr> update(const Target& target, const nlohmann::json& object,
                           const WriteOptions& options = {});
  Result<ObjectPtr> patch(const Target& target, const nlohmann::json& patch,
                          const PatchOptions& options);
  Result<ObjectPtr> remove(const Target& target, const DeleteOptions& options = {});
  // `on_item` runs on the loop, perhaps even after this returned with a missed deadline: it owns
  // what it touches. `on_restart`: forget what came so far. Gives the resourceVersion.
  Result<std::string> list(const Target& collection, const ListOptions& options,
                           std::function<void(const nlohmann::json&)> on_item,
                           std::function<void()> on_restart);
  Result<TokenReview> review_token(const std::string& token,
                                   const std::vector<std::string>& audiences);

 private:
  Client& client_;
  const Duration deadline_;
};

}  // namespace steeple::kube
