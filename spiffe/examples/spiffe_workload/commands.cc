// SPDX-License-Identifier: Apache-2.0

#include "spiffe/examples/spiffe_workload/commands.h"

#include <fmt/format.h>

#include <ostream>

#include "spiffe/workloadapi/client.h"
#include "spiffe/workloadapi/source.h"

namespace spiffe::example {
namespace {

using steeple::Result;
namespace cli = steeple::cli;

struct GetSvidFlags {
  steeple::Duration timeout = std::chrono::seconds(10);
};

void bind(cli::FlagSet& flags, GetSvidFlags& to) {
  flags.add("timeout", &to.timeout, "How long to wait for an identity");
}

Result<void> get_svid(const GetSvidFlags& flags, cli::Environment& environment) {
  auto client = TRY(Client::make());
  environment.out << describe(TRY(client->fetch_x509_context(flags.timeout)));
  return {};
}

struct GetJwtFlags {
  std::vector<std::string> audience;
  steeple::Duration timeout = std::chrono::seconds(10);
};

void bind(cli::FlagSet& flags, GetJwtFlags& to) {
  flags.add("audience", &to.audience, "Whom the token is for. Can be used more than once");
  flags.add("timeout", &to.timeout, "How long to wait for a token");
}

Result<void> get_jwt(const GetJwtFlags& flags, cli::Environment& environment) {
  if (flags.audience.empty()) {
    return steeple::invalid_argument("audience must be specified");
  }
  auto source = TRY(JwtSource::make({.start_timeout = flags.timeout}));
  JwtSvid token = TRY(source->fetch({.audience = flags.audience}, flags.timeout));
  TRY(source->verify(token.token, flags.audience));
  environment.out << "SPIFFE ID: " << token.id.text() << "\n"
                  << "Valid Until: " << steeple::format_go_utc(token.expires_at) << "\n"
                  << "Claims: " << token.claims_json << "\n"
                  << "Token: " << token.token << "\n";
  return {};
}

}  // namespace

std::string describe(const X509Context& context) {
  std::string out;
  for (const X509Svid& svid : context.svids) {
    out += fmt::format("SPIFFE ID: {}\n", svid.id().text());
    out += fmt::format("SVID Valid After: {}\n", steeple::format_go_utc(svid.not_before()));
    out += fmt::format("SVID Valid Until: {}\n", steeple::format_go_utc(svid.not_after()));
    auto bundle = context.bundles.find(svid.id().trust_domain());
    if (!bundle) {
      continue;
    }
    int number = 0;
    for (const auto& authority : *bundle->x509_authorities()) {
      ++number;
      out += fmt::format("CA #{} Valid After: {}\n", number,
                         steeple::format_go_utc(authority->not_before()));
      out += fmt::format("CA #{} Valid Until: {}\n", number,
                         steeple::format_go_utc(authority->not_after()));
    }
  }
  return out;
}

std::vector<cli::Command> commands() {
  std::vector<cli::Command> table;
  table.push_back(cli::command<GetSvidFlags>("get-svid", "Prints the identity of this workload",
                                             bind, get_svid));
  table.push_back(
      cli::command<GetJwtFlags>("get-jwt", "Prints a token of this workload", bind, get_jwt));
  table.push_back(serve_command());
  table.push_back(call_command());
  table.push_back(watch_command());
  return table;
}

}  // namespace spiffe::example
