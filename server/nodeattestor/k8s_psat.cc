// SPDX-License-Identifier: Apache-2.0

#include "server/nodeattestor/k8s_psat.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "lib/base/guarded.h"
#include "lib/hcl/schema.h"
#include "lib/kube/blocking_client.h"
#include "server/ca/profile.h"
#include "server/upstreamauthority/plugin_settings.h"

namespace steeple::server {

namespace {

constexpr std::string_view kName = "k8s_psat";
constexpr std::size_t kTokenBytesMax = std::size_t{64} << 10;
// What the loop may add to a request's own time.
constexpr auto kHopsMax = std::chrono::seconds(5);

// --- settings ------------------------------------------------------------------------------------

struct ClusterConfig {
  std::vector<std::string> service_account_allow_list;
  std::optional<std::vector<std::string>> audience;
  std::string kube_config_file;
  std::vector<std::string> allowed_node_label_keys;
  std::vector<std::string> allowed_pod_label_keys;
  bool use_pod_uid_for_agent_id = false;
};

struct PsatConfig {
  std::vector<std::pair<std::string, ClusterConfig>> clusters;
};

const hcl::Schema<ClusterConfig>& cluster_schema() {
  using C = ClusterConfig;
  static const auto schema =
      hcl::Schema<C>("k8s_psat cluster", "One cluster whose agents may attest.")
          .key("service_account_allow_list", &C::service_account_allow_list,
               "service accounts that agents may have, as \"namespace:name\"")
          .key("audience", &C::audience,
               "audiences that a token may be for; an empty list: the API server's own",
               {.default_text = "[\"spire-server\"]"})
          .key("kube_config_file", &C::kube_config_file,
               "kubeconfig of the cluster; empty: the one that the server runs in")
          .key("allowed_node_label_keys", &C::allowed_node_label_keys,
               "labels of the node that become selectors")
          .key("allowed_pod_label_keys", &C::allowed_pod_label_keys,
               "labels of the agent's pod that become selectors")
          .key("use_pod_uid_for_agent_id", &C::use_pod_uid_for_agent_id,
               "agent ids by the pod's UID instead of the node's");
  return schema;
}

const hcl::Schema<PsatConfig>& schema() {
  static const auto schema =
      hcl::Schema<PsatConfig>("NodeAttestor \"k8s_psat\"",
                              "Agents in Kubernetes, by their service account tokens.")
          .labelled("clusters", &PsatConfig::clusters, cluster_schema());
  return schema;
}

std::set<std::string, std::less<>> as_set(const std::vector<std::string>& list) {
  return {list.begin(), list.end()};
}

// --- what the token says -------------------------------------------------------------------------

Error prefixed(Error error) { return std::move(error).during("nodeattestor(k8s_psat)"); }

// "system:serviceaccount:<namespace>:<name>".
Result<std::pair<std::string, std::string>> names_of(const std::string& username) {
  if (username.empty()) {
    return internal("empty username");
  }
  std::vector<std::string> names;
  std::size_t begin = 0;
  for (std::size_t colon = 0; colon != std::string::npos; begin = colon + 1) {
    colon = username.find(':', begin);
    names.push_back(username.substr(begin, colon - begin));
  }
  if (names.size() != 4) {
    return internal("unexpected username format: " + username);
  }
  if (names[2].empty()) {
    return internal("missing namespace");
  }
  if (names[3].empty()) {
    return internal("missing service account name");
  }
  // A token of something that is no service account must not pass for one.
  if (names[0] != "system" || names[1] != "serviceaccount") {
    return internal("unexpected username format: " + username);
  }
  return std::pair(std::move(names[2]), std::move(names[3]));
}

// A claim of the pod that the token is bound to: exactly one value.
Result<std::string> bound_to(const kube::TokenReview& review, std::string_view claim,
                             std::string_view what, std::string_view noun) {
  auto at = review.extra.find(claim);
  if (at == review.extra.end()) {
    return internal(fmt::format("missing {}", what));
  }
  if (at->second.size() != 1) {
    return internal(fmt::format("expected 1 {} but got: {}", noun, at->second.size()));
  }
  if (at->second.front().empty()) {
    return internal(fmt::format("{} is empty", what));
  }
  return at->second.front();
}

// --- asking --------------------------------------------------------------------------------------

// While nobody answers, one asks and the others get its error.
class Circuit {
 public:
  // An error: do not ask now.
  Result<void> enter() {
    auto state = state_.lock();
    if (!state->broken) {
      return {};
    }
    if (std::exchange(state->probing, true)) {
      return *state->broken;
    }
    return {};
  }
  void leave(const Result<void>& answered) {
    auto state = state_.lock();
    state->probing = false;
    if (answered.ok()) {
      state->broken.reset();
    } else {
      state->broken = answered.error();
    }
  }

