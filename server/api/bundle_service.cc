// SPDX-License-Identifier: Apache-2.0

// spire.api.server.bundle.v1.Bundle: the own bundle, and those of federated trust domains as they
// are stored (nothing here fetches them).

#include <fmt/format.h>

#include "server/api/convert.h"
#include "server/api/failure.h"
#include "server/api/services.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::bundle::v1;  // NOLINT(google-build-using-namespace): messages
using ProtoBundle = spire::api::types::Bundle;
using spire::api::types::BundleMask;

constexpr std::string_view kService = "/spire.api.server.bundle.v1.Bundle/";

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

class BundleService {
 public:
  explicit BundleService(const ServiceDeps& deps) : deps_(deps) {}

  Result<CountBundlesResponse> count(Caller& caller, const CountBundlesRequest&) const {
    auto count = deps_.datastore.count_bundles();
    if (!count.ok()) {
      return fail(caller, Code::kInternal, "failed to count bundles", count.error());
    }
    CountBundlesResponse response;
    response.set_count(*count);
    return response;
  }

  Result<ProtoBundle> get(Caller& caller, const GetBundleRequest& request) const {
    auto bundle = deps_.bundles.own();
    if (!bundle) {
      return fail(caller, Code::kNotFound, "bundle not found");
    }
    ProtoBundle proto;
    bundle_to_proto(*bundle, output_mask_of(request), proto);
    return proto;
  }

  Result<ProtoBundle> append(Caller& caller, const AppendBundleRequest& request) const {
    if (request.jwt_authorities().empty() && request.x509_authorities().empty()) {
      return fail(caller, Code::kInvalidArgument, "no authorities to append");
    }
    jose::Bundle addition{.trust_domain = deps_.trust_domain};
    for (const auto& key : request.jwt_authorities()) {
      auto authority = jwt_authority_from_proto(key);
      if (!authority.ok()) {
        return fail(caller, Code::kInvalidArgument, "failed to convert JWT authority",
                    authority.error());
      }
      addition.jwt_authorities.push_back(std::move(*authority));
    }
    auto x509 = x509_authorities_from_proto(request.x509_authorities());
    if (!x509.ok()) {
      return fail(caller, Code::kInvalidArgument, "failed to convert X.509 authority",
                  x509.error());
    }
    addition.x509_authorities = std::move(*x509);
    auto stored = deps_.datastore.append_bundle(addition);
    if (!stored.ok()) {
      return fail(caller, Code::kInternal, "failed to append bundle", stored.error());
    }
    ProtoBundle proto;
    bundle_to_proto(*stored, output_mask_of(request), proto);
    return proto;
  }

  Result<PublishJWTAuthorityResponse> publish_jwt(Caller& caller,
                                                  const PublishJWTAuthorityRequest& request) const {
    if (!request.has_jwt_authority()) {
      return fail(caller, Code::kInvalidArgument, "missing JWT authority");
    }
    auto key = jwt_authority_from_proto(request.jwt_authority());
    if (!key.ok()) {
      return fail(caller, Code::kInvalidArgument, "invalid JWT authority", key.error());
    }
    auto keys = deps_.authorities.publish_jwt_key(*key);
    if (!keys.ok()) {
      return fail(caller, Code::kInternal, "failed to publish JWT key", keys.error());
    }
    jose::Bundle all{.trust_domain = deps_.trust_domain};
    all.jwt_authorities = std::move(*keys);
    ProtoBundle proto;
    bundle_to_proto(all, nullptr, proto);
    PublishJWTAuthorityResponse response;
    response.mutable_jwt_authorities()->Swap(proto.mutable_jwt_authorities());
    return response;
  }

  Result<ListFederatedBundlesResponse> list(Caller& caller,
                                            const ListFederatedBundlesRequest& request) const {
    std::optional<Pagination> page;
    if (request.page_size() > 0) {
      page = Pagination{.token = request.page_token(), .page_size = request.page_size()};
    }
    auto bundles = deps_.datastore.list_bundles(page);
    if (!bundles.ok()) {
      return fail(caller, Code::kInternal, "failed to list bundles", bundles.error());
    }
    ListFederatedBundlesResponse response;
    response.set_next_page_token(bundles->next);
    for (const jose::Bundle& bundle : bundles->items) {
      if (bundle.trust_domain != deps_.trust_domain) {
        bundle_to_proto(bundle, output_mask_of(request), *response.add_bundles());
      }
    }
    return response;
  }

