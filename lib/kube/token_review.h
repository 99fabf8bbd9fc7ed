// SPDX-License-Identifier: Apache-2.0

// TokenReview (authentication.k8s.io/v1): asks the API server whose token this is. On the loop.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/kube/client.h"

namespace steeple::kube {

struct TokenReview {
  bool authenticated = false;
  std::string error;  // the server's reason when not authenticated; may be empty
  std::string username;
  std::string uid;
  std::vector<std::string> groups;
  // "authentication.kubernetes.io/pod-name", "/pod-uid", "/node-name", ...
  std::map<std::string, std::vector<std::string>, std::less<>> extra;
  // Those of the asked audiences that the token is for. Empty although some were asked: the server
  // does not know audiences, and the token must not be trusted for them.
  std::vector<std::string> audiences;
};

// `audiences` empty: the API server's own. The token never appears in an error.
[[nodiscard]] CallPtr review_token(Client& client, const std::string& token,
                                   const std::vector<std::string>& audiences,
                                   std::move_only_function<void(Result<TokenReview>)> handler);

}  // namespace steeple::kube
