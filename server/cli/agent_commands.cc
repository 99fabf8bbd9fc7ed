// SPDX-License-Identifier: Apache-2.0

// `agent list|count|show|ban|evict|purge` and `token generate`.

#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/wrappers.pb.h>

#include <ostream>

#include "lib/base/clock.h"
#include "server/cli/client.h"
#include "server/cli/commands.h"
#include "spire/api/server/agent/v1/agent.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::agent::v1;  // NOLINT(google-build-using-namespace): messages
using google::protobuf::Empty;
using ProtoAgent = spire::api::types::Agent;
using ProtoJoinToken = spire::api::types::JoinToken;

constexpr std::string_view kService = "/spire.api.server.agent.v1.Agent/";
constexpr std::int32_t kPageSize = 500;

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

// --- list, count ---

struct FilterFlags : ClientFlags {
  std::string attestation_type, expires_before;
  std::string match_selectors = "superset";
  std::vector<std::string> selectors;
  std::optional<bool> banned, can_reattest;
};

// "true" and "false" filter, everything else does not.
std::function<Result<void>(const std::string&)> set_optional_bool(std::optional<bool>& to) {
  return [&to](const std::string& text) -> Result<void> {
    to = text == "true"    ? std::optional(true)
         : text == "false" ? std::optional(false)
                           : std::nullopt;
    return {};
  };
}

void bind_filter(cli::FlagSet& flags, FilterFlags& to) {
  bind_client(flags, to);
  flags.add("attestationType", &to.attestation_type,
            "Filter by attestation type, like join_token or x509pop.");
  flags.add_value("banned", set_optional_bool(to.banned),
                  "Filter based on string received, 'true': banned agents, 'false': not banned "
                  "agents, other value will return all.");
  flags.add_value("canReattest", set_optional_bool(to.can_reattest),
                  "Filter based on string received, 'true': agents that can reattest, 'false': "
                  "agents that can't reattest, other value will return all.");
  flags.add("expiresBefore", &to.expires_before,
            "Filter by expiration time (format: \"2006-01-02 15:04:05 -0700 -07\")");
  flags.add("matchSelectorsOn", &to.match_selectors,
            "The match mode used when filtering by selectors. Options: exact, any, superset and "
            "subset");
  flags.add("selector", &to.selectors,
            "A colon-delimited type:value selector. Can be used more than once");
}

// "2006-01-02 15:04:05 -0700 -07": the server reads it; here only the shape is checked.
Result<void> check_date(const std::string& text) {
  constexpr std::string_view kShape = "0000-00-00 00:00:00 +0000 +00";
  bool good = text.size() == kShape.size();
  for (std::size_t i = 0; good && i < text.size(); ++i) {
    char want = kShape[i];
    good = want == '0'   ? text[i] >= '0' && text[i] <= '9'
           : want == '+' ? text[i] == '+' || text[i] == '-'
                         : text[i] == want;
  }
  if (!good) {
    constexpr std::string_view kLayout = "2006-01-02 15:04:05 -0700 -07";
    return invalid_argument(fmt::format(
        "date is not valid: parsing time \"{}\" as \"{}\": cannot parse \"{}\" as \"2006\"", text,
        kLayout, text));
  }
  return {};
}

template <class Filter>
Result<void> fill_filter(const FilterFlags& flags, Filter& filter) {
  filter.set_by_attestation_type(flags.attestation_type);
  if (flags.banned) {
    filter.mutable_by_banned()->set_value(*flags.banned);
  }
  if (flags.can_reattest) {
    filter.mutable_by_can_reattest()->set_value(*flags.can_reattest);
  }
  if (!flags.expires_before.empty()) {
    TRY(check_date(flags.expires_before));
    filter.set_by_expires_before(flags.expires_before);
  }
  if (!flags.selectors.empty()) {
    auto match = parse_match(flags.match_selectors);
    if (!match.ok()) {
      return invalid_argument("unsupported match behavior");
    }
    filter.mutable_by_selector_match()->set_match(*match);
    for (const std::string& selector : flags.selectors) {
      TRY(selector_to_proto(selector, *filter.mutable_by_selector_match()->add_selectors())
              .during("error parsing selector"));
    }
  }
  return {};
}

void print_agent(const ProtoAgent& agent, std::ostream& out) {
  auto line = [&out](std::string_view label, std::string_view value) {
    out << fmt::format("{:<18}: {}\n", label, value);
  };
  line("SPIFFE ID", id_text(agent.id()));
  line("Attestation type", agent.attestation_type());
  line("Expiration time", format_go_utc(from_unix_seconds(agent.x509svid_expires_at())));
  if (agent.banned()) {
    line("Banned", "true");
  } else {
    line("Serial number", agent.x509svid_serial_number());
  }
  line("Can re-attest", agent.can_reattest() ? "true" : "false");
  if (!agent.agent_version().empty()) {
    line("Agent version", agent.agent_version());
  }
  out << "\n";
}