  Result<ProtoBundle> get_federated(Caller& caller,
                                    const GetFederatedBundleRequest& request) const {
    caller.audit.add({"trust_domain_id", request.trust_domain()});
    auto domain = spiffe::TrustDomain::parse(request.trust_domain());
    if (!domain.ok()) {
      return fail(caller, Code::kInvalidArgument, "trust domain argument is not valid",
                  domain.error());
    }
    if (*domain == deps_.trust_domain) {
      return fail(caller, Code::kInvalidArgument,
                  "getting a federated bundle for the server's own trust domain is not allowed");
    }
    auto bundle = deps_.datastore.fetch_bundle(*domain);
    if (!bundle.ok()) {
      return fail(caller, Code::kInternal, "failed to fetch bundle", bundle.error());
    }
    if (!*bundle) {
      return fail(caller, Code::kNotFound, "bundle not found");
    }
    ProtoBundle proto;
    bundle_to_proto(**bundle, output_mask_of(request), proto);
    return proto;
  }

  // Create, update and set differ in the verb and in what the datastore answers.
  template <class Response, class Request, class Store>
  Result<Response> store_all(Caller& caller, const Request& request, std::string_view doing,
                             Store store) const {
    Response response;
    for (const ProtoBundle& proto : request.bundle()) {
      auto* result = response.add_results();
      Result<jose::Bundle> stored = store_one(caller, proto, doing, store);
      Result<void> status;
      if (stored.ok()) {
        bundle_to_proto(*stored, output_mask_of(request), *result->mutable_bundle());
      } else {
        status = std::move(stored.error());
      }
      set_status(status, *result->mutable_status());
      if (caller.audit.enabled()) {
        caller.audit.item(caller.log(), status, {{"trust_domain_id", proto.trust_domain()}});
      }
    }
    return response;
  }

  Result<BatchDeleteFederatedBundleResponse> remove(
      Caller& caller, const BatchDeleteFederatedBundleRequest& request) const {
    BundleDeleteMode mode;
    switch (request.mode()) {
      case BatchDeleteFederatedBundleRequest::RESTRICT:
        mode = BundleDeleteMode::kRestrict;
        break;
      case BatchDeleteFederatedBundleRequest::DISSOCIATE:
        mode = BundleDeleteMode::kDissociate;
        break;
      case BatchDeleteFederatedBundleRequest::DELETE:
        mode = BundleDeleteMode::kDelete;
        break;
      default: {
        Error unknown = invalid_argument(
            fmt::format("unhandled delete mode \"{}\"", static_cast<int>(request.mode())));
        return fail(caller, Code::kInvalidArgument, "failed to parse deletion mode", unknown);
      }
    }
    BatchDeleteFederatedBundleResponse response;
    for (const std::string& name : request.trust_domains()) {
      auto* result = response.add_results();
      result->set_trust_domain(name);
      Result<void> status = remove_one(caller, name, mode);
      set_status(status, *result->mutable_status());
      if (caller.audit.enabled()) {
        caller.audit.item(caller.log(), status, {{"trust_domain_id", name}});
      }
    }
    return response;
  }

  Datastore& datastore() const { return deps_.datastore; }

 private:
  template <class Store>
  Result<jose::Bundle> store_one(Caller& caller, const ProtoBundle& proto, std::string_view doing,
                                 Store store) const {
    auto domain = spiffe::TrustDomain::parse(proto.trust_domain());
    if (!domain.ok()) {
      return fail(caller, Code::kInvalidArgument, "trust domain argument is not valid",
                  domain.error());
    }
    if (*domain == deps_.trust_domain) {
      return fail(
          caller, Code::kInvalidArgument,
          fmt::format("{} a federated bundle for the server's own trust domain is not allowed",
                      doing));
    }
    auto bundle = bundle_from_proto(proto);
    if (!bundle.ok()) {
      return fail(caller, Code::kInvalidArgument, "failed to convert bundle", bundle.error());
    }
    return store(caller, *bundle);
  }

  Result<void> remove_one(Caller& caller, const std::string& name, BundleDeleteMode mode) const {
    auto domain = spiffe::TrustDomain::parse(name);
    if (!domain.ok()) {
      return fail(caller, Code::kInvalidArgument, "trust domain argument is not valid",
                  domain.error());
    }
    if (*domain == deps_.trust_domain) {
      return fail(caller, Code::kInvalidArgument,
                  "removing the bundle for the server trust domain is not allowed");
    }
    auto removed = deps_.datastore.delete_bundle(*domain, mode);
    if (removed.ok()) {
      return {};
    }
    if (removed.error().code == Code::kNotFound) {
      return fail(caller, Code::kNotFound, "bundle not found");
    }
    return fail(caller, removed.error().code, "failed to delete federated bundle", removed.error());
  }

  const ServiceDeps& deps_;
};

using ServicePtr = std::shared_ptr<const BundleService>;

