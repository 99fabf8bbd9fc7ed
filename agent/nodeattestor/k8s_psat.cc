// SPDX-License-Identifier: Apache-2.0

// The agent's half of k8s_psat: the payload is the projected service account token that the kubelet
// keeps fresh in a file, with the name of the cluster. The server asks nothing back.

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "agent/nodeattestor/node_attestor.h"
#include "lib/hcl/schema.h"
#include "lib/io/directory.h"

namespace steeple::agent {
namespace {

constexpr std::size_t kTokenBytesMax = 64 * 1024;

struct PsatConfig {
  std::string cluster;
  std::string token_path = "/var/run/secrets/tokens/spire-agent";
};

const hcl::Schema<PsatConfig>& schema() {
  static const auto schema =
      hcl::Schema<PsatConfig>("k8s_psat", "Proof by a projected service account token.")
          .key("cluster", &PsatConfig::cluster, "name of the cluster, as the server knows it")
          .key("token_path", &PsatConfig::token_path, "file of the token")
          .allow_unknown();
  return schema;
}

class PsatProof final : public Proof {
 public:
  PsatProof(std::string cluster, ByteView token) : cluster_(std::move(cluster)), token_(token) {}
  Result<Bytes> payload() override {
    nlohmann::json out = {{"cluster", cluster_}, {"token", std::string(token_.reveal())}};
    return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  Result<Bytes> answer(ByteView) override { return internal("server issued unexpected challenge"); }

 private:
  std::string cluster_;
  SecretBytes token_;
};

class PsatAttestor final : public NodeAttestor {
 public:
  explicit PsatAttestor(PsatConfig config) : config_(std::move(config)) {}
  const std::string& name() const override { return name_; }
  Result<std::unique_ptr<Proof>> begin() override {
    std::string doing = fmt::format("unable to load token from {}", config_.token_path);
    Bytes token = TRY(io::read_file(config_.token_path, kTokenBytesMax).during(doing));
    auto proof = std::make_unique<PsatProof>(config_.cluster, token);
    bool empty = token.empty();
    wipe(token);
    if (empty) {
      return invalid_argument(fmt::format("{}: \"{}\" is empty", doing, config_.token_path));
    }
    return std::unique_ptr<Proof>(std::move(proof));
  }

 private:
  std::string name_ = "k8s_psat";
  PsatConfig config_;
};

}  // namespace

Result<std::unique_ptr<NodeAttestor>> k8s_psat_attestor(const hcl::Value& plugin_data) {
  PsatConfig config = TRY(schema().decode(plugin_data).during("unable to decode configuration"));
  if (config.cluster.empty()) {
    return invalid_argument("missing required cluster block");
  }
  if (config.token_path.empty()) {
    config.token_path = PsatConfig().token_path;
  }
  return std::unique_ptr<NodeAttestor>(std::make_unique<PsatAttestor>(std::move(config)));
}

}  // namespace steeple::agent