 private:
  struct State {
    std::optional<Error> broken;
    bool probing = false;
  };
  Guarded<State> state_;
};

// A refusal is an answer, too.
Result<void> answered(const Result<void>& how) {
  bool silent =
      !how.ok() && !kube::api_status(how.error()) &&
      (how.error().code == Code::kUnavailable || how.error().code == Code::kDeadlineExceeded);
  return silent ? how : Result<void>();
}

class Cluster {
 public:
  Cluster(PsatCluster settings, const kube::LazyClientDeps& kube)
      : settings_(std::move(settings)), client_(settings_.kubeconfig, kube) {}

  const PsatCluster& settings() const { return settings_; }

  Result<kube::TokenReview> review(const std::string& token) {
    kube::TokenReview review = TRY(ask<kube::TokenReview>([&](kube::BlockingClient& client) {
      return client.review_token(token, settings_.audience)
          .during("unable to query token review API");
    }));
    if (!review.error.empty()) {
      return internal("token review API response contains an error: " + review.error);
    }
    // An API server that knows no audiences vouches for none.
    if (review.authenticated && !settings_.audience.empty() &&
        std::ranges::none_of(settings_.audience, [&review](const std::string& wanted) {
          return std::ranges::find(review.audiences, wanted) != review.audiences.end();
        })) {
      return internal(
          fmt::format("token review API did not validate audience: wanted one of [{}] but got [{}]",
                      quoted(settings_.audience), quoted(review.audiences)));
    }
    return review;
  }
  Result<kube::ObjectPtr> pod(const std::string& name_space, const std::string& name) {
    return get({kube::kPods, name_space, name}, "unable to query pods API");
  }
  Result<kube::ObjectPtr> node(const std::string& name) {
    if (name.empty()) {
      return internal("empty node name");
    }
    return get({kube::kNodes, "", name}, "unable to query nodes API");
  }

 private:
  static std::string quoted(const std::vector<std::string>& words) {
    std::vector<std::string> out;
    out.reserve(words.size());
    for (const std::string& word : words) {
      out.push_back('"' + word + '"');
    }
    return fmt::format("{}", fmt::join(out, " "));
  }
  Result<kube::ObjectPtr> get(const kube::Target& target, std::string_view doing) {
    return ask<kube::ObjectPtr>(
        [&](kube::BlockingClient& client) { return client.get(target).during(doing); });
  }

  template <class T, class Ask>
  Result<T> ask(Ask question) {
    TRY(circuit_.enter());
    auto client = client_.get().during("unable to create client config");
    if (!client.ok()) {
      circuit_.leave({});
      return std::move(client).error().during("unable to get clientset");
    }
    kube::BlockingClient blocking(**client, kPsatRequestTimeout + kHopsMax);
    Result<T> out = question(blocking);
    circuit_.leave(answered(out.ok() ? Result<void>() : Result<void>(out.error())));
    return out;
  }

