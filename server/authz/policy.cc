// SPDX-License-Identifier: Apache-2.0

#include "server/authz/policy.h"

#include <algorithm>
#include <array>

namespace steeple::server {
namespace {

constexpr auto kAny = static_cast<CallerClasses>(CallerClass::kAny);
constexpr auto kLocal = static_cast<CallerClasses>(CallerClass::kLocal);
constexpr auto kAdmin = static_cast<CallerClasses>(CallerClass::kAdmin);
constexpr auto kAgent = static_cast<CallerClasses>(CallerClass::kAgent);
constexpr auto kDownstream = static_cast<CallerClasses>(CallerClass::kDownstream);

// Sorted, so that a look-up is a binary search. Server reflection is a courtesy of the admin
// socket; the reference serves none.
constexpr auto kRules = std::to_array<PolicyRule>({
    {"/grpc.health.v1.Health/Check", kLocal},
    {"/grpc.health.v1.Health/List", kLocal},
    {"/grpc.health.v1.Health/Watch", kLocal},
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", kLocal},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", kLocal},
    {"/spire.api.server.agent.v1.Agent/AttestAgent", kAny},
    {"/spire.api.server.agent.v1.Agent/BanAgent", kAdmin | kLocal},
    {"/spire.api.server.agent.v1.Agent/CountAgents", kAdmin | kLocal},
    {"/spire.api.server.agent.v1.Agent/CreateJoinToken", kAdmin | kLocal},
    {"/spire.api.server.agent.v1.Agent/DeleteAgent", kAdmin | kLocal},
    {"/spire.api.server.agent.v1.Agent/GetAgent", kAdmin | kLocal},
    {"/spire.api.server.agent.v1.Agent/ListAgents", kAdmin | kLocal},
    {"/spire.api.server.agent.v1.Agent/PostStatus", kAgent},
    {"/spire.api.server.agent.v1.Agent/RenewAgent", kAgent},
    {"/spire.api.server.bundle.v1.Bundle/AppendBundle", kAdmin | kLocal},
    {"/spire.api.server.bundle.v1.Bundle/BatchCreateFederatedBundle", kAdmin | kLocal},
    {"/spire.api.server.bundle.v1.Bundle/BatchDeleteFederatedBundle", kAdmin | kLocal},
    {"/spire.api.server.bundle.v1.Bundle/BatchSetFederatedBundle", kAdmin | kLocal},
    {"/spire.api.server.bundle.v1.Bundle/BatchUpdateFederatedBundle", kAdmin | kLocal},
    {"/spire.api.server.bundle.v1.Bundle/CountBundles", kAdmin | kLocal},
    {"/spire.api.server.bundle.v1.Bundle/GetBundle", kAny},
    {"/spire.api.server.bundle.v1.Bundle/GetFederatedBundle", kAgent | kAdmin | kLocal},
    {"/spire.api.server.bundle.v1.Bundle/ListFederatedBundles", kAdmin | kLocal},
    {"/spire.api.server.bundle.v1.Bundle/PublishJWTAuthority", kDownstream},
    {"/spire.api.server.bundle.v1.Bundle/PublishWITAuthority", kDownstream},
    {"/spire.api.server.debug.v1.Debug/GetInfo", kLocal},
    {"/spire.api.server.entry.v1.Entry/BatchCreateEntry", kAdmin | kLocal},
    {"/spire.api.server.entry.v1.Entry/BatchDeleteEntry", kAdmin | kLocal},
    {"/spire.api.server.entry.v1.Entry/BatchUpdateEntry", kAdmin | kLocal},
    {"/spire.api.server.entry.v1.Entry/CountEntries", kAdmin | kLocal},
    {"/spire.api.server.entry.v1.Entry/GetAuthorizedEntries", kAgent},
    {"/spire.api.server.entry.v1.Entry/GetEntry", kAdmin | kLocal},
    {"/spire.api.server.entry.v1.Entry/ListEntries", kAdmin | kLocal},
    {"/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries", kAgent},
    {"/spire.api.server.localauthority.v1.LocalAuthority/ActivateJWTAuthority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/ActivateWITAuthority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/ActivateX509Authority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/GetJWTAuthorityState", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/GetWITAuthorityState", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/GetX509AuthorityState", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/PrepareJWTAuthority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/PrepareWITAuthority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/PrepareX509Authority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/RevokeJWTAuthority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/RevokeWITAuthority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509Authority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509UpstreamAuthority",
     kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/TaintJWTAuthority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/TaintWITAuthority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/TaintX509Authority", kAdmin | kLocal},
    {"/spire.api.server.localauthority.v1.LocalAuthority/TaintX509UpstreamAuthority",
     kAdmin | kLocal},
    {"/spire.api.server.logger.v1.Logger/GetLogger", kLocal},
    {"/spire.api.server.logger.v1.Logger/ResetLogLevel", kLocal},
    {"/spire.api.server.logger.v1.Logger/SetLogLevel", kLocal},
    {"/spire.api.server.svid.v1.SVID/BatchNewWITSVID", kAgent},
    {"/spire.api.server.svid.v1.SVID/BatchNewX509SVID", kAgent},
    {"/spire.api.server.svid.v1.SVID/MintJWTSVID", kAdmin | kLocal},
    {"/spire.api.server.svid.v1.SVID/MintWITSVID", kAdmin | kLocal},
    {"/spire.api.server.svid.v1.SVID/MintX509SVID", kAdmin | kLocal},
    {"/spire.api.server.svid.v1.SVID/NewDownstreamX509CA", kDownstream},
    {"/spire.api.server.svid.v1.SVID/NewJWTSVID", kAgent},
    {"/spire.api.server.trustdomain.v1.TrustDomain/BatchCreateFederationRelationship",
     kAdmin | kLocal},
    {"/spire.api.server.trustdomain.v1.TrustDomain/BatchDeleteFederationRelationship",
     kAdmin | kLocal},
    {"/spire.api.server.trustdomain.v1.TrustDomain/BatchUpdateFederationRelationship",
     kAdmin | kLocal},
    {"/spire.api.server.trustdomain.v1.TrustDomain/GetFederationRelationship", kAdmin | kLocal},
    {"/spire.api.server.trustdomain.v1.TrustDomain/ListFederationRelationships", kAdmin | kLocal},
    {"/spire.api.server.trustdomain.v1.TrustDomain/RefreshBundle", kAdmin | kLocal},
    {"/steeple.server.push.v1.Push/WatchChanges", kAgent},
});

static_assert(std::ranges::is_sorted(kRules, {}, &PolicyRule::method));

}  // namespace

const PolicyRule* find_rule(std::string_view method) {
  const auto* rule = std::ranges::lower_bound(kRules, method, {}, &PolicyRule::method);
  return rule != kRules.end() && rule->method == method ? rule : nullptr;
}

CallerClasses classes_allowed(std::string_view method) {
  const PolicyRule* rule = find_rule(method);
  return rule != nullptr ? rule->classes : CallerClasses{0};
}

std::span<const PolicyRule> policy_rules() { return kRules; }

}  // namespace steeple::server
