// SPDX-License-Identifier: Apache-2.0

// `entry show` (and its alias `entry list`) and `entry count`.

#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <tuple>

#include "server/cli/client.h"
#include "server/cli/commands.h"
#include "server/cli/entry_print.h"
#include "spire/api/server/entry/v1/entry.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::entry::v1;  // NOLINT(google-build-using-namespace): messages
using ProtoEntry = spire::api::types::Entry;

constexpr std::string_view kService = "/spire.api.server.entry.v1.Entry/";
constexpr std::int32_t kPageSize = 500;

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

struct ReadFlags : ClientFlags {
  std::string entry_id, parent_id, spiffe_id, hint;
  std::string match_selectors = "superset";
  std::string match_federates = "superset";
  std::vector<std::string> selectors, federates_with;
  bool downstream = false;
};

void bind_filter(cli::FlagSet& flags, ReadFlags& to, std::string_view verb) {
  bind_client(flags, to);
  flags.add("parentID", &to.parent_id, fmt::format("The Parent ID of the records to {}", verb));
  flags.add("spiffeID", &to.spiffe_id, fmt::format("The SPIFFE ID of the records to {}", verb));
  flags.add("hint", &to.hint, fmt::format("The Hint of the records to {} (optional)", verb));
  flags.add("downstream", &to.downstream,
            "A boolean value that, when set, indicates that the entry describes a downstream SPIRE "
            "server");
  flags.add("selector", &to.selectors,
            "A colon-delimited type:value selector. Can be used more than once");
  flags.add("federatesWith", &to.federates_with,
            "SPIFFE ID of a trust domain an entry is federate with. Can be used more than once");
  flags.add("matchFederatesWithOn", &to.match_federates,
            "The match mode used when filtering by federates with. Options: exact, any, superset "
            "and subset");
  flags.add("matchSelectorsOn", &to.match_selectors,
            "The match mode used when filtering by selectors. Options: exact, any, superset and "
            "subset");
}

void bind_show(cli::FlagSet& flags, ReadFlags& to) {
  bind_filter(flags, to, "show");
  flags.add("entryID", &to.entry_id, "The Entry ID of the records to show");
}

void bind_count(cli::FlagSet& flags, ReadFlags& to) { bind_filter(flags, to, "count"); }

template <class Filter>
Result<void> fill_filter(const ReadFlags& flags, Filter& filter) {
  if (!flags.parent_id.empty()) {
    TRY(id_to_proto(flags.parent_id, *filter.mutable_by_parent_id())
            .during(fmt::format("error parsing parent ID \"{}\"", flags.parent_id)));
  }
  if (!flags.spiffe_id.empty()) {
    TRY(id_to_proto(flags.spiffe_id, *filter.mutable_by_spiffe_id())
            .during(fmt::format("error parsing SPIFFE ID \"{}\"", flags.spiffe_id)));
  }
  if (!flags.selectors.empty()) {
    auto* match = filter.mutable_by_selectors();
    match->set_match(TRY(parse_match(flags.match_selectors)));
    for (const std::string& selector : flags.selectors) {
      TRY(selector_to_proto(selector, *match->add_selectors()).during("error parsing selectors"));
    }
  }
  if (!flags.federates_with.empty()) {
    auto* match = filter.mutable_by_federates_with();
    match->set_match(static_cast<spire::api::types::FederatesWithMatch::MatchBehavior>(
        TRY(parse_match(flags.match_federates))));
    for (const std::string& domain : flags.federates_with) {
      match->add_trust_domains(domain);
    }
  }
  if (!flags.hint.empty()) {
    filter.mutable_by_hint()->set_value(flags.hint);
  }
  filter.mutable_by_downstream()->set_value(flags.downstream);
  return {};
}

Result<ListEntriesResponse> fetch(const ReadFlags& flags, cli::Environment& environment) {
  ListEntriesResponse all;
  if (!flags.entry_id.empty()) {
    GetEntryRequest request;
    request.set_id(flags.entry_id);
    auto client = TRY(ServerClient::connect(flags, environment));
    *all.add_entries() =
        TRY(client.call<ProtoEntry>(method("GetEntry"), request)
                .during(fmt::format("error fetching entry ID {}", flags.entry_id)));
    return all;
  }
  ListEntriesRequest request;
  TRY(fill_filter(flags, *request.mutable_filter()));
  request.set_page_size(kPageSize);
  auto client = TRY(ServerClient::connect(flags, environment));
  do {
    auto page = TRY(client.call<ListEntriesResponse>(method("ListEntries"), request)
                        .during("error fetching entries"));
    all.mutable_entries()->MergeFrom(page.entries());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

// SPIFFE ID, parent, then selectors.
bool before(const ProtoEntry& a, const ProtoEntry& b) {
  auto key = [](const ProtoEntry& entry) {
    std::string selectors;
    for (const auto& selector : entry.selectors()) {
      selectors += selector.type() + ":" + selector.value() + "\n";
    }
    return std::tuple(id_text(entry.spiffe_id()), id_text(entry.parent_id()), std::move(selectors));
  };
  return key(a) < key(b);
}

Result<void> show(const ReadFlags& flags, cli::Environment& environment) {
  if (!flags.entry_id.empty() &&
      (!flags.parent_id.empty() || !flags.spiffe_id.empty() || !flags.selectors.empty())) {
    return invalid_argument("the -entryID flag can't be combined with others");
  }
  auto response = TRY(fetch(flags, environment));
  std::stable_sort(response.mutable_entries()->begin(), response.mutable_entries()->end(), before);
  return cli::print(
      flags.output, environment, {&response}, [&](cli::Environment& env) -> Result<void> {
        env.out << "Found " << plural(response.entries_size(), "entry", "entries") << "\n";
        for (const ProtoEntry& entry : response.entries()) {
          print_entry(entry, env.out);
        }
        return {};
      });
}

Result<void> count(const ReadFlags& flags, cli::Environment& environment) {
  CountEntriesRequest request;
  TRY(fill_filter(flags, *request.mutable_filter()));
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response = TRY(client.call<CountEntriesResponse>(method("CountEntries"), request));
  return cli::print(
      flags.output, environment, {&response}, [&](cli::Environment& env) -> Result<void> {
        env.out << plural(response.count(), "registration entry", "registration entries") << "\n";
        return {};
      });
}

}  // namespace

void add_entry_read_commands(std::vector<cli::Command>& table) {
  table.push_back(
      cli::command<ReadFlags>("entry count", "Count registration entries", bind_count, count));
  table.push_back(cli::command<ReadFlags>("entry show", "Displays configured registration entries",
                                          bind_show, show));
  table.push_back(cli::command<ReadFlags>(
      "entry list", "Displays configured registration entries (as show)", bind_show, show));
}

}  // namespace steeple::server