  const PsatCluster settings_;
  kube::LazyClient client_;
  Circuit circuit_;
};

using Clusters = std::map<std::string, std::unique_ptr<Cluster>, std::less<>>;

// --- attesting -----------------------------------------------------------------------------------

struct Payload {
  std::string cluster;
  std::string token;
};

Result<Payload> parse_payload(ByteView bytes) {
  if (bytes.empty()) {
    return invalid_argument("missing attestation payload");
  }
  auto object = kube::parse_object(bytes, kAttestationPayloadBytesMax);
  if (!object.ok()) {
    return invalid_argument("failed to unmarshal data payload: " + object.error().message);
  }
  for (const char* key : {"cluster", "token"}) {
    const nlohmann::json* member = kube::find(*object, {key});
    if (member != nullptr && !member->is_string() && !member->is_null()) {
      return invalid_argument(
          fmt::format("failed to unmarshal data payload: \"{}\" is no string", key));
    }
  }
  Payload out{kube::string_at(*object, {"cluster"}), kube::string_at(*object, {"token"})};
  if (out.cluster.empty()) {
    return invalid_argument("missing cluster in attestation data");
  }
  if (out.token.empty()) {
    return invalid_argument("missing token in attestation data");
  }
  if (out.token.size() > kTokenBytesMax) {
    return invalid_argument("token in attestation data is too long");
  }
  return out;
}

// The details of a refusal by the API server are for it and us, not for the agent's status.
Error failed(std::string_view doing, const std::string& cluster, const Error& why) {
  return internal(fmt::format("{} for cluster \"{}\": {}", doing, cluster, why.message));
}

template <class T>
Result<T> or_failed(Result<T> result, std::string_view doing, const std::string& cluster) {
  if (!result.ok()) {
    return failed(doing, cluster, result.error());
  }
  return result;
}

class PsatAttestation final : public Attestation {
 public:
  PsatAttestation(const Clusters& clusters, const spiffe::TrustDomain& trust_domain)
      : clusters_(clusters), trust_domain_(trust_domain) {}

  Result<AttestationOutcome> start(ByteView payload) override {
    auto attributes = attest(payload);
    if (!attributes.ok()) {
      return prefixed(std::move(attributes).error());
    }
    return AttestationOutcome(std::move(attributes).take());
  }
  Result<AttestationOutcome> challenge_response(ByteView) override {
    return prefixed(invalid_argument("k8s_psat has no challenge"));
  }

 private:
  struct Bearer {
    std::string name_space, service_account, pod_name, pod_uid;
  };

  Result<AgentAttributes> attest(ByteView bytes) {
    Payload payload = TRY(parse_payload(bytes));
    auto at = clusters_.find(payload.cluster);
    if (at == clusters_.end()) {
      return invalid_argument(fmt::format("not configured for cluster \"{}\"", payload.cluster));
    }
    Cluster& cluster = *at->second;
    Bearer bearer = TRY(identify(cluster, payload));
    kube::ObjectPtr pod = TRY(or_failed(cluster.pod(bearer.name_space, bearer.pod_name),
                                        "failed to get pod from k8s API server", payload.cluster));
    // Another pod may have the name by now.
    if (kube::string_at(*pod, {"metadata", "uid"}) != bearer.pod_uid) {
      return permission_denied(fmt::format(
          "pod UID mismatch for pod \"{}\" in cluster \"{}\": token bound to pod UID \"{}\"",
          bearer.pod_name, payload.cluster, bearer.pod_uid));
    }
    const std::string node_name = kube::string_at(*pod, {"spec", "nodeName"});
    kube::ObjectPtr node = TRY(or_failed(
        cluster.node(node_name), "failed to get node from k8s API server", payload.cluster));
    const std::string node_uid = kube::string_at(*node, {"metadata", "uid"});
    if (node_uid.empty()) {
      return internal(fmt::format("node UID is empty for cluster \"{}\"", payload.cluster));
    }
    const std::string suffix =
        cluster.settings().use_pod_uid_for_agent_id ? "pod/" + bearer.pod_uid : node_uid;
    auto id = agent_id(trust_domain_, fmt::format("/{}/{}/{}", kName, payload.cluster, suffix));
    if (!id.ok()) {
      return internal("failed to make spiffe id: " + id.error().message);
    }
    return AgentAttributes{.agent_id = std::move(id).take(),
                           .selectors = selectors(payload.cluster, cluster, bearer, *pod, *node),
                           .can_reattest = true};
  }

  static Result<Bearer> identify(Cluster& cluster, const Payload& payload) {
    const std::string& name = payload.cluster;
    kube::TokenReview review = TRY(or_failed(
        cluster.review(payload.token), "unable to validate token with TokenReview API", name));
    if (!review.authenticated) {
      return permission_denied(fmt::format(
          "token not authenticated according to TokenReview API for cluster \"{}\"", name));
    }
    Bearer out;
    std::tie(out.name_space, out.service_account) = TRY(or_failed(
        names_of(review.username), "failed to parse username from token review status", name));
    const std::string account = out.name_space + ':' + out.service_account;
    if (!cluster.settings().service_accounts.contains(account)) {
      return permission_denied(fmt::format(
          "\"{}\" is not an allowed service account for cluster \"{}\"", account, name));
    }
    out.pod_name =
        TRY(or_failed(bound_to(review, "authentication.kubernetes.io/pod-name", "pod name", "name"),
                      "failed to get pod name from token review status", name));
    out.pod_uid =
        TRY(or_failed(bound_to(review, "authentication.kubernetes.io/pod-uid", "pod UID", "UID"),
                      "failed to get pod UID from token review status", name));
    return out;
  }

