// SPDX-License-Identifier: Apache-2.0

#include "oidc/jwks_source/jwks_source.h"

namespace steeple::oidc {

void NewestKeys::put(std::vector<jose::Jwk> keys) {
  std::string text = jose::encode_jwks(keys, jose::JsonStyle::kCompact);
  if (newest_ && text == text_) {
    return;
  }
  newest_ = std::make_shared<const KeySet>(KeySet{std::move(keys), clock_.now()});
  text_ = std::move(text);
}

}  // namespace steeple::oidc
