// SPDX-License-Identifier: Apache-2.0

// `api fetch jwt` and `api validate jwt`.

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <map>
#include <ostream>

#include "agent/cli/client.h"
#include "agent/cli/commands.h"
#include "workload.pb.h"

namespace steeple::agent {
namespace {

struct FetchFlags : WorkloadFlags {
  std::vector<std::string> audience;
  std::string spiffe_id;
};

void bind_fetch(cli::FlagSet& flags, FetchFlags& to) {
  bind_workload(flags, to);
  flags.add_comma_list("audience", &to.audience, "comma separated list of audience values");
  flags.add("spiffeID", &to.spiffe_id, "SPIFFE ID subject (optional)");
  flags.add_value(
      "format",
      [&to](const std::string& text) -> Result<void> {
        if (text != "pretty" && text != "json") {
          return invalid_argument(fmt::format("invalid format option: \"{}\"", text));
        }
        to.output.format = text == "json" ? cli::OutputFormat::kJson : cli::OutputFormat::kPretty;
        return {};
      },
      "deprecated; use -output");
}

void print_tokens(const JWTSVIDResponse& svids, const JWTBundlesResponse& bundles,
                  std::ostream& out) {
  for (const auto& svid : svids.svids()) {
    out << fmt::format("token({}):\n\t{}\n", svid.spiffe_id(), svid.svid());
    if (!svid.hint().empty()) {
      out << fmt::format("hint({}):\n\t{}\n", svid.spiffe_id(), svid.hint());
    }
  }
  std::map<std::string, std::string> sorted(bundles.bundles().begin(), bundles.bundles().end());
  for (const auto& [domain, document] : sorted) {
    out << fmt::format("bundle({}):\n\t{}\n", domain, document);
  }
}

Result<void> fetch(const FetchFlags& flags, cli::Environment& environment) {
  if (flags.audience.empty()) {
    return invalid_argument("audience must be specified");
  }
  auto client = TRY(connect_workload(flags, flags.timeout, environment));
  JWTBundlesResponse bundles;
  TRY(client.stream<JWTBundlesResponse>("/SpiffeWorkloadAPI/FetchJWTBundles", JWTBundlesRequest(),
                                        [&bundles](const JWTBundlesResponse& first) {
                                          bundles = first;
                                          return false;
                                        }));
  JWTSVIDRequest request;
  for (const std::string& audience : flags.audience) {
    request.add_audience(audience);
  }
  request.set_spiffe_id(flags.spiffe_id);
  auto svids = TRY(client.call<JWTSVIDResponse>("/SpiffeWorkloadAPI/FetchJWTSVID", request));
  return cli::print(flags.output, environment, {&svids, &bundles},
                    [&](cli::Environment& env) -> Result<void> {
                      print_tokens(svids, bundles, env.out);
                      return {};
                    });
}

int run_fetch(const FetchFlags& flags, cli::Environment& environment) {
  return finish_plain(fetch(flags, environment), environment);
}

// --- validate ---

struct ValidateFlags : WorkloadFlags {
  std::string audience, svid;
};

void bind_validate(cli::FlagSet& flags, ValidateFlags& to) {
  bind_workload(flags, to);
  flags.add("audience", &to.audience, "expected audience value");
  flags.add("svid", &to.svid, "JWT SVID");
}

// {"a":1, "b":2}: as the reference prints a Struct, keys in order.
std::string claims_text(const google::protobuf::Struct& claims) {
  std::map<std::string, const google::protobuf::Value*> sorted;
  for (const auto& [key, value] : claims.fields()) {
    sorted.emplace(key, &value);
  }
  std::string out;
  for (const auto& [key, value] : sorted) {
    std::string json;
    if (!google::protobuf::util::MessageToJsonString(*value, &json).ok()) {
      continue;
    }
    out += fmt::format("{}{}:{}", out.empty() ? "" : ", ", cli::quote(key), json);
  }
  return "{" + out + "}";
}

Result<void> validate(const ValidateFlags& flags, cli::Environment& environment) {
  if (flags.audience.empty()) {
    return invalid_argument("audience must be specified");
  }
  if (flags.svid.empty()) {
    return invalid_argument("svid must be specified");
  }
  auto client = TRY(connect_workload(flags, flags.timeout, environment));
  ValidateJWTSVIDRequest request;
  request.set_audience(flags.audience);
  request.set_svid(flags.svid);
  auto response =
      client.call<ValidateJWTSVIDResponse>("/SpiffeWorkloadAPI/ValidateJWTSVID", request);
  if (!response.ok()) {
    Error error = std::move(response.error());
    constexpr std::string_view kRefused = "rpc error: code = InvalidArgument desc = ";
    if (error.message.starts_with(kRefused)) {
      error.message = "SVID is not valid: " + error.message.substr(kRefused.size());
    }
    return error;
  }
  return cli::print(flags.output, environment, {&*response},
                    [&](cli::Environment& env) -> Result<void> {
                      env.out << "SVID is valid.\nSPIFFE ID : " << response->spiffe_id()
                              << "\nClaims    : " << claims_text(response->claims()) << "\n";
                      return {};
                    });
}

int run_validate(const ValidateFlags& flags, cli::Environment& environment) {
  return finish_plain(validate(flags, environment), environment);
}

}  // namespace

void add_jwt_commands(std::vector<cli::Command>& table) {
  table.push_back(cli::command<FetchFlags>(
      "api fetch jwt", "Fetches a JWT SVID from the Workload API", bind_fetch, run_fetch,
      {.flag_set_name = "fetch jwt", .repeat_flag_error = true, .bare_help = true}));
  table.push_back(cli::command<ValidateFlags>(
      "api validate jwt", "Validates a JWT SVID", bind_validate, run_validate,
      {.flag_set_name = "validate jwt", .repeat_flag_error = true, .bare_help = true}));
}

}  // namespace steeple::agent
