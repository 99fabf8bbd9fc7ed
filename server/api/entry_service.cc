// SPDX-License-Identifier: Apache-2.0

// spire.api.server.entry.v1.Entry but for SyncAuthorizedEntries: registration entries by
// administrators, and what an agent may have. A batch is one transaction of the datastore; its
// items succeed or fail on their own.

#include <fmt/ranges.h>

#include "server/api/convert.h"
#include "server/api/entry_wire.h"
#include "server/api/failure.h"
#include "server/api/services.h"
#include "server/registration/entry_validation.h"
#include "spire/api/server/entry/v1/entry.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::entry::v1;  // NOLINT(google-build-using-namespace): messages
using spire::api::types::EntryMask;
using ProtoEntry = spire::api::types::Entry;

constexpr std::string_view kService = "/spire.api.server.entry.v1.Entry/";

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

class EntryService {
 public:
  explicit EntryService(const ServiceDeps& deps) : deps_(deps) {}

  Result<CountEntriesResponse> count(Caller& caller, const CountEntriesRequest& request) const {
    EntryFilter filter;
    if (request.has_filter()) {
      filter = TRY(read_filter(caller, request.filter()));
    }
    Result<std::int32_t> count = deps_.datastore.count_entries(filter);
    if (!count.ok()) {
      return fail(caller, Code::kInternal, "failed to count entries", count.error());
    }
    CountEntriesResponse response;
    response.set_count(*count);
    return response;
  }

  // As wire bytes, without building messages: operators' tools list everything, often.
  Result<Bytes> list(Caller& caller, ByteView raw) const {
    ListEntriesRequest request;
    if (!request.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
      return internal("grpc: error unmarshalling request");
    }
    Result<Bytes> page = list_page(caller, request);
    if (caller.audit.enabled()) {
      caller.audit.finish(caller.log(), page.ok() ? Result<void>() : Result<void>(page.error()));
    }
    return page;
  }

  Result<ProtoEntry> get(Caller& caller, const GetEntryRequest& request) const {
    if (request.id().empty()) {
      return fail(caller, Code::kInvalidArgument, "missing ID");
    }
    caller.audit.add({"entry_id", request.id()});
    auto entry = deps_.datastore.fetch_entry(request.id());
    if (!entry.ok()) {
      return fail(caller, Code::kInternal, "failed to fetch entry", entry.error());
    }
    if (!*entry) {
      return fail(caller, Code::kNotFound, "entry not found");
    }
    ProtoEntry proto;
    entry_to_proto(**entry, output_mask_of(request), proto);
    return proto;
  }

