// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/metered_keys.h"

namespace steeple {
namespace {

struct Names {
  const char* generate;
  const char* get;
  const char* get_all;
  const char* sign;  // null: signatures are not counted
};
constexpr Names kServerNames = {
    "server_key_manager.generate_key", "server_key_manager.get_public_key",
    "server_key_manager.get_public_keys", "server_key_manager.sign_data"};
constexpr Names kAgentNames = {"agent_key_manager.generate_key", "agent_key_manager.get_key",
                               "agent_key_manager.get_keys", nullptr};

class MeteredSigner final : public crypto::Signer {
 public:
  MeteredSigner(keymanager::SignerPtr signer, const char* name, Metrics& metrics, Clock& clock)
      : signer_(std::move(signer)), name_(name), metrics_(metrics), clock_(clock) {}

  crypto::KeyType key_type() const override { return signer_->key_type(); }
  const crypto::PublicKey& public_key() const override { return signer_->public_key(); }
  Result<Bytes> sign(crypto::SignatureAlgorithm algorithm, ByteView message) const override {
    CallCounter counter(metrics_, clock_, name_);
    auto signature = signer_->sign(algorithm, message);
    counter.done(signature);
    return signature;
  }

 private:
  keymanager::SignerPtr signer_;
  const char* name_;
  Metrics& metrics_;
  Clock& clock_;
};

class MeteredKeys final : public keymanager::KeyManager {
 public:
  MeteredKeys(std::shared_ptr<KeyManager> keys, const Names& names, Metrics& metrics, Clock& clock)
      : keys_(std::move(keys)), names_(names), metrics_(metrics), clock_(clock) {}

  Result<keymanager::SignerPtr> generate_key(const std::string& id, crypto::KeyType type) override {
    CallCounter counter(metrics_, clock_, names_.generate);
    auto key = keys_->generate_key(id, type);
    counter.done(key);
    return metered(std::move(key));
  }
  Result<keymanager::SignerPtr> get_key(const std::string& id) override {
    CallCounter counter(metrics_, clock_, names_.get);
    auto key = keys_->get_key(id);
    counter.done(key);
    return metered(std::move(key));
  }
  Result<std::vector<keymanager::Key>> get_keys() override {
    CallCounter counter(metrics_, clock_, names_.get_all);
    auto keys = keys_->get_keys();
    counter.done(keys);
    if (keys.ok()) {
      for (keymanager::Key& key : *keys) {
        key.signer = metered(std::move(key.signer));
      }
    }
    return keys;
  }
  Result<std::shared_ptr<const crypto::PrivateKey>> private_key(const std::string& id) override {
    CallCounter counter(metrics_, clock_, names_.get);
    auto key = keys_->private_key(id);
    counter.done(key);
    return key;
  }

 private:
  keymanager::SignerPtr metered(keymanager::SignerPtr signer) const {
    if (names_.sign == nullptr) {
      return signer;
    }
    return std::make_shared<MeteredSigner>(std::move(signer), names_.sign, metrics_, clock_);
  }
  Result<keymanager::SignerPtr> metered(Result<keymanager::SignerPtr> signer) const {
    if (!signer.ok()) {
      return signer;
    }
    return metered(std::move(*signer));
  }

  std::shared_ptr<KeyManager> keys_;
  const Names& names_;
  Metrics& metrics_;
  Clock& clock_;
};

std::shared_ptr<keymanager::KeyManager> with(std::shared_ptr<keymanager::KeyManager> keys,
                                             const Names& names, Metrics& metrics, Clock& clock) {
  if (!metrics.enabled()) {
    return keys;
  }
  return std::make_shared<MeteredKeys>(std::move(keys), names, metrics, clock);
}

}  // namespace

std::shared_ptr<keymanager::KeyManager> with_server_metrics(
    std::shared_ptr<keymanager::KeyManager> keys, Metrics& metrics, Clock& clock) {
  return with(std::move(keys), kServerNames, metrics, clock);
}

std::shared_ptr<keymanager::KeyManager> with_agent_metrics(
    std::shared_ptr<keymanager::KeyManager> keys, Metrics& metrics, Clock& clock) {
  return with(std::move(keys), kAgentNames, metrics, clock);
}

}  // namespace steeple
