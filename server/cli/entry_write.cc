// SPDX-License-Identifier: Apache-2.0

// `entry create`, `entry update` and `entry delete`.

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <limits>
#include <ostream>

#include "server/cli/client.h"
#include "server/cli/commands.h"
#include "server/cli/entry_print.h"
#include "spiffe/spiffe_id.h"
#include "spire/api/server/entry/v1/entry.pb.h"
#include "spire/common/common.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::entry::v1;  // NOLINT(google-build-using-namespace): messages
using ProtoEntry = spire::api::types::Entry;
using EntryList = google::protobuf::RepeatedPtrField<ProtoEntry>;

constexpr std::string_view kService = "/spire.api.server.entry.v1.Entry/";

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

struct WriteFlags : ClientFlags {
  std::string data, entry_id, parent_id, spiffe_id, hint;
  std::int64_t x509_svid_ttl = 0;
  std::int64_t jwt_svid_ttl = 0;
  std::int64_t entry_expiry = 0;
  std::vector<std::string> selectors, federates_with, dns_names;
  bool node = false;
  bool admin = false;
  bool store_svid = false;
  bool downstream = false;
  bool disable_prefetch = false;
  bool include_jti = false;
};

void bind_common(cli::FlagSet& flags, WriteFlags& to) {
  bind_client(flags, to);
  flags.add("parentID", &to.parent_id, "The SPIFFE ID of this record's parent");
  flags.add("spiffeID", &to.spiffe_id, "The SPIFFE ID that this record represents");
  flags.add("x509SVIDTTL", &to.x509_svid_ttl,
            "The lifetime, in seconds, for x509-SVIDs issued based on this registration entry.");
  flags.add("jwtSVIDTTL", &to.jwt_svid_ttl,
            "The lifetime, in seconds, for JWT-SVIDs issued based on this registration entry.");
  flags.add("data", &to.data,
            "Path to a file containing registration JSON (optional). If set to '-', read the JSON "
            "from stdin.");
  flags.add("selector", &to.selectors,
            "A colon-delimited type:value selector. Can be used more than once");
  flags.add("federatesWith", &to.federates_with,
            "SPIFFE ID of a trust domain to federate with. Can be used more than once");
  flags.add("admin", &to.admin,
            "If set, the SPIFFE ID in this entry will be granted access to the SPIRE Server's "
            "management APIs");
  flags.add("storeSVID", &to.store_svid,
            "A boolean value that, when set, indicates that the resulting issued SVID from this "
            "entry must be stored through an SVIDStore plugin");
  flags.add("downstream", &to.downstream,
            "A boolean value that, when set, indicates that the entry describes a downstream SPIRE "
            "server");
  flags.add("entryExpiry", &to.entry_expiry,
            "An expiry, from epoch in seconds, for the resulting registration entry to be pruned");
  flags.add("dns", &to.dns_names,
            "A DNS name that will be included in SVIDs issued based on this entry, where "
            "appropriate. Can be used more than once");
  flags.add("hint", &to.hint,
            "The entry hint, used to disambiguate entries with the same SPIFFE ID");
  flags.add("disableX509SVIDPrefetch", &to.disable_prefetch,
            "A boolean value that, when set, disables prefetching X509 SVID for this entry");
  flags.add("jwtSVIDIncludeJTI", &to.include_jti,
            "A boolean value that, when set, includes a unique 'jti' claim in JWT-SVIDs issued for "
            "this entry and bypasses the agent JWT-SVID cache");
}

void bind_create(cli::FlagSet& flags, WriteFlags& to) {
  bind_common(flags, to);
  flags.add("entryID", &to.entry_id,
            "A custom ID for this registration entry (optional). If not set, a new entry ID will "
            "be generated");
  flags.add("node", &to.node,
            "If set, this entry will be applied to matching nodes rather than workloads");
}

void bind_update(cli::FlagSet& flags, WriteFlags& to) {
  bind_common(flags, to);
  flags.add("entryID", &to.entry_id, "The Registration Entry ID of the record to update");
}

Result<void> check(const WriteFlags& flags, bool update) {
  if (update && flags.entry_id.empty()) {
    return invalid_argument("entry ID is required");
  }
  if (flags.selectors.empty()) {
    return invalid_argument("at least one selector is required");
  }
  if (flags.node && !flags.federates_with.empty()) {
    return invalid_argument("node entries can not federate");
  }
  if (flags.parent_id.empty() && !flags.node) {
    return invalid_argument(update ? "a parent ID is required"
                                   : "a parent ID is required if the node flag is not set");
  }
  if (flags.spiffe_id.empty()) {
    return invalid_argument("a SPIFFE ID is required");
  }
  if (flags.x509_svid_ttl < 0) {
    return invalid_argument("a positive x509-SVID TTL is required");
  }
  if (flags.jwt_svid_ttl < 0) {
    return invalid_argument("a positive JWT-SVID TTL is required");
  }
  return {};
}