Result<void> list(const FilterFlags& flags, cli::Environment& environment) {
  ListAgentsRequest request;
  TRY(fill_filter(flags, *request.mutable_filter()));
  request.set_page_size(kPageSize);
  auto client = TRY(ServerClient::connect(flags, environment));
  ListAgentsResponse all;
  do {
    auto page = TRY(client.call<ListAgentsResponse>(method("ListAgents"), request));
    all.mutable_agents()->MergeFrom(page.agents());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return cli::print(flags.output, environment, {&all}, [&](cli::Environment& env) -> Result<void> {
    if (all.agents().empty()) {
      env.out << "No attested agents found\n";
      return {};
    }
    env.out << "Found " << plural(all.agents_size(), "attested agent", "attested agents")
            << ":\n\n";
    for (const ProtoAgent& agent : all.agents()) {
      print_agent(agent, env.out);
    }
    return {};
  });
}

Result<void> count(const FilterFlags& flags, cli::Environment& environment) {
  CountAgentsRequest request;
  TRY(fill_filter(flags, *request.mutable_filter()));
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response = TRY(client.call<CountAgentsResponse>(method("CountAgents"), request));
  return cli::print(
      flags.output, environment, {&response}, [&](cli::Environment& env) -> Result<void> {
        env.out << plural(response.count(), "attested agent", "attested agents") << "\n";
        return {};
      });
}

// --- show, ban, evict ---

struct OneFlags : ClientFlags {
  std::string spiffe_id;
};

template <char Verb>
void bind_one(cli::FlagSet& flags, OneFlags& to) {
  bind_client(flags, to);
  constexpr std::string_view kVerb = Verb == 's' ? "show" : Verb == 'b' ? "ban" : "evict";
  flags.add("spiffeID", &to.spiffe_id,
            fmt::format("The SPIFFE ID of the agent to {} (agent identity)", kVerb));
}

template <class Request>
Result<Request> request_for(const OneFlags& flags) {
  if (flags.spiffe_id.empty()) {
    return invalid_argument("a SPIFFE ID is required");
  }
  Request request;
  TRY(id_to_proto(flags.spiffe_id, *request.mutable_id()));
  return request;
}

Result<void> show(const OneFlags& flags, cli::Environment& environment) {
  auto request = TRY(request_for<GetAgentRequest>(flags));
  auto client = TRY(ServerClient::connect(flags, environment));
  auto agent = TRY(client.call<ProtoAgent>(method("GetAgent"), request));
  return cli::print(
      flags.output, environment, {&agent}, [&](cli::Environment& env) -> Result<void> {
        env.out << "Found an attested agent given its SPIFFE ID\n\n";
        print_agent(agent, env.out);
        for (const auto& selector : agent.selectors()) {
          env.out << fmt::format("{:<18}: {}:{}\n", "Selectors", selector.type(), selector.value());
        }
        return {};
      });
}

template <class Request>
Result<void> act(const OneFlags& flags, std::string_view name, std::string_view done,
                 cli::Environment& environment) {
  auto request = TRY(request_for<Request>(flags));
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response = TRY(client.call<Empty>(method(name), request));
  return cli::print(flags.output, environment, {&response},
                    [&](cli::Environment& env) -> Result<void> {
                      env.out << done << "\n";
                      return {};
                    });
}

Result<void> ban(const OneFlags& flags, cli::Environment& environment) {
  return act<BanAgentRequest>(flags, "BanAgent", "Agent banned successfully", environment);
}

Result<void> evict(const OneFlags& flags, cli::Environment& environment) {
  return act<DeleteAgentRequest>(flags, "DeleteAgent", "Agent evicted successfully", environment);
}

// --- purge ---

struct PurgeFlags : ClientFlags {
  Duration expired_for = std::chrono::hours(720);
  bool dry_run = false;
};

void bind_purge(cli::FlagSet& flags, PurgeFlags& to) {
  bind_client(flags, to);
  flags.add("dryRun", &to.dry_run,
            "Indicates that the command will not perform any action, but will print the agents "
            "that would be purged.");
  flags.add("expiredFor", &to.expired_for,
            "Amount of time that has passed since the agent's SVID has expired. It is used to "
            "determine which agents to purge.");
}

struct Purged {
  std::string id;
  bool deleted = false;
  std::string error;
};

void print_purged(const std::vector<Purged>& agents, bool dry_run, std::ostream& out) {
  if (agents.empty()) {
    out << "No agents to purge.\n";
    return;
  }
  out << fmt::format("Found {} expired {}\n\n", agents.size(),
                     agents.size() == 1 ? "agent" : "agents");
  auto section = [&](std::string_view title, auto wanted) {
    bool any = false;
    for (const Purged& agent : agents) {
      if (!wanted(agent)) {
        continue;
      }
      if (!std::exchange(any, true)) {
        out << title << "\n";
      }
      out << fmt::format("{:<18}: {}\n", "SPIFFE ID", agent.id);
      if (!agent.error.empty()) {
        out << fmt::format("{:<18}: {}\n", "Error", agent.error);
      }
    }
  };
  if (dry_run) {
    section("\nAgents that can be purged:", [](const Purged&) { return true; });
    return;
  }
  section("Agents purged:", [](const Purged& agent) { return agent.deleted; });
  section("Agents not purged:", [](const Purged& agent) { return !agent.deleted; });
}

std::string purged_json(const std::vector<Purged>& agents) {
  std::string items;
  for (const Purged& agent : agents) {
    items +=
        fmt::format("{}{{\"agent_id\":{},\"deleted\":{}{}}}", items.empty() ? "" : ",",
                    quote(agent.id), agent.deleted ? "true" : "false",
                    agent.error.empty() ? "" : fmt::format(",\"error\":{}", quote(agent.error)));
  }
  return fmt::format("{{\"expired_agents\":[{}]}}", items);
}

Result<void> purge(const PurgeFlags& flags, cli::Environment& environment) {
  ListAgentsRequest request;
  request.mutable_filter()->mutable_by_can_reattest()->set_value(true);
  request.mutable_output_mask()->set_x509svid_expires_at(true);
  auto client = TRY(ServerClient::connect(flags, environment));
  auto listed = TRY(client.call<ListAgentsResponse>(method("ListAgents"), request)
                        .during("failed to list agents"));
  std::vector<Purged> purged;
  WallTime now = system_clock().now();
  for (const ProtoAgent& agent : listed.agents()) {
    if (now - from_unix_seconds(agent.x509svid_expires_at()) <= flags.expired_for) {
      continue;
    }
    Purged& result = purged.emplace_back();
    result.id = id_text(agent.id());
    if (flags.dry_run) {
      continue;
    }
    DeleteAgentRequest removal;
    *removal.mutable_id() = agent.id();
    auto removed = client.call<Empty>(method("DeleteAgent"), removal);
    result.deleted = removed.ok();
    result.error = removed.ok() ? "" : removed.error().message;
  }
  return cli::print_json_text(flags.output, environment, purged_json(purged),
                              [&](cli::Environment& env) -> Result<void> {
                                print_purged(purged, flags.dry_run, env.out);
                                return {};
                              });
}

// --- token ---

struct TokenFlags : ClientFlags {
  int ttl = 600;
  std::string spiffe_id;
};

void bind_token(cli::FlagSet& flags, TokenFlags& to) {
  bind_client(flags, to);
  flags.add("ttl", &to.ttl, "Token TTL in seconds");
  flags.add("spiffeID", &to.spiffe_id, "Additional SPIFFE ID to assign the token owner (optional)");
}

Result<void> generate(const TokenFlags& flags, cli::Environment& environment) {
  CreateJoinTokenRequest request;
  request.set_ttl(flags.ttl);
  if (!flags.spiffe_id.empty()) {
    TRY(id_to_proto(flags.spiffe_id, *request.mutable_agent_id()));
  }
  auto client = TRY(ServerClient::connect(flags, environment));
  auto token = TRY(client.call<ProtoJoinToken>(method("CreateJoinToken"), request));
  return cli::print(flags.output, environment, {&token},
                    [&](cli::Environment& env) -> Result<void> {
                      env.out << "Token: " << token.value() << "\n";
                      if (flags.spiffe_id.empty()) {
                        env.out << "Warning: Missing SPIFFE ID.\n";
                      }
                      return {};
                    });
}

}  // namespace

void add_agent_commands(std::vector<cli::Command>& table) {
  table.push_back(cli::command<OneFlags>("agent ban", "Ban an attested agent given its SPIFFE ID",
                                         bind_one<'b'>, ban));
  table.push_back(
      cli::command<FilterFlags>("agent count", "Count attested agents", bind_filter, count));
  table.push_back(cli::command<OneFlags>(
      "agent evict", "Evicts an attested agent given its SPIFFE ID", bind_one<'e'>, evict));
  table.push_back(cli::command<FilterFlags>(
      "agent list", "Lists attested agents and their SPIFFE IDs", bind_filter, list));
  table.push_back(cli::command<PurgeFlags>(
      "agent purge",
      "Purge expired agents that were attested using a non-TOFU security model based on a given "
      "time",
      bind_purge, purge));
  table.push_back(cli::command<OneFlags>(
      "agent show", "Shows the details of an attested agent given its SPIFFE ID", bind_one<'s'>,
      show));
  table.push_back(cli::command<TokenFlags>("token generate", "Generates a join token", bind_token,
                                           generate, {.flag_set_name = "generate"}));
}

}  // namespace steeple::server
