// SPDX-License-Identifier: Apache-2.0

#include "server/nodeattestor/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "lib/base/limits.h"
#include "lib/hcl/schema.h"
#include "lib/io/directory.h"
#include "server/nodeattestor/join_token.h"
#include "server/nodeattestor/k8s_psat.h"
#include "server/upstreamauthority/plugin_settings.h"
#include "server/upstreamauthority/unbuilt_plugins.h"

namespace steeple::server {

namespace {

constexpr std::string_view kDecoding = "unable to decode configuration";

struct Plugin {
  const hcl::Value& data;
  const spiffe::TrustDomain& trust_domain;
  const NodeAttestorDeps& deps;
};

struct Nothing {};

struct X509PopConfig {
  std::string mode;
  std::optional<std::string> spiffe_prefix;
  std::string ca_bundle_path;
  std::vector<std::string> ca_bundle_paths;
  std::string agent_path_template;
  std::optional<int> max_intermediates;
  std::optional<int> max_rsa_key_size;
  bool verify_client_ip = false;
};

const hcl::Schema<Nothing>& join_token_schema() {
  static const auto schema =
      hcl::Schema<Nothing>("NodeAttestor \"join_token\"", "One-time secrets; no settings.");
  return schema;
}

const hcl::Schema<X509PopConfig>& x509pop_schema() {
  static const auto schema =
      hcl::Schema<X509PopConfig>("NodeAttestor \"x509pop\"", "Agents that hold a certificate.")
          .key("mode", &X509PopConfig::mode,
               "external_pki: trust the CAs of ca_bundle_path(s); spiffe: trust our own bundle",
               {.default_text = "external_pki"})
          .key("spiffe_prefix", &X509PopConfig::spiffe_prefix,
               "mode spiffe: the path that the agent's SVID must begin with",
               {.default_text = "/spire-exchange/"})
          .key("ca_bundle_path", &X509PopConfig::ca_bundle_path, "PEM file of trusted CAs")
          .key("ca_bundle_paths", &X509PopConfig::ca_bundle_paths, "PEM files of trusted CAs")
          .key("agent_path_template", &X509PopConfig::agent_path_template,
               "template of the agent id's path after /spire/agent")
          .key("max_intermediates", &X509PopConfig::max_intermediates,
               "intermediate certificates that an agent may present", {.default_text = "4"})
          .key("max_rsa_key_size", &X509PopConfig::max_rsa_key_size,
               "bits of the largest RSA key in a chain", {.default_text = "8192"})
          .key("verify_client_ip", &X509PopConfig::verify_client_ip,
               "the agent's address must be an IP SAN of its certificate");
  return schema;
}

// All mistakes that need no file.
Result<X509PopOptions> x509pop_options(const X509PopConfig& config, Random& random) {
  std::vector<std::string> problems;
  const bool spiffe = config.mode == "spiffe";
  if (!spiffe && !config.mode.empty() && config.mode != "external_pki") {
    problems.emplace_back("mode can only be either spiffe or external_pki");
  }
  const bool one = !config.ca_bundle_path.empty();
  const bool many = !config.ca_bundle_paths.empty();
  if (spiffe && (one || many)) {
    problems.emplace_back("you can not use ca_bundle_path or ca_bundle_paths in spiffe mode");
  } else if (!spiffe && one && many) {
    problems.emplace_back(
        "only one of ca_bundle_path or ca_bundle_paths can be configured, not both");
  } else if (!spiffe && !one && !many) {
    problems.emplace_back("one of ca_bundle_path or ca_bundle_paths must be configured");
  }
  const X509PopMode mode = spiffe ? X509PopMode::kSpiffe : X509PopMode::kExternalPki;
  auto agent_path =
      AgentPathTemplate::parse(config.agent_path_template.empty() ? x509pop_default_agent_path(mode)
                                                                  : config.agent_path_template,
                               x509pop_template_data(), random);
  if (!agent_path.ok()) {
    problems.push_back(agent_path.error().message);
  }
  if (config.max_intermediates.value_or(1) <= 0) {
    problems.emplace_back("max_intermediates must be greater than 0");
  }
  if (config.max_rsa_key_size.value_or(1) <= 0) {
    problems.emplace_back("max_rsa_key_size must be greater than 0");
  }
  if (!problems.empty()) {
    return invalid_argument(fmt::format("{}", fmt::join(problems, "; ")));
  }
  X509PopOptions out{.agent_path = std::move(agent_path).take(), .mode = mode};
  if (config.spiffe_prefix) {
    out.spiffe_prefix = *config.spiffe_prefix;
    if (!out.spiffe_prefix.ends_with('/')) {
      out.spiffe_prefix += '/';
    }
  }
  out.intermediates_max = config.max_intermediates.value_or(out.intermediates_max);
  out.rsa_key_bits_max = config.max_rsa_key_size.value_or(out.rsa_key_bits_max);
  out.verify_client_ip = config.verify_client_ip;
  return out;
}

Result<x509::Authorities> load_bundle(const std::string& path) {
  const std::string doing = fmt::format("unable to load trust bundle \"{}\"", path);
  auto text = TRY(io::read_file(path, limits::kBundleBytesMax).during(doing));
  return x509::parse_pem_certificates(text).during(doing);
}

Result<void> check_join_token(const hcl::Value& data) {
  TRY(decode_settings(join_token_schema(), data, Logger(), kDecoding));
  return {};
}

Result<std::unique_ptr<NodeAttestor>> make_join_token(const Plugin& plugin) {
  TRY(decode_settings(join_token_schema(), plugin.data, plugin.deps.x509pop.log, kDecoding));
  return join_token_attestor(plugin.trust_domain, plugin.deps.datastore, plugin.deps.x509pop.clock);
}

Result<void> check_x509pop(const hcl::Value& data) {
  auto config = TRY(decode_settings(x509pop_schema(), data, Logger(), kDecoding));
  TRY(x509pop_options(config, system_random()));
  return {};
}

Result<std::unique_ptr<NodeAttestor>> make_x509pop(const Plugin& plugin) {
  auto config =
      TRY(decode_settings(x509pop_schema(), plugin.data, plugin.deps.x509pop.log, kDecoding));
  auto options = TRY(x509pop_options(config, plugin.deps.x509pop.random));
  if (!config.ca_bundle_path.empty()) {
    config.ca_bundle_paths = {config.ca_bundle_path};
  }
  for (const std::string& path : config.ca_bundle_paths) {
    auto certificates = TRY(load_bundle(path));
    options.roots.insert(options.roots.end(), certificates.begin(), certificates.end());
  }
  return x509pop_attestor(std::move(options), plugin.trust_domain, plugin.deps.x509pop);
}

Result<void> check_k8s_psat(const hcl::Value& data) {
  TRY(k8s_psat_clusters(data, Logger()));
  return {};
}

Result<std::unique_ptr<NodeAttestor>> make_k8s_psat(const Plugin& plugin) {
  if (plugin.deps.kube == nullptr) {
    return unimplemented("there is no Kubernetes client here");
  }
  return k8s_psat_attestor(TRY(k8s_psat_clusters(plugin.data, plugin.deps.x509pop.log)),
                           plugin.trust_domain, *plugin.deps.kube);
}

struct BuiltIn {
  std::string_view name;
  Result<void> (*check)(const hcl::Value& data);
  Result<std::unique_ptr<NodeAttestor>> (*make)(const Plugin& plugin);
};

constexpr std::array kBuiltIn = {
    BuiltIn{.name = kJoinTokenType, .check = check_join_token, .make = make_join_token},
    BuiltIn{.name = "k8s_psat", .check = check_k8s_psat, .make = make_k8s_psat},
    BuiltIn{.name = "x509pop", .check = check_x509pop, .make = make_x509pop},
};

Result<const BuiltIn*> find_built_in(const hcl::PluginConfig& plugin) {
  if (!plugin.external()) {
    for (const BuiltIn& built_in : kBuiltIn) {
      if (built_in.name == plugin.name) {
        return &built_in;
      }
    }
  }
  return unbuilt_plugin(plugin);
}

}  // namespace

Result<NodeAttestors> NodeAttestors::make(const std::vector<const hcl::PluginConfig*>& plugins,
                                          const spiffe::TrustDomain& trust_domain,
                                          const NodeAttestorDeps& deps) {
  NodeAttestors out;
  for (const hcl::PluginConfig* plugin : plugins) {
    const BuiltIn* built_in = TRY(find_built_in(*plugin));
    const hcl::Value data = TRY(hcl::load_plugin_data(*plugin));
    out.attestors_[plugin->name] =
        TRY(built_in->make({.data = data, .trust_domain = trust_domain, .deps = deps})
                .during(fmt::format("NodeAttestor \"{}\"", plugin->name)));
  }
  auto& join_token = out.attestors_[std::string(kJoinTokenType)];
  if (!join_token) {
    join_token = join_token_attestor(trust_domain, deps.datastore, deps.x509pop.clock);
  }
  return out;
}

const NodeAttestor* NodeAttestors::find(std::string_view type) const {
  auto at = attestors_.find(type);
  return at == attestors_.end() ? nullptr : at->second.get();
}

Result<void> check_node_attestor(const hcl::PluginConfig& plugin) {
  const BuiltIn* built_in = TRY(find_built_in(plugin));
  if (!plugin.data && !plugin.data_file.empty()) {
    return {};  // the file is read at start
  }
  return built_in->check(plugin.data ? *plugin.data : hcl::make_object())
      .during(fmt::format("NodeAttestor \"{}\"", plugin.name));
}

}  // namespace steeple::server
