// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/static_manifests.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/hcl/parse.h"
#include "lib/io/directory.h"
#include "lib/io/on_worker.h"
#include "lib/kube/json.h"
#include "lib/kube/yaml.h"

namespace steeple::controller {

using nlohmann::json;

namespace {

// The objects of all files by kind and name; an error names the file.
struct Objects {
  std::map<std::string, json> entries;
  std::map<std::string, json> domains;
};

Result<Objects> parse_all(const ManifestTexts& texts) {
  Objects out;
  for (const auto& [file, text] : texts) {
    Result<std::vector<json>> documents = kube::parse_yaml_documents(text);
    if (!documents.ok()) {
      return std::move(documents.error()).during(fmt::format("could not decode file ({})", file));
    }
    for (json& object : *documents) {
      if (!object.is_object() || kube::view_at(object, {"apiVersion"}) != kApiVersion) {
        continue;
      }
      std::string_view kind = kube::view_at(object, {"kind"});
      auto* to = kind == "ClusterStaticEntry"            ? &out.entries
                 : kind == "ClusterFederatedTrustDomain" ? &out.domains
                                                         : nullptr;
      if (to == nullptr) {
        continue;
      }
      std::string name = kube::string_at(object, {"metadata", "name"});
      if (name.empty()) {
        name = file;
        object["metadata"]["name"] = name;
      }
      if (!to->emplace(name, std::move(object)).second) {
        return invalid_argument(fmt::format("{} {} stands in two files", kind, name));
      }
    }
  }
  return out;
}

}  // namespace

Result<ManifestTexts> read_manifests(const std::string& folder, bool expand,
                                     const Environment& environment) {
  ManifestTexts out;
  std::error_code error;
  std::filesystem::directory_iterator it(folder, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    std::string name = it->path().filename().string();
    if (!name.ends_with(".yaml")) {
      continue;
    }
    if (out.size() == kManifestFilesMax) {
      return resource_exhausted(
          fmt::format("more than {} files in \"{}\"", kManifestFilesMax, folder));
    }
    std::string text = TRY(io::read_file(it->path().string(), kManifestBytesMax));
    out[name] = expand ? hcl::expand_env(text, environment) : std::move(text);
  }
  if (error) {
    return errno_error(error.value(), fmt::format("read folder \"{}\"", folder));
  }
  return out;
}

StaticManifests::StaticManifests(Deps deps, Options options, Hooks hooks)
    : deps_(std::move(deps)),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      timer_(deps_.loop) {}

void StaticManifests::read() {
  io::on_worker(
      deps_.workers, deps_.loop, alive_,
      [folder = options_.folder, expand = options_.expand_env, environment = options_.environment] {
        return read_manifests(folder, expand, environment);
      },
      [this](Result<ManifestTexts> texts) { apply(std::move(texts)); });
}

void StaticManifests::apply(Result<ManifestTexts> texts) {
  timer_.start(options_.interval, [this] { read(); });
  if (texts.ok() && complete_ && *texts == known_) {
    return;
  }
  Result<Objects> objects = texts.ok() ? parse_all(*texts) : Result<Objects>(texts.error());
  if (!objects.ok()) {
    if (std::exchange(trouble_, objects.error().message) != objects.error().message) {
      LOG_ERROR(deps_.log, "Failed to read static manifests", {"error", objects.error()});
    }
    return;
  }
  trouble_.clear();
  known_ = std::move(*texts);
  std::set<std::string> entries, domains;
  for (const auto& [name, object] : objects->entries) {
    entries.insert(name);
    hooks_.put_entry(parse_cluster_static_entry(object));
  }
  for (const auto& [name, object] : objects->domains) {
    domains.insert(name);
    hooks_.put_domain(parse_cluster_federated_trust_domain(object));
  }
  for (const std::string& name : std::exchange(entries_, entries)) {
    if (!entries.contains(name)) {
      hooks_.remove_entry(name);
    }
  }
  for (const std::string& name : std::exchange(domains_, domains)) {
    if (!domains.contains(name)) {
      hooks_.remove_domain(name);
    }
  }
  if (!std::exchange(complete_, true)) {
    hooks_.complete();
  }
}

}  // namespace steeple::controller
