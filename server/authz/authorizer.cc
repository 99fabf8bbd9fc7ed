// SPDX-License-Identifier: Apache-2.0

#include "server/authz/authorizer.h"

#include <fmt/format.h>

#include "spire/api/types/status.pb.h"

namespace steeple::server {
namespace {

using spire::api::types::PermissionDeniedDetails;

Error denied(PermissionDeniedDetails::Reason reason, std::string message) {
  PermissionDeniedDetails details;
  details.set_reason(reason);
  Error error = permission_denied(std::move(message));
  error.details.push_back(
      {"type.googleapis.com/spire.api.types.PermissionDeniedDetails", details.SerializeAsString()});
  return error;
}

}  // namespace

Authorizer::Authorizer(Deps deps, Options options)
    : deps_(std::move(deps)),
      options_(std::move(options)),
      admin_ids_(options_.admin_ids.begin(), options_.admin_ids.end()),
      nodes_(deps_.datastore, deps_.clock, options_.node_staleness_max) {}

Result<std::shared_ptr<Caller>> Authorizer::authorize(const std::string& method,
                                                      std::shared_ptr<const io::Peer> peer) {
  std::string_view name(method);
  auto caller =
      std::make_shared<Caller>(std::move(peer), deps_.log, name.substr(name.rfind('/') + 1),
                               deps_.random, options_.audit_log);
  Result<bool> allowed = is_allowed(classes_allowed(method), *caller);
  if (allowed.ok() && *allowed) {
    return caller;
  }
  if (!allowed.ok() && allowed.error().code != Code::kPermissionDenied) {
    LOG_ERROR(caller->log(), "Authorization failure", {"error", allowed.error()});
    return std::move(allowed).error();
  }
  Error error = permission_denied(fmt::format("authorization denied for method {}", method));
  if (!allowed.ok()) {
    error.details = std::move(allowed.error().details);
  }
  LOG_ERROR(caller->log(), "Failed to authenticate caller", {"error", error});
  caller->audit.finish(caller->log(), error);
  return error;
}

// In the order of cost, as in the reference.
Result<bool> Authorizer::is_allowed(CallerClasses classes, Caller& caller) {
  if (allows(classes, CallerClass::kAny)) {
    return true;
  }
  if (caller.local()) {
    caller.authorized_as = "local";
    caller.authorized_via = "transport";
    return allows(classes, CallerClass::kLocal);
  }
  if (!caller.id() || caller.peer().leaf_serial.empty()) {
    return false;
  }
  // The handshake proved it valid, but a connection can outlive its certificate.
  bool expired = deps_.clock.now() > caller.peer().leaf_not_after;
  if (allows(classes, CallerClass::kAdmin) && !expired && admin_ids_.contains(*caller.id())) {
    caller.authorized_as = "admin";
    caller.authorized_via = "config";
    return true;
  }
  if (!expired && TRY(by_entries(classes, caller))) {
    return true;
  }
  if (allows(classes, CallerClass::kAgent)) {
    TRY(check_agent(caller));
    caller.authorized_as = "agent";
    caller.authorized_via = "datastore";
    return true;
  }
  return false;
}

Result<bool> Authorizer::by_entries(CallerClasses classes, Caller& caller) {
  bool admin = allows(classes, CallerClass::kAdmin);
  bool downstream = allows(classes, CallerClass::kDownstream);
  if (!admin && !downstream) {
    return false;
  }
  EntryFilter filter;
  filter.spiffe_id = caller.id();
  Page<Entry> entries = TRY(
      deps_.datastore.list_entries(filter, std::nullopt).during("failed to fetch caller entries"));
  for (Entry& entry : entries.items) {
    if (admin && entry.admin) {
      caller.authorized_as = "admin";
      caller.authorized_via = "entries";
      return true;
    }
    if (downstream && entry.downstream) {
      caller.downstream_entries.push_back(std::move(entry));
    }
  }
  if (caller.downstream_entries.empty()) {
    return false;
  }
  caller.authorized_as = "downstream";
  caller.authorized_via = "entries";
  return true;
}

Result<void> Authorizer::check_agent(Caller& caller) {
  const spiffe::SpiffeId& id = *caller.id();
  const std::string& serial = caller.peer().leaf_serial;
  if (deps_.clock.now() > caller.peer().leaf_not_after) {
    LOG_ERROR(caller.log(), "Agent SVID is expired");
    return denied(PermissionDeniedDetails::AGENT_EXPIRED,
                  fmt::format("agent \"{}\" SVID is expired", id.text()));
  }
  auto node = TRY(nodes_.get(id, serial).during("unable to look up agent information"));
  if (!node || node->banned() || node->new_serial != serial || node->serial == serial) {
    return check_node(caller, node);
  }
  // The first use of a renewed SVID makes it the current one. What counts is the answer: the agent
  // may have been banned since the record was read.
  auto activated = deps_.datastore.activate_node_serial(id, serial);
  if (!activated.ok()) {
    LOG_WARN(caller.log(), "Unable to activate the new agent SVID", {"svid_serial_num", serial},
             {"serial_num", node->serial}, {"error", activated.error()});
    return internal(
        fmt::format("unable to activate the new agent SVID: {}", activated.error().message));
  }
  return check_node(caller,
                    *activated ? std::make_shared<const AttestedNode>(**activated) : nullptr);
}

Result<void> Authorizer::check_node(Caller& caller, const AttestedNodePtr& node) {
  const std::string& id = caller.id()->text();
  const std::string& serial = caller.peer().leaf_serial;
  if (!node) {
    LOG_ERROR(caller.log(), "Agent is not attested");
    return denied(PermissionDeniedDetails::AGENT_NOT_ATTESTED,
                  fmt::format("agent \"{}\" is not attested", id));
  }
  if (node->banned()) {
    LOG_ERROR(caller.log(), "Agent is banned");
    return denied(PermissionDeniedDetails::AGENT_BANNED, fmt::format("agent \"{}\" is banned", id));
  }
  if (node->serial == serial) {
    return {};
  }
  LOG_ERROR(caller.log(), "Agent SVID is not active", {"svid_serial_num", serial},
            {"serial_num", node->serial});
  return denied(PermissionDeniedDetails::AGENT_NOT_ACTIVE,
                fmt::format("agent \"{}\" expected to have serial number \"{}\"; has \"{}\"", id,
                            node->serial, serial));
}

}  // namespace steeple::server