void register_writers(Endpoint& endpoint, const ServicePtr& service) {
  endpoint.unary<BatchCreateFederatedBundleRequest, BatchCreateFederatedBundleResponse>(
      method("BatchCreateFederatedBundle"), [service](Caller& caller, const auto& request) {
        return service->store_all<BatchCreateFederatedBundleResponse>(
            caller, request, "creating",
            [&](Caller& by, const jose::Bundle& bundle) -> Result<jose::Bundle> {
              auto created = service->datastore().create_bundle(bundle);
              if (!created.ok() && created.error().code == Code::kAlreadyExists) {
                return fail(by, Code::kAlreadyExists, "bundle already exists");
              }
              if (!created.ok()) {
                return fail(by, Code::kInternal, "unable to create bundle", created.error());
              }
              return created;
            });
      });
  endpoint.unary<BatchSetFederatedBundleRequest, BatchSetFederatedBundleResponse>(
      method("BatchSetFederatedBundle"), [service](Caller& caller, const auto& request) {
        return service->store_all<BatchSetFederatedBundleResponse>(
            caller, request, "setting",
            [&](Caller& by, const jose::Bundle& bundle) -> Result<jose::Bundle> {
              auto set = service->datastore().set_bundle(bundle);
              if (!set.ok()) {
                return fail(by, Code::kInternal, "failed to set bundle", set.error());
              }
              LOG_INFO(by.log(), "Bundle set successfully",
                       {"trust_domain_id", bundle.trust_domain.name()});
              return set;
            });
      });
  endpoint.unary<BatchUpdateFederatedBundleRequest, BatchUpdateFederatedBundleResponse>(
      method("BatchUpdateFederatedBundle"), [service](Caller& caller, const auto& request) {
        BundleMask input = request.input_mask();
        steeple::server::BundleMask mask;
        if (request.has_input_mask()) {
          mask = {.x509_authorities = input.x509_authorities(),
                  .jwt_authorities = input.jwt_authorities(),
                  .refresh_hint = input.refresh_hint(),
                  .sequence_number = input.sequence_number()};
        }
        return service->store_all<BatchUpdateFederatedBundleResponse>(
            caller, request, "updating",
            [&](Caller& by, const jose::Bundle& bundle) -> Result<jose::Bundle> {
              auto updated = service->datastore().update_bundle(bundle, mask);
              if (!updated.ok() && updated.error().code == Code::kNotFound) {
                return fail(by, Code::kNotFound, "bundle not found");
              }
              if (!updated.ok()) {
                return fail(by, Code::kInternal, "failed to update bundle", updated.error());
              }
              return updated;
            });
      });
  endpoint.unary<BatchDeleteFederatedBundleRequest, BatchDeleteFederatedBundleResponse>(
      method("BatchDeleteFederatedBundle"),
      [service](Caller& caller, const auto& request) { return service->remove(caller, request); });
}

}  // namespace

void register_bundle_service(Endpoint& endpoint, const ServiceDeps& deps) {
  ServicePtr service = std::make_shared<const BundleService>(deps);
  endpoint.unary<CountBundlesRequest, CountBundlesResponse>(
      method("CountBundles"),
      [service](Caller& caller, const auto& request) { return service->count(caller, request); });
  endpoint.unary<GetBundleRequest, ProtoBundle>(
      method("GetBundle"),
      [service](Caller& caller, const auto& request) { return service->get(caller, request); });
  endpoint.unary<AppendBundleRequest, ProtoBundle>(
      method("AppendBundle"),
      [service](Caller& caller, const auto& request) { return service->append(caller, request); });
  endpoint.unary<ListFederatedBundlesRequest, ListFederatedBundlesResponse>(
      method("ListFederatedBundles"),
      [service](Caller& caller, const auto& request) { return service->list(caller, request); });
  endpoint.unary<GetFederatedBundleRequest, ProtoBundle>(
      method("GetFederatedBundle"), [service](Caller& caller, const auto& request) {
        return service->get_federated(caller, request);
      });
  endpoint.limited<PublishJWTAuthorityRequest, PublishJWTAuthorityResponse>(
      method("PublishJWTAuthority"), deps.limits.publish_key,
      "rejecting request due to key publishing rate limiting",
      [](Caller&, const auto&) -> Result<std::size_t> { return 1; },
      [service](Caller& caller, const auto& request) {
        return service->publish_jwt(caller, request);
      });
  endpoint.unary<PublishWITAuthorityRequest, PublishWITAuthorityResponse>(
      method("PublishWITAuthority"),
      [](Caller& caller, const auto&) -> Result<PublishWITAuthorityResponse> {
        return fail(caller, Code::kUnimplemented, "WIT-SVID functionality is not yet implemented");
      });
  register_writers(endpoint, service);
  endpoint.server().describe(GetBundleRequest::descriptor()->file()->FindServiceByName("Bundle"));
}

}  // namespace steeple::server