  static std::vector<Selector> selectors(const std::string& name, const Cluster& cluster,
                                         const Bearer& bearer, const nlohmann::json& pod,
                                         const nlohmann::json& node) {
    std::vector<Selector> out;
    auto add = [&out](std::string_view key, std::string_view value) {
      out.push_back({std::string(kName), fmt::format("{}:{}", key, value)});
    };
    add("cluster", name);
    add("agent_ns", bearer.name_space);
    add("agent_sa", bearer.service_account);
    add("agent_pod_name", bearer.pod_name);
    add("agent_pod_uid", bearer.pod_uid);
    add("agent_node_ip", kube::view_at(pod, {"status", "hostIP"}));
    add("agent_node_name", kube::view_at(pod, {"spec", "nodeName"}));
    add("agent_node_uid", kube::view_at(node, {"metadata", "uid"}));
    auto add_labels = [&add](std::string_view key, const nlohmann::json& object,
                             const std::set<std::string, std::less<>>& allowed) {
      for (const auto& [label, value] : kube::string_map_at(object, {"metadata", "labels"})) {
        if (allowed.contains(label)) {
          add(key, fmt::format("{}:{}", label, value));
        }
      }
    };
    add_labels("agent_node_label", node, cluster.settings().node_label_keys);
    add_labels("agent_pod_label", pod, cluster.settings().pod_label_keys);
    return out;
  }

  const Clusters& clusters_;
  const spiffe::TrustDomain& trust_domain_;
};

class PsatAttestor final : public NodeAttestor {
 public:
  PsatAttestor(PsatClusters clusters, spiffe::TrustDomain trust_domain,
               const kube::LazyClientDeps& kube)
      : trust_domain_(std::move(trust_domain)) {
    for (auto& [name, settings] : clusters) {
      clusters_[name] = std::make_unique<Cluster>(std::move(settings), kube);
    }
  }
  std::string_view name() const override { return kName; }
  std::unique_ptr<Attestation> begin(AttestingPeer) const override {
    return std::make_unique<PsatAttestation>(clusters_, trust_domain_);
  }

 private:
  Clusters clusters_;
  const spiffe::TrustDomain trust_domain_;
};

}  // namespace

Result<PsatClusters> k8s_psat_clusters(const hcl::Value& data, const Logger& log) {
  PsatConfig config =
      TRY(decode_settings(schema(), data, log, "plugin configuration is malformed"));
  if (config.clusters.empty()) {
    LOG_WARN(log, "No clusters configured, PSAT attestation is effectively disabled");
  }
  std::vector<std::string> problems;
  PsatClusters out;
  for (auto& [name, cluster] : config.clusters) {
    if (cluster.service_account_allow_list.empty()) {
      problems.push_back(fmt::format(
          "cluster \"{}\" configuration must have at least one service account allowed", name));
    }
    PsatCluster& slot = out[name];
    slot.service_accounts = as_set(cluster.service_account_allow_list);
    if (cluster.audience) {
      slot.audience = std::move(*cluster.audience);
    }
    slot.kubeconfig = std::move(cluster.kube_config_file);
    slot.node_label_keys = as_set(cluster.allowed_node_label_keys);
    slot.pod_label_keys = as_set(cluster.allowed_pod_label_keys);
    slot.use_pod_uid_for_agent_id = cluster.use_pod_uid_for_agent_id;
  }
  if (!problems.empty()) {
    return invalid_argument(fmt::format("{}", fmt::join(problems, "; ")));
  }
  return out;
}

std::unique_ptr<NodeAttestor> k8s_psat_attestor(PsatClusters clusters,
                                                spiffe::TrustDomain trust_domain,
                                                const kube::LazyClientDeps& kube) {
  return std::make_unique<PsatAttestor>(std::move(clusters), std::move(trust_domain), kube);
}

}  // namespace steeple::server
