// SPDX-License-Identifier: Apache-2.0

// The join_token attestor: the payload is the token, and the server asks nothing back.

#include "agent/nodeattestor/node_attestor.h"

namespace steeple::agent {
namespace {

class JoinTokenProof final : public Proof {
 public:
  explicit JoinTokenProof(ByteView token) : token_(token) {}
  Result<Bytes> payload() override { return Bytes(token_.reveal()); }
  Result<Bytes> answer(ByteView) override { return internal("server issued unexpected challenge"); }

 private:
  SecretBytes token_;
};

class JoinTokenAttestor final : public NodeAttestor {
 public:
  explicit JoinTokenAttestor(SecretBytes token) : token_(std::move(token)) {}
  const std::string& name() const override { return name_; }
  Result<std::unique_ptr<Proof>> begin() override {
    if (token_.empty()) {
      return invalid_argument("join token was not provided");
    }
    return std::unique_ptr<Proof>(std::make_unique<JoinTokenProof>(token_.reveal()));
  }

 private:
  std::string name_ = "join_token";
  SecretBytes token_;
};

}  // namespace

std::unique_ptr<NodeAttestor> join_token_attestor(SecretBytes token) {
  return std::make_unique<JoinTokenAttestor>(std::move(token));
}

}  // namespace steeple::agent
