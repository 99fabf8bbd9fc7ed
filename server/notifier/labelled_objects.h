// SPDX-License-Identifier: Apache-2.0

// The webhook configurations or APIServices of a cluster that carry a label, kept with the bundle
// as their caBundle. On the loop.

#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lib/kube/reflector.h"
#include "server/bundlepublisher/catalog.h"

namespace steeple::server {

inline constexpr std::size_t kLabelledObjectsMax = 1000;

class LabelledObjects final : private kube::ReflectorSink {
 public:
  // `label`: those with the value "true". The client lives as long as this.
  LabelledObjects(std::shared_ptr<kube::Client> client, const kube::Resource& resource,
                  const std::string& label, const BundleTargetDeps& deps);
  ~LabelledObjects() override;
  LabelledObjects(const LabelledObjects&) = delete;
  LabelledObjects& operator=(const LabelledObjects&) = delete;

  // The bundle is another one now.
  void check_all();

 private:
  struct Object {
    std::shared_ptr<const nlohmann::json> seen;
    kube::CallPtr call;  // of a patch under way
  };

  void list_began() override;
  void listed(const nlohmann::json& object) override;
  void list_ended() override {}
  void stored(const nlohmann::json& object) override { listed(object); }
  void removed(const nlohmann::json& object) override;
  void troubled(const Error& error, Duration wait) override;

  void check(const std::string& name, Object& object);
  void patched(const std::string& name, const Result<kube::ObjectPtr>& how);

  const std::shared_ptr<kube::Client> client_;
  const kube::Resource resource_;
  const BundleTargetDeps deps_;
  std::map<std::string, Object> objects_;
  kube::Backoff backoff_;
  io::Timer retry_;
  kube::Reflector reflector_;
};

// The patch that gives the object this caBundle, or null when it has it. For tests.
nlohmann::json ca_bundle_patch(const kube::Resource& resource, const nlohmann::json& object,
                               const std::string& pem);

}  // namespace steeple::server