Result<std::int32_t> ttl_of(std::int64_t value, std::string_view what) {
  if (value > std::numeric_limits<std::int32_t>::max()) {
    return invalid_argument(
        fmt::format("invalid value for {} TTL: overflow converting {} to int32", what, value));
  }
  return static_cast<std::int32_t>(value);
}

Result<ProtoEntry> entry_of(const WriteFlags& flags) {
  ProtoEntry entry;
  entry.set_id(flags.entry_id);
  TRY(id_to_proto(flags.spiffe_id, *entry.mutable_spiffe_id()));
  if (flags.node) {
    entry.mutable_parent_id()->set_trust_domain(entry.spiffe_id().trust_domain());
    entry.mutable_parent_id()->set_path("/spire/server");
  } else {
    TRY(id_to_proto(flags.parent_id, *entry.mutable_parent_id()));
  }
  entry.set_x509_svid_ttl(TRY(ttl_of(flags.x509_svid_ttl, "X509 SVID")));
  entry.set_jwt_svid_ttl(TRY(ttl_of(flags.jwt_svid_ttl, "JWT SVID")));
  for (const std::string& selector : flags.selectors) {
    TRY(selector_to_proto(selector, *entry.add_selectors()));
  }
  for (const std::string& domain : flags.federates_with) {
    entry.add_federates_with(domain);
  }
  for (const std::string& name : flags.dns_names) {
    entry.add_dns_names(name);
  }
  entry.set_admin(flags.admin);
  entry.set_store_svid(flags.store_svid);
  entry.set_downstream(flags.downstream);
  entry.set_expires_at(flags.entry_expiry);
  entry.set_hint(flags.hint);
  if (flags.disable_prefetch || flags.include_jti) {
    entry.mutable_additional_attributes()->set_disable_x509_svid_prefetch(flags.disable_prefetch);
    entry.mutable_additional_attributes()->set_jwt_svid_include_jti(flags.include_jti);
  }
  return entry;
}

Result<ProtoEntry> entry_of(const spire::common::RegistrationEntry& from) {
  ProtoEntry entry;
  entry.set_id(from.entry_id());
  TRY(id_to_proto(from.spiffe_id(), *entry.mutable_spiffe_id()).during("invalid SPIFFE ID"));
  TRY(id_to_proto(from.parent_id(), *entry.mutable_parent_id()).during("invalid parent ID"));
  for (const auto& selector : from.selectors()) {
    entry.add_selectors()->set_type(selector.type());
    entry.mutable_selectors(entry.selectors_size() - 1)->set_value(selector.value());
  }
  for (const std::string& name : from.federates_with()) {
    auto domain = TRY(spiffe::TrustDomain::parse(name).during("invalid federated trust domain"));
    entry.add_federates_with(domain.name());
  }
  entry.set_x509_svid_ttl(from.x509_svid_ttl());
  entry.set_jwt_svid_ttl(from.jwt_svid_ttl());
  entry.set_admin(from.admin());
  entry.set_downstream(from.downstream());
  entry.set_expires_at(from.entryexpiry());
  *entry.mutable_dns_names() = from.dns_names();
  entry.set_revision_number(from.revision_number());
  entry.set_store_svid(from.store_svid());
  entry.set_hint(from.hint());
  entry.set_created_at(from.created_at());
  if (from.has_additional_attributes()) {
    auto* to = entry.mutable_additional_attributes();
    to->set_disable_x509_svid_prefetch(from.additional_attributes().disable_x509_svid_prefetch());
    to->set_jwt_svid_include_jti(from.additional_attributes().jwt_svid_include_jti());
  }
  return entry;
}

// {"entries": [{spiffe_id, parent_id, selectors: [{type, value}], ...}]}
Result<EntryList> read_entries(const std::string& path, cli::Environment& environment) {
  std::string json = TRY(read_input(path, environment));
  spire::common::RegistrationEntries file;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  auto parsed = google::protobuf::util::JsonStringToMessage(json, &file, options);
  if (!parsed.ok()) {
    return invalid_argument(parsed.message().as_string());
  }
  EntryList entries;
  for (const auto& entry : file.entries()) {
    *entries.Add() = TRY(entry_of(entry));
  }
  return entries;
}

Result<EntryList> wanted_entries(const WriteFlags& flags, bool update,
                                 cli::Environment& environment) {
  if (!flags.data.empty()) {
    return read_entries(flags.data, environment);
  }
  TRY(check(flags, update));
  EntryList entries;
  *entries.Add() = TRY(entry_of(flags));
  return entries;
}

