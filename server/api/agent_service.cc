// SPDX-License-Identifier: Apache-2.0

// spire.api.server.agent.v1.Agent but for AttestAgent: the attested agents and join tokens.

#include <fmt/format.h>

#include <charconv>

#include "lib/x509/csr.h"
#include "server/api/convert.h"
#include "server/api/entry_wire.h"
#include "server/api/failure.h"
#include "server/api/services.h"
#include "server/nodeattestor/join_token.h"
#include "server/registration/entry_validation.h"
#include "spire/api/server/agent/v1/agent.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::agent::v1;  // NOLINT(google-build-using-namespace): messages
using google::protobuf::Empty;
using ProtoAgent = spire::api::types::Agent;
using ProtoJoinToken = spire::api::types::JoinToken;
using spire::api::types::PermissionDeniedDetails;

constexpr std::string_view kService = "/spire.api.server.agent.v1.Agent/";
constexpr std::size_t kAgentVersionBytesMax = 255;

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

// "2006-01-02 15:04:05 -0700 -07", as the command line writes it. An unreadable date means the
// beginning of time, and so nothing, as in the reference.
std::int64_t parse_expires_before(std::string_view text) {
  constexpr std::size_t kDateBytes = 19;
  if (text.size() < kDateBytes + 6) {
    return 0;
  }
  auto number = [text](std::size_t at, std::size_t count) {
    int value = -1;
    auto part = text.substr(at, count);
    auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    return error == std::errc{} && end == part.data() + part.size() ? value : -1;
  };
  int year = number(0, 4);
  int month = number(5, 2);
  int day = number(8, 2);
  int hour = number(11, 2);
  int minute = number(14, 2);
  int second = number(17, 2);
  int zone_hour = number(21, 2);
  int zone_minute = number(23, 2);
  if (year < 0 || hour < 0 || minute < 0 || second < 0 || zone_hour < 0 || zone_minute < 0) {
    return 0;
  }
  std::chrono::year_month_day date{std::chrono::year(year),
                                   std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  if (month < 1 || day < 1 || !date.ok()) {
    return 0;
  }
  std::int64_t local = std::chrono::sys_days(date).time_since_epoch().count() * 86'400 +
                       std::int64_t{hour} * 3'600 + std::int64_t{minute} * 60 + second;
  std::int64_t offset = std::int64_t{zone_hour} * 3'600 + std::int64_t{zone_minute} * 60;
  return text[kDateBytes + 1] == '-' ? local + offset : local - offset;
}

class AgentService {
 public:
  explicit AgentService(const ServiceDeps& deps) : deps_(deps) {}

  Result<CountAgentsResponse> count(Caller& caller, const CountAgentsRequest& request) const {
    AttestedNodeFilter filter;
    if (request.has_filter()) {
      filter = TRY(read_filter(caller, request.filter()));
    }
    Result<std::int32_t> count = deps_.datastore.count_nodes(filter);
    if (!count.ok()) {
      return fail(caller, Code::kInternal, "failed to count agents", count.error());
    }
    CountAgentsResponse response;
    response.set_count(*count);
    return response;
  }

  Result<ListAgentsResponse> list(Caller& caller, const ListAgentsRequest& request) const {
    AttestedNodeFilter filter;
    if (request.has_filter()) {
      filter = TRY(read_filter(caller, request.filter()));
    }
    filter.fetch_selectors = !request.has_output_mask() || request.output_mask().selectors();
    std::optional<Pagination> page;
    if (request.page_size() > 0) {
      page = Pagination{.token = request.page_token(), .page_size = request.page_size()};
    }
    Result<Page<AttestedNode>> found = deps_.datastore.list_nodes(filter, page);
    if (!found.ok()) {
      return fail(caller, Code::kInternal, "failed to list agents", found.error());
    }
    ListAgentsResponse response;
    response.set_next_page_token(found->next);
    for (const AttestedNode& node : found->items) {
      agent_to_proto(node, output_mask_of(request), *response.add_agents());
    }
    return response;
  }

  Result<ProtoAgent> get(Caller& caller, const GetAgentRequest& request) const {
    spiffe::SpiffeId id = TRY(read_agent_id(caller, request));
    auto node = deps_.datastore.fetch_node(id);
    if (!node.ok()) {
      return fail(caller, Code::kInternal, "failed to fetch agent", node.error());
    }
    if (!*node) {
      return fail(caller, Code::kNotFound, "agent not found");
    }
    auto selectors = deps_.datastore.node_selectors(id);
    if (!selectors.ok()) {
      return fail(caller, Code::kInternal, "failed to get selectors from agent", selectors.error());
    }
    (*node)->selectors = std::move(*selectors);
    ProtoAgent proto;
    agent_to_proto(**node, output_mask_of(request), proto);
    return proto;
  }

  Result<Empty> remove(Caller& caller, const DeleteAgentRequest& request) const {
    spiffe::SpiffeId id = TRY(read_agent_id(caller, request));
    auto removed = deps_.datastore.delete_node(id);
    if (!removed.ok()) {
      return removed.error().code == Code::kNotFound
                 ? fail(caller, Code::kNotFound, "agent not found")
                 : fail(caller, Code::kInternal, "failed to remove agent", removed.error());
    }
    LOG_INFO(caller.log(), "Agent deleted", {"spiffe_id", id.text()});
    return Empty();
  }

  Result<Empty> ban(Caller& caller, const BanAgentRequest& request) const {
    spiffe::SpiffeId id = TRY(read_agent_id(caller, request));
    // Banned is: both serial numbers empty.
    AttestedNodeMask mask = AttestedNodeMask::none();
    mask.serial = true;
    mask.new_serial = true;
    auto updated = deps_.datastore.update_node(AttestedNode{.spiffe_id = id}, mask);
    if (!updated.ok()) {
      return updated.error().code == Code::kNotFound
                 ? fail(caller, Code::kNotFound, "agent not found")
                 : fail(caller, Code::kInternal, "failed to ban agent", updated.error());
    }
    LOG_INFO(caller.log(), "Agent banned", {"spiffe_id", id.text()});
    return Empty();
  }

  Result<RenewAgentResponse> renew(Caller& caller, const RenewAgentRequest& request) const {
    const spiffe::SpiffeId& id = *caller.id();
    auto node = deps_.datastore.fetch_node(id);
    if (!node.ok()) {
      return fail(caller, Code::kInternal, "failed to fetch agent", node.error());
    }
    if (!*node) {
      return fail(caller, Code::kNotFound, "agent not found");
    }
    if ((*node)->can_reattest) {
      PermissionDeniedDetails details;
      details.set_reason(PermissionDeniedDetails::AGENT_MUST_REATTEST);
      return Error{Code::kPermissionDenied,
                   "agent must reattest instead of renew",
                   {{"type.googleapis.com/spire.api.types.PermissionDeniedDetails",
                     details.SerializeAsString()}}};
    }
    LOG_INFO(caller.log(), "Renewing agent SVID");
    if (!request.has_params()) {
      return fail(caller, Code::kInvalidArgument, "params cannot be nil");
    }
    if (request.params().csr().empty()) {
      return fail(caller, Code::kInvalidArgument, "missing CSR");
    }
    auto csr = x509::CertificateRequest::parse_and_verify(request.params().csr());
    if (!csr.ok()) {
      return fail(caller, Code::kInvalidArgument, "failed to parse CSR", csr.error());
    }
    auto svid = deps_.ca.sign_agent_x509_svid(csr->public_key(), id);
    if (!svid.ok()) {
      return fail(caller, Code::kInternal, "failed to sign X509 SVID", svid.error());
    }
    AttestedNode update{.spiffe_id = id,
                        .new_serial = svid->leaf->serial_decimal(),
                        .new_not_after = to_unix_seconds(svid->leaf->not_after())};
    AttestedNodeMask mask = AttestedNodeMask::none();
    mask.new_serial = true;
    mask.new_not_after = true;
    TRY(update_node(caller, update, mask));
    RenewAgentResponse response;
    svid_to_proto(id, svid->chain, svid->leaf->not_after(), *response.mutable_svid());
    return response;
  }

  Result<PostStatusResponse> post_status(Caller& caller, const PostStatusRequest& request) const {
    const std::string& version = request.agent_version();
    if (version.size() > kAgentVersionBytesMax) {
      return fail(caller, Code::kInvalidArgument, "agent version is too long (max 255 characters)");
    }
    if (!version.empty()) {
      AttestedNodeMask mask = AttestedNodeMask::none();
      mask.agent_version = true;
      TRY(update_node(caller, AttestedNode{.spiffe_id = *caller.id(), .agent_version = version},
                      mask));
      LOG_DEBUG(caller.log(LogLevel::kDebug), "Agent status updated", {"agent_version", version});
    }
    return PostStatusResponse();
  }

  Result<ProtoJoinToken> create_join_token(Caller& caller,
                                           const CreateJoinTokenRequest& request) const {
    if (request.ttl() < 1) {
      return fail(caller, Code::kInvalidArgument, "ttl is required, you must provide one");
    }
    if (request.token().size() > kJoinTokenBytesMax) {
      return fail(caller, Code::kInvalidArgument, "token is too long");
    }
    std::string token = request.token().empty() ? deps_.random.uuid() : request.token();
    std::optional<Entry> alias;
    if (request.has_agent_id()) {
      auto id = workload_id_from_proto(deps_.trust_domain, &request.agent_id());
      if (!id.ok()) {
        return fail(caller, Code::kInvalidArgument, "invalid agent ID", id.error());
      }
      auto parent = join_token_agent_id(deps_.trust_domain, token);
      if (!parent.ok()) {
        return fail(caller, Code::kInternal, "failed to create join token registration entry",
                    parent.error());
      }
      alias = Entry{.id = {},
                    .spiffe_id = std::move(*id),
                    .parent_id = *parent,
                    .selectors = {{.type = "spiffe_id", .value = parent->text()}}};
    }
    std::int64_t expires_at = to_unix_seconds(deps_.clock.now()) + request.ttl();
    auto stored =
        deps_.datastore.create_join_token({.token = token, .expires_at = expires_at}, alias);
    if (!stored.ok()) {
      return fail(caller, Code::kInternal, "failed to create token", stored.error());
    }
    ProtoJoinToken response;
    response.set_value(token);
    response.set_expires_at(expires_at);
    return response;
  }

 private:
  template <class Request>
  Result<spiffe::SpiffeId> read_agent_id(Caller& caller, const Request& request) const {
    auto id = agent_id_from_proto(deps_.trust_domain, request.has_id() ? &request.id() : nullptr);
    if (!id.ok()) {
      return fail(caller, Code::kInvalidArgument, "invalid agent ID", id.error());
    }
    caller.audit.add({"spiffe_id", id->text()});
    return id;
  }

  Result<void> update_node(Caller& caller, const AttestedNode& node,
                           const AttestedNodeMask& mask) const {
    auto updated = deps_.datastore.update_node(node, mask);
    if (!updated.ok()) {
      return updated.error().code == Code::kNotFound
                 ? fail(caller, Code::kNotFound, "agent not found")
                 : fail(caller, Code::kInternal, "failed to update agent", updated.error());
    }
    return {};
  }

  template <class Filter>
  static Result<AttestedNodeFilter> read_filter(Caller& caller, const Filter& proto) {
    AttestedNodeFilter filter;
    if (proto.has_by_banned()) {
      filter.banned = proto.by_banned().value();
    }
    if (proto.has_by_can_reattest()) {
      filter.can_reattest = proto.by_can_reattest().value();
    }
    filter.attestation_type = proto.by_attestation_type();
    if (!proto.by_expires_before().empty()) {
      filter.expires_before = parse_expires_before(proto.by_expires_before());
    }
    if (proto.has_by_selector_match()) {
      auto selectors = selectors_from_proto(proto.by_selector_match().selectors());
      if (!selectors.ok()) {
        return fail(caller, Code::kInvalidArgument, "failed to parse selectors", selectors.error());
      }
      filter.selectors = SelectorFilter{.selectors = std::move(*selectors),
                                        .match = match_of(proto.by_selector_match().match())};
    }
    return filter;
  }

  const ServiceDeps& deps_;
};

}  // namespace

