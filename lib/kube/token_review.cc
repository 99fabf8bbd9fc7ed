// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/token_review.h"

#include <nlohmann/json.hpp>

namespace steeple::kube {
namespace {

using nlohmann::json;

Result<std::vector<std::string>> strings(const json* list, std::string_view field) {
  std::vector<std::string> out;
  if (list == nullptr || list->is_null()) {
    return out;
  }
  bool good = list->is_array();
  for (const json& element : good ? *list : json::array()) {
    good = good && element.is_string();
    if (good) {
      out.push_back(element.get<std::string>());
    }
  }
  if (!good) {
    return internal("token review: " + std::string(field) + " is no list of strings");
  }
  return out;
}

Result<TokenReview> read(const json& answer) {
  const json* status = find(answer, {"status"});
  if (status == nullptr || !status->is_object()) {
    return internal("token review: the answer has no status");
  }
  TokenReview out;
  out.authenticated = bool_at(*status, {"authenticated"});
  out.error = string_at(*status, {"error"});
  out.username = string_at(*status, {"user", "username"});
  out.uid = string_at(*status, {"user", "uid"});
  out.groups = TRY(strings(find(*status, {"user", "groups"}), "user.groups"));
  out.audiences = TRY(strings(find(*status, {"audiences"}), "audiences"));
  if (const json* extra = find(*status, {"user", "extra"});
      extra != nullptr && extra->is_object()) {
    for (const auto& [name, values] : extra->items()) {
      out.extra.emplace(name, TRY(strings(&values, "user.extra")));
    }
  }
  return out;
}

}  // namespace

CallPtr review_token(Client& client, const std::string& token,
                     const std::vector<std::string>& audiences,
                     std::move_only_function<void(Result<TokenReview>)> handler) {
  json review = {{"apiVersion", kTokenReviews.api_version()},
                 {"kind", kTokenReviews.kind},
                 {"spec", {{"token", token}}}};
  if (!audiences.empty()) {
    review["spec"]["audiences"] = audiences;
  }
  return client.create({kTokenReviews}, review, {},
                       [handler = std::move(handler)](Result<ObjectPtr> answer) mutable {
                         if (answer.ok()) {
                           handler(read(**answer));
                         } else {
                           handler(std::move(answer.error()));
                         }
                       });
}

}  // namespace steeple::kube