  Result<BatchCreateEntryResponse> create(Caller& caller,
                                          const BatchCreateEntryRequest& request) const {
    BatchCreateEntryResponse response;
    std::vector<Entry> entries;
    std::vector<int> places;  // of each entry among the results
    for (int i = 0; i < request.entries_size(); ++i) {
      auto* result = response.add_results();
      Result<Entry> entry = entry_from_proto(deps_.trust_domain, request.entries(i));
      if (entry.ok()) {
        entries.push_back(std::move(*entry));
        places.push_back(i);
      } else {
        set_status(fail(caller, Code::kInvalidArgument, "failed to convert entry", entry.error()),
                   *result->mutable_status());
      }
    }
    auto created = deps_.datastore.create_entries(std::move(entries));
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Error* error = !created.ok()         ? &created.error()
                           : !(*created)[i].ok() ? &(*created)[i].error()
                                                 : nullptr;
      auto* result = response.mutable_results(places[i]);
      if (error != nullptr) {
        set_status(fail(caller, known(error->code), "failed to create entry", *error),
                   *result->mutable_status());
        continue;
      }
      const CreatedEntry& done = *(*created)[i];
      entry_to_proto(done.entry, output_mask_of(request), *result->mutable_entry());
      set_status(done.already_existed ? Result<void>(already_exists("similar entry already exists"))
                                      : Result<void>(),
                 *result->mutable_status());
    }
    for (int i = 0; i < request.entries_size(); ++i) {
      audit(caller, response.results(i).status(), request.entries(i), nullptr);
    }
    return response;
  }

  Result<BatchUpdateEntryResponse> update(Caller& caller,
                                          const BatchUpdateEntryRequest& request) const {
    const EntryMask* input = request.has_input_mask() ? &request.input_mask() : nullptr;
    BatchUpdateEntryResponse response;
    std::vector<Datastore::EntryUpdate> updates;
    std::vector<int> places;
    for (int i = 0; i < request.entries_size(); ++i) {
      auto* result = response.add_results();
      auto change = entry_change_from_proto(deps_.trust_domain, request.entries(i), input);
      if (change.ok()) {
        updates.push_back({.entry = std::move(change->entry), .mask = change->mask});
        places.push_back(i);
      } else {
        set_status(fail(caller, Code::kInvalidArgument, "failed to convert entry", change.error()),
                   *result->mutable_status());
      }
    }
    auto updated = deps_.datastore.update_entries(std::move(updates));
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Error* error = !updated.ok()         ? &updated.error()
                           : !(*updated)[i].ok() ? &(*updated)[i].error()
                                                 : nullptr;
      auto* result = response.mutable_results(places[i]);
      if (error != nullptr) {
        set_status(fail(caller, known(error->code), "failed to update entry", *error),
                   *result->mutable_status());
        continue;
      }
      entry_to_proto(*(*updated)[i], output_mask_of(request), *result->mutable_entry());
      set_status({}, *result->mutable_status());
    }
    for (int i = 0; i < request.entries_size(); ++i) {
      audit(caller, response.results(i).status(), request.entries(i), input);
    }
    return response;
  }

  Result<BatchDeleteEntryResponse> remove(Caller& caller,
                                          const BatchDeleteEntryRequest& request) const {
    BatchDeleteEntryResponse response;
    std::vector<std::string> ids;
    std::vector<int> places;
    for (int i = 0; i < request.ids_size(); ++i) {
      auto* result = response.add_results();
      result->set_id(request.ids(i));
      if (request.ids(i).empty()) {
        set_status(fail(caller, Code::kInvalidArgument, "missing entry ID"),
                   *result->mutable_status());
      } else {
        ids.push_back(request.ids(i));
        places.push_back(i);
      }
    }
    auto removed = deps_.datastore.delete_entries(ids);
    for (std::size_t i = 0; i < places.size(); ++i) {
      Result<void> status;
      if (!removed.ok()) {
        status = fail(caller, Code::kInternal, "failed to delete entry", removed.error());
      } else if (!(*removed)[i].ok()) {
        const Error& error = (*removed)[i].error();
        status = error.code == Code::kNotFound
                     ? fail(caller, Code::kNotFound, "entry not found")
                     : fail(caller, Code::kInternal, "failed to delete entry", error);
      }
      set_status(status, *response.mutable_results(places[i])->mutable_status());
    }
    for (const auto& result : response.results()) {
      if (caller.audit.enabled()) {
        caller.audit.item(caller.log(), status_of(result.status()), {{"entry_id", result.id()}});
      }
    }
    return response;
  }

  // Straight from the index's wire bytes: this is what agents ask all day.
  Result<Bytes> authorized(Caller& caller, ByteView raw) const {
    GetAuthorizedEntriesRequest request;
    if (!request.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
      return internal("grpc: error unmarshalling request");
    }
    auto entries = deps_.index.authorized_entries(caller.id()->text());
    EntryFields fields = fields_of(output_mask_of(request));
    Bytes out;
    for (const IndexedEntryPtr& entry : entries->entries) {
      append_entry(kGetAuthorizedEntriesField, *entry, fields, out);
    }
    if (caller.audit.enabled()) {
      caller.audit.finish(caller.log(), {});
    }
    return out;
  }

 private:
  Result<Bytes> list_page(Caller& caller, const ListEntriesRequest& request) const {
    EntryFilter filter;
    if (request.has_filter()) {
      filter = TRY(read_filter(caller, request.filter()));
    }
    std::optional<Pagination> page;
    if (request.page_size() > 0) {
      page = Pagination{.token = request.page_token(), .page_size = request.page_size()};
    }
    Result<Page<Entry>> found = deps_.datastore.list_entries(filter, page);
    if (!found.ok()) {
      return fail(caller, Code::kInternal, "failed to list entries", found.error());
    }
    EntryFields fields = fields_of(output_mask_of(request));
    Bytes out;
    for (const Entry& entry : found->items) {
      append_entry(kListEntriesField, IndexedEntry(entry), fields, out);
    }
    if (!found->next.empty()) {
      append_bytes_field(kListNextPageField, found->next, out);
    }
    return out;
  }

  // The datastore's own failures are internal; what a rule of it refused keeps its code.
  static Code known(Code code) { return code == Code::kUnknown ? Code::kInternal : code; }

  static Result<void> status_of(const spire::api::types::Status& status) {
    if (status.code() == 0) {
      return {};
    }
    return Error{static_cast<Code>(status.code()), status.message()};
  }

  static void audit(Caller& caller, const spire::api::types::Status& status,
                    const ProtoEntry& entry, const EntryMask* mask) {
    if (!caller.audit.enabled()) {
      return;
    }
    std::vector<LogField> fields;
    auto wants = [mask](bool field) { return mask == nullptr || field; };
    if (!entry.id().empty()) {
      fields.push_back({"entry_id", entry.id()});
    }
    if (mask == nullptr || mask->spiffe_id()) {
      if (auto id = id_from_proto(entry.has_spiffe_id() ? &entry.spiffe_id() : nullptr); id.ok()) {
        fields.push_back({"spiffe_id", id->text()});
      }
    }
    if (mask == nullptr || mask->parent_id()) {
      if (auto id = id_from_proto(entry.has_parent_id() ? &entry.parent_id() : nullptr); id.ok()) {
        fields.push_back({"parent_id", id->text()});
      }
    }
    if (wants(mask != nullptr && mask->selectors()) && entry.selectors_size() > 0) {
      std::vector<std::string> selectors;
      for (const auto& selector : entry.selectors()) {
        selectors.push_back(selector.type() + ":" + selector.value());
      }
      fields.push_back({"selectors", fmt::format("{}", fmt::join(selectors, ","))});
    }
    fields.push_back({"x509_svid_ttl", entry.x509_svid_ttl()});
    fields.push_back({"jwt_svid_ttl", entry.jwt_svid_ttl()});
    fields.push_back({"admin", entry.admin()});
    fields.push_back({"downstream", entry.downstream()});
    fields.push_back({"expires_at", entry.expires_at()});
    fields.push_back({"revision_number", entry.revision_number()});
    fields.push_back({"store_svid", entry.store_svid()});
    fields.push_back({"hint", entry.hint()});
    fields.push_back({"created_at", entry.created_at()});
    caller.audit.item(caller.log(), status_of(status), std::move(fields));
  }

  // The filters that list and count share.
  template <class Filter>
  Result<EntryFilter> read_filter(Caller& caller, const Filter& proto) const {
    EntryFilter filter;
    if (proto.has_by_hint() && !proto.by_hint().value().empty()) {
      filter.hint = proto.by_hint().value();
    }
    if (proto.has_by_parent_id()) {
      auto id = member_id_from_proto(deps_.trust_domain, &proto.by_parent_id());
      if (!id.ok()) {
        return fail(caller, Code::kInvalidArgument, "malformed parent ID filter", id.error());
      }
      filter.parent_id = std::move(*id);
    }
    if (proto.has_by_spiffe_id()) {
      auto id = workload_id_from_proto(deps_.trust_domain, &proto.by_spiffe_id());
      if (!id.ok()) {
        return fail(caller, Code::kInvalidArgument, "malformed SPIFFE ID filter", id.error());
      }
      filter.spiffe_id = std::move(*id);
    }
    if (proto.has_by_selectors()) {
      auto selectors = selectors_from_proto(proto.by_selectors().selectors());
      if (selectors.ok() && selectors->empty()) {
        selectors = invalid_argument("empty selector set");
      }
      if (!selectors.ok()) {
        return fail(caller, Code::kInvalidArgument, "malformed selectors filter",
                    selectors.error());
      }
      filter.selectors = SelectorFilter{.selectors = std::move(*selectors),
                                        .match = match_of(proto.by_selectors().match())};
    }
    if (proto.has_by_federates_with()) {
      filter.federates_with = TRY(read_trust_domains(caller, proto.by_federates_with()));
    }
    // Command lines always send the flag; "false" means that nobody asked.
    if (proto.has_by_downstream() && proto.by_downstream().value()) {
      filter.downstream = true;
    }
    return filter;
  }

  template <class FederatesWith>
  static Result<TrustDomainFilter> read_trust_domains(Caller& caller, const FederatesWith& proto) {
    TrustDomainFilter filter;
    for (const std::string& name : proto.trust_domains()) {
      auto domain = spiffe::TrustDomain::parse(name);
      if (!domain.ok()) {
        return fail(caller, Code::kInvalidArgument, "malformed federates with filter",
                    domain.error());
      }
      filter.trust_domains.push_back(std::move(*domain));
    }
    if (filter.trust_domains.empty()) {
      Error empty = invalid_argument("empty trust domain set");
      return fail(caller, Code::kInvalidArgument, "malformed federates with filter", empty);
    }
    filter.match = match_of(proto.match());
    return filter;
  }

  const ServiceDeps& deps_;
};

}  // namespace

