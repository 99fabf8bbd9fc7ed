// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/federation_sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace steeple::controller {

namespace trustdomain_v1 = ::spire::api::server::trustdomain::v1;

namespace {

constexpr int kPageSize = 200;

::spire::api::types::FederationRelationship to_wire(const ClusterFederatedTrustDomainSpec& spec) {
  ::spire::api::types::FederationRelationship out;
  out.set_trust_domain(spec.trust_domain.name());
  out.set_bundle_endpoint_url(spec.endpoint_url);
  if (spec.endpoint_id) {
    out.mutable_https_spiffe()->set_endpoint_spiffe_id(spec.endpoint_id->text());
  } else {
    out.mutable_https_web();
  }
  if (spec.bundle) {
    auto* bundle = out.mutable_trust_domain_bundle();
    bundle->set_trust_domain(spec.trust_domain.name());
    for (const jose::X509Authority& authority : spec.bundle->x509_authorities) {
      bundle->add_x509_authorities()->set_asn1(authority.der);
    }
    for (const jose::JwtAuthority& authority : spec.bundle->jwt_authorities) {
      auto* key = bundle->add_jwt_authorities();
      key->set_public_key(authority.spki_der);
      key->set_key_id(authority.key_id);
    }
    bundle->set_sequence_number(spec.bundle->sequence_number);
    bundle->set_refresh_hint(
        std::chrono::floor<std::chrono::seconds>(spec.bundle->refresh_hint).count());
  }
  return out;
}

// What an update may change; the bundle is the server's to refresh.
bool same(const ::spire::api::types::FederationRelationship& a,
          const ::spire::api::types::FederationRelationship& b) {
  return a.bundle_endpoint_url() == b.bundle_endpoint_url() &&
         a.bundle_endpoint_profile_case() == b.bundle_endpoint_profile_case() &&
         a.https_spiffe().endpoint_spiffe_id() == b.https_spiffe().endpoint_spiffe_id();
}

}  // namespace

FederationSync::FederationSync(Deps deps, Options options, OnStatus on_status)
    : deps_(deps),
      options_(std::move(options)),
      on_status_(std::move(on_status)),
      backoff_(deps.random),
      timer_(deps.loop) {}

void FederationSync::put(const FederatedPtr& resource) {
  if (!options_.class_rule.takes(resource->class_name)) {
    remove(resource->meta.name);
    return;
  }
  resources_[resource->meta.name] = resource;
  if (complete_) {
    timer_.start(Duration::zero(), [this] { list(""); });
  }
}

void FederationSync::remove(const std::string& name) {
  if (resources_.erase(name) > 0 && complete_) {
    timer_.start(Duration::zero(), [this] { list(""); });
  }
}

void FederationSync::complete() {
  complete_ = true;
  list("");
}

void FederationSync::list(const std::string& token) {
  if (token.empty() && std::exchange(busy_, true)) {
    again_ = true;
    return;
  }
  if (token.empty()) {
    current_.clear();
  }
  trustdomain_v1::ListFederationRelationshipsRequest request;
  request.set_page_size(kPageSize);
  request.set_page_token(token);
  request.mutable_output_mask()->set_bundle_endpoint_url(true);
  request.mutable_output_mask()->set_bundle_endpoint_profile(true);
  call_ = deps_.spire.call<ListResponse>(
      method::kListRelationships, request,
      [this](Result<ListResponse> page) { listed(std::move(page)); });
}

void FederationSync::listed(Result<ListResponse> page) {
  if (!page.ok()) {
    failed(page.error());
    return;
  }
  for (Relationship& relationship : *page->mutable_federation_relationships()) {
    std::string domain = relationship.trust_domain();
    current_[domain] = std::move(relationship);
  }
  if (!page->next_page_token().empty()) {
    list(page->next_page_token());
    return;
  }
  trouble_.clear();
  compare();
}

void FederationSync::failed(const Error& error) {
  bool unknown = error.code == Code::kUnimplemented;
  Duration wait = unknown ? Duration(kFederationInterval) : backoff_.next();
  std::string before = trouble_;
  trouble_reason_ = unknown ? "Unimplemented" : "ServerUnavailable";
  trouble_ = unknown ? "this SPIRE server does not implement the TrustDomain API" : error.message;
  if (trouble_ != before) {
    if (resources_.empty() && unknown) {
      LOG_DEBUG(deps_.log, "Federation relationships are not available", {"reason", trouble_});
    } else {
      LOG_ERROR(deps_.log, "Failed to reconcile federation relationships", {"error", error});
    }
  }
  ++deps_.counters.rpc_failures;
  busy_ = false;
  compared_ = true;
  plan_.clear();
  tell_all();
  timer_.start(wait, [this] { list(""); });
}