void register_agent_service(Endpoint& endpoint, const ServiceDeps& deps) {
  auto service = std::make_shared<const AgentService>(deps);
  endpoint.unary<CountAgentsRequest, CountAgentsResponse>(
      method("CountAgents"),
      [service](Caller& caller, const auto& request) { return service->count(caller, request); });
  endpoint.unary<ListAgentsRequest, ListAgentsResponse>(
      method("ListAgents"),
      [service](Caller& caller, const auto& request) { return service->list(caller, request); });
  endpoint.unary<GetAgentRequest, ProtoAgent>(
      method("GetAgent"),
      [service](Caller& caller, const auto& request) { return service->get(caller, request); });
  endpoint.unary<DeleteAgentRequest, Empty>(
      method("DeleteAgent"),
      [service](Caller& caller, const auto& request) { return service->remove(caller, request); });
  endpoint.unary<BanAgentRequest, Empty>(
      method("BanAgent"),
      [service](Caller& caller, const auto& request) { return service->ban(caller, request); });
  endpoint.unary<CreateJoinTokenRequest, ProtoJoinToken>(
      method("CreateJoinToken"), [service](Caller& caller, const auto& request) {
        return service->create_join_token(caller, request);
      });
  endpoint.limited<RenewAgentRequest, RenewAgentResponse>(
      method("RenewAgent"), deps.limits.signing_x509,
      "rejecting request due to renew agent rate limiting",
      [](Caller&, const auto&) -> Result<std::size_t> { return 1; },
      [service](Caller& caller, const auto& request) { return service->renew(caller, request); });
  endpoint.limited<PostStatusRequest, PostStatusResponse>(
      method("PostStatus"), deps.limits.post_status,
      "rejecting request due to post status rate limiting",
      [](Caller&, const auto&) -> Result<std::size_t> { return 1; },
      [service](Caller& caller, const auto& request) {
        return service->post_status(caller, request);
      });
  register_attest_agent(endpoint, deps);
  endpoint.server().describe(ListAgentsRequest::descriptor()->file()->FindServiceByName("Agent"));
}

}  // namespace steeple::server
