// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/namespace_labels.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "lib/kube/json.h"

namespace steeple::agent {

// What the watch keeps. Empty until the first list is complete.
class NamespaceLabels::Followed final : public kube::ReflectorSink {
 public:
  explicit Followed(Logger log) : log_(std::move(log)) {}

  void list_began() override { listing_.emplace(); }
  void listed(const nlohmann::json& object) override { put(*listing_, object); }
  void list_ended() override {
    labels_ = std::move(listing_);
    listing_.reset();
  }
  void stored(const nlohmann::json& object) override { put(*labels_, object); }
  void removed(const nlohmann::json& object) override {
    labels_->erase(kube::string_at(object, {"metadata", "name"}));
  }
  void troubled(const Error& error, Duration wait) override {
    LOG_WARN(log_, "Unable to follow namespaces", {"error", error},
             {"retry_interval", format_go_duration(wait)});
  }

  const kube::Labels* find(const std::string& name_space) const {
    if (!labels_) {
      return nullptr;
    }
    auto at = labels_->find(name_space);
    return at == labels_->end() ? nullptr : &at->second;
  }

 private:
  using Map = std::map<std::string, kube::Labels>;
  static void put(Map& to, const nlohmann::json& object) {
    to[kube::string_at(object, {"metadata", "name"})] =
        kube::string_map_at(object, {"metadata", "labels"});
  }

  Logger log_;
  std::optional<Map> labels_;
  std::optional<Map> listing_;
};

NamespaceLabels::NamespaceLabels(bool follow, Deps deps)
    : follow_(follow), deps_(std::move(deps)) {}

NamespaceLabels::~NamespaceLabels() = default;

Result<void> NamespaceLabels::open() {
  if (client_) {
    return {};
  }
  access_ = kube::make_access(TRY(kube::find_access({}, deps_.environment)), deps_.loop.clock());
  client_ =
      std::make_unique<kube::Client>(kube::Client::Deps{deps_.loop, deps_.transport, *access_},
                                     kube::ClientOptions{.user_agent = "spire-agent"});
  if (follow_) {
    followed_ = std::make_unique<Followed>(deps_.log);
    reflector_ = std::make_unique<kube::Reflector>(
        kube::Reflector::Deps{*client_, deps_.random}, kube::Target{kube::kNamespaces},
        kube::ReflectorOptions{.metadata_only = true}, *followed_);
    reflector_->start();
  }
  return {};
}

void NamespaceLabels::get(const std::string& name_space, Handler handler) {
  if (auto opened = open().during("unable to set up kube client"); !opened.ok()) {
    handler(std::move(opened).error());
    return;
  }
  if (const kube::Labels* labels = followed_ ? followed_->find(name_space) : nullptr) {
    handler(*labels);
    return;
  }
  Flight& flight = flights_[name_space];
  flight.waiting.push_back(std::move(handler));
  if (!flight.call) {
    flight.call = client_->get(
        {kube::kNamespaces, "", name_space}, [this, name_space](Result<kube::ObjectPtr> object) {
          if (object.ok()) {
            landed(name_space, kube::string_map_at(**object, {"metadata", "labels"}));
          } else {
            landed(name_space,
                   kube::without_status(std::move(object).error())
                       .during(fmt::format("unable to get namespace \"{}\"", name_space)));
          }
        });
  }
}

void NamespaceLabels::landed(const std::string& name_space, Result<kube::Labels> labels) {
  auto flight = flights_.extract(name_space);
  for (Handler& handler : flight.mapped().waiting) {
    handler(labels);
  }
}

}  // namespace steeple::agent