void FederationSync::compare() {
  by_domain_.clear();
  refused_.clear();
  plan_.clear();
  writes_.clear();
  for (const auto& [name, resource] : resources_) {
    if (resource->spec.ok()) {
      FederatedPtr& winner = by_domain_[resource->spec->trust_domain.name()];
      if (!winner || precedence(resource->meta, winner->meta) < 0) {
        winner = resource;
      }
    }
  }
  trustdomain_v1::BatchDeleteFederationRelationshipRequest remove;
  trustdomain_v1::BatchCreateFederationRelationshipRequest create;
  trustdomain_v1::BatchUpdateFederationRelationshipRequest update;
  std::vector<std::string> removed, created, updated;
  for (const auto& [domain, relationship] : current_) {
    if (!by_domain_.contains(domain)) {
      remove.add_trust_domains(domain);
      removed.push_back(domain);
      plan_.push_back("delete federation relationship " + domain);
    }
  }
  for (const auto& [domain, resource] : by_domain_) {
    Relationship wanted = to_wire(*resource->spec);
    auto stands = current_.find(domain);
    if (stands == current_.end()) {
      *create.add_federation_relationships() = std::move(wanted);
      created.push_back(domain);
      plan_.push_back("create federation relationship " + domain);
    } else if (!same(stands->second, wanted)) {
      *update.add_federation_relationships() = std::move(wanted);
      updated.push_back(domain);
      plan_.push_back("update federation relationship " + domain);
    }
  }
  update.mutable_input_mask()->set_bundle_endpoint_url(true);
  update.mutable_input_mask()->set_bundle_endpoint_profile(true);
  compared_ = true;
  if (!options_.dry_run) {
    using trustdomain_v1::BatchCreateFederationRelationshipResponse;
    using trustdomain_v1::BatchDeleteFederationRelationshipResponse;
    using trustdomain_v1::BatchUpdateFederationRelationshipResponse;
    write<BatchUpdateFederationRelationshipResponse>(method::kUpdateRelationships, update, updated,
                                                     "Updated federation relationship");
    write<BatchCreateFederationRelationshipResponse>(method::kCreateRelationships, create, created,
                                                     "Created federation relationship");
    write<BatchDeleteFederationRelationshipResponse>(method::kDeleteRelationships, remove, removed,
                                                     "Deleted federation relationship");
  }
  next_write();
}

template <class Response, class Request>
void FederationSync::write(const char* name, const Request& request,
                           std::vector<std::string> domains, const char* done) {
  if (domains.empty()) {
    return;
  }
  writes_.push_back([this, name, request, domains = std::move(domains), done] {
    call_ =
        deps_.spire.call<Response>(name, request, [this, domains, done](Result<Response> answer) {
          if (!answer.ok()) {
            failed(answer.error());
            return;
          }
          for (int i = 0; i < answer->results_size() && i < static_cast<int>(domains.size()); ++i) {
            const std::string& domain = domains[static_cast<std::size_t>(i)];
            const auto& status = answer->results(i).status();
            if (status.code() == 0) {
              LOG_INFO(deps_.log, done, {"trustDomain", domain});
            } else {
              LOG_ERROR(deps_.log, "Failed to set federation relationship", {"trustDomain", domain},
                        {"error", status.message()});
              refused_[domain] = status.message();
            }
          }
          next_write();
        });
  });
}

void FederationSync::next_write() {
  if (writes_.empty()) {
    finish();
    return;
  }
  std::function<void()> next = std::move(writes_.back());
  writes_.pop_back();
  next();
}

void FederationSync::finish() {
  busy_ = false;
  tell_all();
  if (refused_.empty()) {
    backoff_.reset();
  }
  Duration wait = refused_.empty() ? Duration(kFederationInterval) : backoff_.next();
  timer_.start(std::exchange(again_, false) ? Duration::zero() : wait, [this] { list(""); });
}

void FederationSync::tell_all() {
  if (!on_status_) {
    return;
  }
  for (const auto& [name, resource] : resources_) {
    ResourceStatus status;
    status.generation = resource->meta.generation;
    Condition ready{.type = "Ready",
                    .status = true,
                    .reason = "Reconciled",
                    .message = "the federation relationship is set"};
    auto worse = [&ready](std::string reason, std::string message) {
      ready = {"Ready", false, std::move(reason), std::move(message)};
    };
    if (!resource->spec.ok()) {
      worse("InvalidSpec", resource->spec.error().message);
    } else if (!trouble_.empty()) {
      worse(trouble_reason_, trouble_);
    } else {
      const std::string& domain = resource->spec->trust_domain.name();
      const FederatedPtr& winner = by_domain_[domain];
      if (winner && winner->meta.name != name) {
        worse("Masked",
              fmt::format("an older resource declares {}: {}", domain, winner->meta.name));
      } else if (auto refusal = refused_.find(domain); refusal != refused_.end()) {
        worse("ServerRefused", refusal->second);
      }
    }
    status.conditions.push_back(std::move(ready));
    on_status_(resource->meta, status);
  }
}

}  // namespace steeple::controller