// Prints what went well, then what did not, with the entry as it was asked for.
template <class Response>
Result<void> print_results(const Response& response, std::string_view verb,
                           cli::Environment& environment) {
  int failed = 0;
  for (const auto& result : response.results()) {
    if (result.status().code() == 0) {
      print_entry(result.entry(), environment.out);
    }
  }
  for (const auto& result : response.results()) {
    if (result.status().code() != 0) {
      ++failed;
      environment.err << fmt::format("Failed to {} the following entry (code: {}, msg: {}):\n",
                                     verb, code_name(static_cast<Code>(result.status().code())),
                                     quote(result.status().message()));
      print_entry(result.entry(), environment.err);
    }
  }
  if (failed > 0) {
    return internal(fmt::format("failed to {} one or more entries", verb));
  }
  return {};
}

template <class Request, class Response>
Result<void> write(const WriteFlags& flags, bool update, cli::Environment& environment) {
  EntryList entries = TRY(wanted_entries(flags, update, environment));
  auto client = TRY(ServerClient::connect(flags, environment));
  Request request;
  *request.mutable_entries() = entries;
  auto response =
      TRY(client.call<Response>(method(update ? "BatchUpdateEntry" : "BatchCreateEntry"), request));
  for (int i = 0; i < response.results_size() && i < entries.size(); ++i) {
    if (response.results(i).status().code() != 0) {
      *response.mutable_results(i)->mutable_entry() = entries.Get(i);
    }
  }
  return cli::print(flags.output, environment, {&response}, [&](cli::Environment& env) {
    return print_results(response, update ? "update" : "create", env);
  });
}

Result<void> create(const WriteFlags& flags, cli::Environment& environment) {
  return write<BatchCreateEntryRequest, BatchCreateEntryResponse>(flags, false, environment);
}

Result<void> update(const WriteFlags& flags, cli::Environment& environment) {
  return write<BatchUpdateEntryRequest, BatchUpdateEntryResponse>(flags, true, environment);
}

// --- delete ---

struct DeleteFlags : ClientFlags {
  std::string entry_id, file;
};

void bind_delete(cli::FlagSet& flags, DeleteFlags& to) {
  bind_client(flags, to);
  flags.add("entryID", &to.entry_id, "The Registration Entry ID of the record to delete.");
  flags.add("file", &to.file,
            "Path to a file containing a JSON structure for batch deletion (optional). If set to "
            "'-', read from stdin.");
}

Result<void> print_deleted(const BatchDeleteEntryResponse& response,
                           cli::Environment& environment) {
  int deleted = 0;
  int failed = 0;
  for (const auto& result : response.results()) {
    if (result.status().code() == 0) {
      ++deleted;
      environment.out << fmt::format("Deleted entry with ID: {}\n", result.id());
    }
  }
  environment.out << (deleted > 0 ? "\n\n" : "");
  for (const auto& result : response.results()) {
    if (result.status().code() != 0) {
      ++failed;
      environment.err << fmt::format(
          "Failed to delete entry with ID {} (code: {}, msg: {})\n", result.id(),
          code_name(static_cast<Code>(result.status().code())), quote(result.status().message()));
    }
  }
  environment.out << (failed > 0 ? "\n\n" : "");
  if (failed == 0) {
    environment.out << fmt::format("Deleted {} entries successfully", deleted);
    return {};
  }
  environment.out << (deleted > 0
                          ? fmt::format("Deleted {} entries successfully, but failed to delete {} "
                                        "entries",
                                        deleted, failed)
                          : fmt::format("Failed to delete {} entries", failed));
  return internal("failed to delete one or more entries");
}

Result<void> remove(const DeleteFlags& flags, cli::Environment& environment) {
  BatchDeleteEntryRequest request;
  if (!flags.file.empty()) {
    std::string json = TRY(read_input(flags.file, environment));
    auto parsed = google::protobuf::util::JsonStringToMessage(json, &request);
    if (!parsed.ok()) {
      return invalid_argument(parsed.message().as_string());
    }
  } else if (flags.entry_id.empty()) {
    return invalid_argument("an entry ID is required");
  } else {
    request.add_ids(flags.entry_id);
  }
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response = TRY(client.call<BatchDeleteEntryResponse>(method("BatchDeleteEntry"), request));
  return cli::print(flags.output, environment, {&response},
                    [&](cli::Environment& env) { return print_deleted(response, env); });
}

}  // namespace

void add_entry_write_commands(std::vector<cli::Command>& table) {
  table.push_back(cli::command<WriteFlags>("entry create", "Creates registration entries",
                                           bind_create, create));
  table.push_back(cli::command<WriteFlags>("entry update", "Updates registration entries",
                                           bind_update, update));
  table.push_back(cli::command<DeleteFlags>("entry delete", "Deletes registration entries",
                                            bind_delete, remove));
}

}  // namespace steeple::server