void register_entry_service(Endpoint& endpoint, const ServiceDeps& deps) {
  auto service = std::make_shared<const EntryService>(deps);
  endpoint.unary<CountEntriesRequest, CountEntriesResponse>(
      method("CountEntries"),
      [service](Caller& caller, const auto& request) { return service->count(caller, request); });
  endpoint.server().unary(method("ListEntries"), rpc::Where::kWorker,
                          [service](rpc::CallContext& call, ByteView raw) {
                            return service->list(caller_of(call), raw);
                          });
  endpoint.unary<GetEntryRequest, ProtoEntry>(
      method("GetEntry"),
      [service](Caller& caller, const auto& request) { return service->get(caller, request); });
  endpoint.unary<BatchCreateEntryRequest, BatchCreateEntryResponse>(
      method("BatchCreateEntry"),
      [service](Caller& caller, const auto& request) { return service->create(caller, request); });
  endpoint.unary<BatchUpdateEntryRequest, BatchUpdateEntryResponse>(
      method("BatchUpdateEntry"),
      [service](Caller& caller, const auto& request) { return service->update(caller, request); });
  endpoint.unary<BatchDeleteEntryRequest, BatchDeleteEntryResponse>(
      method("BatchDeleteEntry"),
      [service](Caller& caller, const auto& request) { return service->remove(caller, request); });
  endpoint.server().unary(method("GetAuthorizedEntries"), rpc::Where::kWorker,
                          [service](rpc::CallContext& call, ByteView raw) {
                            return service->authorized(caller_of(call), raw);
                          });
  register_sync_entries(endpoint, deps);
  endpoint.server().describe(
      BatchCreateEntryRequest::descriptor()->file()->FindServiceByName("Entry"));
}

}  // namespace steeple::server
