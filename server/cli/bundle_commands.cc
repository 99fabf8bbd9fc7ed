// SPDX-License-Identifier: Apache-2.0

// `bundle show|list|set|delete|count`.

#include <fmt/format.h>

#include <ostream>

#include "lib/jose/bundle_document.h"
#include "lib/x509/certificate.h"
#include "server/api/convert.h"
#include "server/cli/client.h"
#include "server/cli/commands.h"
#include "spire/api/server/bundle/v1/bundle.pb.h"

namespace steeple::server {
namespace {

using namespace spire::api::server::bundle::v1;  // NOLINT(google-build-using-namespace): messages
using ProtoBundle = spire::api::types::Bundle;

constexpr std::string_view kService = "/spire.api.server.bundle.v1.Bundle/";
constexpr std::string_view kRule = "****************************************";
constexpr std::int32_t kPageSize = 500;

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

Result<void> check_format(std::string_view format) {
  if (format != "pem" && format != "spiffe") {
    return invalid_argument(fmt::format("invalid format: \"{}\"", format));
  }
  return {};
}

Result<void> print_bundle(const ProtoBundle& proto, std::string_view format, std::ostream& out) {
  if (format == "pem") {
    for (const auto& authority : proto.x509_authorities()) {
      out << x509::certificate_to_pem(authority.asn1());
    }
    return {};
  }
  jose::Bundle bundle = TRY(bundle_from_proto(proto));
  out << TRY(jose::encode_bundle_document(bundle, {})) << "\n";
  return {};
}

// --- show, count ---

struct ShowFlags : ClientFlags {
  std::string format = "pem";
};

void bind_show(cli::FlagSet& flags, ShowFlags& to) {
  bind_client(flags, to);
  flags.add("format", &to.format,
            "The format to show the bundle (only pretty output format supports this flag). Either "
            "\"pem\" or \"spiffe\".");
}

Result<void> show(const ShowFlags& flags, cli::Environment& environment) {
  TRY(check_format(flags.format));
  auto client = TRY(ServerClient::connect(flags, environment));
  auto bundle = TRY(client.call<ProtoBundle>(method("GetBundle"), GetBundleRequest()));
  return cli::print(flags.output, environment, {&bundle}, [&](cli::Environment& env) {
    return print_bundle(bundle, flags.format, env.out);
  });
}

void bind_count(cli::FlagSet& flags, ClientFlags& to) { bind_client(flags, to); }

Result<void> count(const ClientFlags& flags, cli::Environment& environment) {
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response =
      TRY(client.call<CountBundlesResponse>(method("CountBundles"), CountBundlesRequest()));
  return cli::print(flags.output, environment, {&response},
                    [&](cli::Environment& env) -> Result<void> {
                      env.out << plural(response.count(), "bundle", "bundles") << "\n";
                      return {};
                    });
}

// --- list ---

struct ListFlags : ClientFlags {
  std::string id;
  std::string format = "pem";
};

void bind_list(cli::FlagSet& flags, ListFlags& to) {
  bind_client(flags, to);
  flags.add("format", &to.format,
            "The format to list federated bundles (only pretty output format supports this flag). "
            "Either \"pem\" or \"spiffe\".");
  flags.add("id", &to.id, "SPIFFE ID of the trust domain");
}

Result<void> list_one(const ListFlags& flags, cli::Environment& environment) {
  GetFederatedBundleRequest request;
  request.set_trust_domain(flags.id);
  auto client = TRY(ServerClient::connect(flags, environment));
  auto bundle = TRY(client.call<ProtoBundle>(method("GetFederatedBundle"), request));
  return cli::print(flags.output, environment, {&bundle}, [&](cli::Environment& env) {
    return print_bundle(bundle, flags.format, env.out);
  });
}

Result<void> list(const ListFlags& flags, cli::Environment& environment) {
  TRY(check_format(flags.format));
  if (!flags.id.empty()) {
    return list_one(flags, environment);
  }
  ListFederatedBundlesRequest request;
  request.set_page_size(kPageSize);
  auto client = TRY(ServerClient::connect(flags, environment));
  ListFederatedBundlesResponse all;
  do {
    auto page =
        TRY(client.call<ListFederatedBundlesResponse>(method("ListFederatedBundles"), request));
    all.mutable_bundles()->MergeFrom(page.bundles());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return cli::print(flags.output, environment, {&all}, [&](cli::Environment& env) -> Result<void> {
    bool first = true;
    for (const ProtoBundle& bundle : all.bundles()) {
      env.out << (std::exchange(first, false) ? "" : "\n");
      env.out << kRule << "\n* " << bundle.trust_domain() << "\n" << kRule << "\n";
      TRY(print_bundle(bundle, flags.format, env.out));
    }
    return {};
  });
}

// --- set ---

struct SetFlags : ClientFlags {
  std::string id, path;
  std::string format = "pem";
};

void bind_set(cli::FlagSet& flags, SetFlags& to) {
  bind_client(flags, to);
  flags.add("format", &to.format, "The format of the bundle data. Either \"pem\" or \"spiffe\".");
  flags.add("id", &to.id, "SPIFFE ID of the trust domain");
  flags.add("path", &to.path, "Path to the bundle data");
}

Result<ProtoBundle> parse_bundle(const SetFlags& flags, const std::string& text) {
  ProtoBundle proto;
  if (flags.format == "pem") {
    auto certificates =
        TRY(x509::parse_pem_certificates(text).during("unable to parse bundle data"));
    for (const auto& certificate : certificates) {
      proto.add_x509_authorities()->set_asn1(certificate->der());
    }
  } else {
    auto domain = TRY(spiffe::TrustDomain::parse(flags.id).during("unable to parse bundle data"));
    auto bundle = TRY(
        jose::parse_bundle_document(domain, text).during("unable to parse to spiffe trust bundle"));
    bundle_to_proto(bundle, nullptr, proto);
  }
  proto.set_trust_domain(flags.id);
  return proto;
}

Result<void> set(const SetFlags& flags, cli::Environment& environment) {
  if (flags.id.empty()) {
    return invalid_argument("id flag is required");
  }
  TRY(check_format(flags.format));
  std::string text = TRY(read_input(flags.path.empty() ? "-" : flags.path, environment)
                             .during("unable to load bundle data"));
  BatchSetFederatedBundleRequest request;
  *request.add_bundle() = TRY(parse_bundle(flags, text));
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response =
      TRY(client.call<BatchSetFederatedBundleResponse>(method("BatchSetFederatedBundle"), request)
              .during("failed to set federated bundle"));
  return cli::print(
      flags.output, environment, {&response}, [&](cli::Environment& env) -> Result<void> {
        const auto& status = response.results(0).status();
        if (status.code() != 0) {
          return internal(fmt::format("failed to set federated bundle: {}", status.message()));
        }
        env.out << "bundle set.\n";
        return {};
      });
}

// --- delete ---

struct DeleteFlags : ClientFlags {
  std::string id;
  std::string mode = "restrict";
};

void bind_delete(cli::FlagSet& flags, DeleteFlags& to) {
  bind_client(flags, to);
  flags.add("id", &to.id, "SPIFFE ID of the trust domain");
  flags.add("mode", &to.mode, "Deletion mode: one of restrict, delete, or dissociate");
}

Result<void> remove(const DeleteFlags& flags, cli::Environment& environment) {
  if (flags.id.empty()) {
    return invalid_argument("id is required");
  }
  BatchDeleteFederatedBundleRequest request;
  request.add_trust_domains(flags.id);
  if (flags.mode == "restrict") {
    request.set_mode(BatchDeleteFederatedBundleRequest::RESTRICT);
  } else if (flags.mode == "delete") {
    request.set_mode(BatchDeleteFederatedBundleRequest::DELETE);
  } else if (flags.mode == "dissociate") {
    request.set_mode(BatchDeleteFederatedBundleRequest::DISSOCIATE);
  } else {
    return invalid_argument(fmt::format("unsupported mode \"{}\"", flags.mode));
  }
  auto client = TRY(ServerClient::connect(flags, environment));
  auto response = TRY(
      client.call<BatchDeleteFederatedBundleResponse>(method("BatchDeleteFederatedBundle"), request)
          .during("failed to delete federated bundle"));
  return cli::print(
      flags.output, environment, {&response}, [&](cli::Environment& env) -> Result<void> {
        const auto& result = response.results(0);
        if (result.status().code() != 0) {
          return internal(fmt::format("failed to delete federated bundle \"{}\": {}",
                                      result.trust_domain(), result.status().message()));
        }
        env.out << "bundle deleted.\n";
        return {};
      });
}

}  // namespace

void add_bundle_commands(std::vector<cli::Command>& table) {
  table.push_back(cli::command<ClientFlags>("bundle count", "Count bundles", bind_count, count));
  table.push_back(cli::command<DeleteFlags>("bundle delete", "Deletes federated bundle data",
                                            bind_delete, remove));
  table.push_back(
      cli::command<ListFlags>("bundle list", "Lists federated bundle data", bind_list, list));
  table.push_back(cli::command<SetFlags>("bundle set", "Creates or updates federated bundle data",
                                         bind_set, set));
  table.push_back(
      cli::command<ShowFlags>("bundle show", "Prints server CA bundle to stdout", bind_show, show));
}

}  // namespace steeple::server
