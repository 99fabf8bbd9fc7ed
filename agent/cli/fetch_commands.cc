// SPDX-License-Identifier: Apache-2.0

// `api fetch [x509]` and `api watch`: what a workload is given, for people.

#include <fmt/format.h>

#include <future>
#include <map>
#include <ostream>

#include "agent/cli/client.h"
#include "agent/cli/commands.h"
#include "lib/crypto/private_key.h"
#include "lib/io/directory.h"
#include "lib/rpc/status.h"
#include "lib/x509/certificate.h"
#include "lib/x509/verify.h"
#include "spiffe/workloadapi/client.h"
#include "workload.pb.h"

namespace steeple::agent {
namespace {

constexpr std::size_t kCertificatesMax = 1000;
constexpr mode_t kCertificateMode = 0644;
constexpr mode_t kKeyMode = 0600;

struct FetchFlags : WorkloadFlags {
  bool silent = false;
  std::string write;
};

void bind_fetch(cli::FlagSet& flags, FetchFlags& to) {
  bind_workload(flags, to);
  flags.add("silent", &to.silent, "Suppress stdout");
  flags.add("write", &to.write,
            "Write SVID data to the specified path (optional; only available for pretty output "
            "format)");
}

// One identity of the answer, checked against its bundle.
struct Svid {
  std::string spiffe_id, hint;
  std::vector<x509::CertificatePtr> chain;
  std::shared_ptr<const crypto::PrivateKey> key;
  std::vector<x509::CertificatePtr> bundle;
};
struct Answer {
  std::vector<Svid> svids;
  std::map<std::string, std::vector<x509::CertificatePtr>> federated;  // by trust domain ID
};

Result<Answer> read_answer(const X509SVIDResponse& response) {
  Answer answer;
  for (const auto& proto : response.svids()) {
    Svid svid{
        .spiffe_id = proto.spiffe_id(), .hint = proto.hint(), .chain = {}, .key = {}, .bundle = {}};
    svid.chain = TRY(x509::parse_concatenated(proto.x509_svid(), kCertificatesMax));
    svid.key = TRY(crypto::PrivateKey::from_pkcs8(proto.x509_svid_key()));
    svid.bundle = TRY(x509::parse_concatenated(proto.bundle(), kCertificatesMax));
    auto roots = std::make_shared<const x509::Authorities>(svid.bundle);
    TRY(x509::verify_svid(
        svid.chain, [&roots](const spiffe::TrustDomain&) { return roots; }, system_clock().now()));
    answer.svids.push_back(std::move(svid));
  }
  for (const auto& [domain, der] : response.federated_bundles()) {
    answer.federated.emplace(domain, TRY(x509::parse_concatenated(der, kCertificatesMax)));
  }
  return answer;
}

void print_validity(std::string_view label, const x509::Certificate& certificate,
                    std::ostream& out) {
  out << fmt::format("{} Valid After:\t{}\n", label, format_go_utc(certificate.not_before()));
  out << fmt::format("{} Valid Until:\t{}\n", label, format_go_utc(certificate.not_after()));
}

void print_answer(const Answer& answer, Duration took, std::ostream& out) {
  out << fmt::format("Received {} svid{} after {}\n\n", answer.svids.size(),
                     answer.svids.size() == 1 ? "" : "s", format_go_duration(took));
  for (const Svid& svid : answer.svids) {
    out << "SPIFFE ID:\t\t" << svid.spiffe_id << "\n";
    if (!svid.hint.empty()) {
      out << "Hint:\t\t\t" << svid.hint << "\n";
    }
    for (std::size_t i = 0; i < svid.chain.size(); ++i) {
      print_validity(i == 0 ? "SVID" : fmt::format("Intermediate #{}", i), *svid.chain[i], out);
    }
    for (std::size_t i = 0; i < svid.bundle.size(); ++i) {
      print_validity(fmt::format("CA #{}", i + 1), *svid.bundle[i], out);
    }
    for (const auto& [domain, bundle] : answer.federated) {
      for (std::size_t i = 0; i < bundle.size(); ++i) {
        print_validity(fmt::format("[{}] CA #{}", domain, i + 1), *bundle[i], out);
      }
    }
    out << "\n";
  }
}

std::string pem_of(const std::vector<x509::CertificatePtr>& certificates) {
  std::string out;
  for (const auto& certificate : certificates) {
    out += x509::certificate_to_pem(certificate->der());
  }
  return out;
}

Result<void> write_answer(const Answer& answer, const std::string& folder,
                          cli::Environment& environment) {
  auto write = [&](const std::string& what, const std::string& name, ByteView content,
                   mode_t mode) -> Result<void> {
    std::string path = fmt::format("{}/{}", folder, name);
    environment.out << fmt::format("Writing {} to file {}.\n", what, path);
    return io::write_file(environment.resolve(path), content, mode);
  };
  for (std::size_t i = 0; i < answer.svids.size(); ++i) {
    const Svid& svid = answer.svids[i];
    TRY(write(fmt::format("SVID #{}", i), fmt::format("svid.{}.pem", i), pem_of(svid.chain),
              kCertificateMode));
    TRY(write(fmt::format("key #{}", i), fmt::format("svid.{}.key", i), svid.key->to_pem().reveal(),
              kKeyMode));
    TRY(write(fmt::format("bundle #{}", i), fmt::format("bundle.{}.pem", i), pem_of(svid.bundle),
              kCertificateMode));
    int number = 0;
    for (const auto& [domain, bundle] : answer.federated) {
      TRY(write(fmt::format("federated bundle #{} for trust domain {}", number, domain),
                fmt::format("federated_bundle.{}.{}.pem", i, number), pem_of(bundle),
                kCertificateMode));
      ++number;
    }
  }
  return {};
}

Result<void> fetch(const FetchFlags& flags, cli::Environment& environment) {
  auto client = TRY(connect_workload(flags, flags.timeout, environment));
  SteadyTime started = system_clock().steady();
  X509SVIDResponse response;
  TRY(client.stream<X509SVIDResponse>("/SpiffeWorkloadAPI/FetchX509SVID", X509SVIDRequest(),
                                      [&response](const X509SVIDResponse& first) {
                                        response = first;
                                        return false;
                                      }));
  Duration took = system_clock().steady() - started;
  Answer answer = TRY(read_answer(response));
  return cli::print(flags.output, environment, {&response},
                    [&](cli::Environment& env) -> Result<void> {
                      if (!flags.silent) {
                        print_answer(answer, took, env.out);
                      }
                      if (!flags.write.empty()) {
                        return write_answer(answer, flags.write, env);
                      }
                      return {};
                    });
}

int run_fetch(const FetchFlags& flags, cli::Environment& environment) {
  return finish_plain(fetch(flags, environment), environment);
}

// --- watch ---

void bind_watch(cli::FlagSet& flags, WorkloadFlags& to) { bind_socket(flags, to); }

// As go-spiffe's context has it: no hints, and every other domain's bundle for each identity.
Answer answer_of(const spiffe::X509Context& context) {
  Answer answer;
  for (const spiffe::X509Svid& svid : context.svids) {
    Svid& shown = answer.svids.emplace_back();
    shown.spiffe_id = svid.id().text();
    shown.chain = svid.chain();
    if (auto own = context.bundles.find(svid.id().trust_domain())) {
      shown.bundle = *own->x509_authorities();
    }
  }
  for (const auto& [domain, bundle] : context.bundles.all()) {
    if (domain != context.default_svid().id().trust_domain()) {
      answer.federated.emplace(domain.name(), *bundle->x509_authorities());
    }
  }
  return answer;
}

// Until it is interrupted, or told that no try can help.
Result<void> watch(const WorkloadFlags& flags, cli::Environment& environment) {
  std::string path = TRY(cli::resolve_socket(flags.socket, cli::agent_socket(), environment));
  auto client = TRY(spiffe::Client::make({.address = "unix://" + path}));
  std::promise<Error> hopeless;
  SteadyTime before = system_clock().steady();
  auto handle = client->watch_x509_context(
      {.on_update =
           [&](const std::shared_ptr<const spiffe::X509Context>& context) {
             SteadyTime now = system_clock().steady();
             print_answer(answer_of(*context), now - before, environment.out);
             environment.out.flush();
             before = now;
           },
       .on_error =
           [&](const Error& error) {
             environment.err << rpc::go_text(error) << "\n" << std::flush;
             if (error.code == Code::kInvalidArgument) {
               hopeless.set_value(error);
             }
           }});
  Error error = hopeless.get_future().get();
  return Error{error.code, rpc::go_text(error)};
}

int run_watch(const WorkloadFlags& flags, cli::Environment& environment) {
  return finish_plain(watch(flags, environment), environment);
}

}  // namespace

void add_fetch_commands(std::vector<cli::Command>& table) {
  cli::CommandOptions named{.flag_set_name = "fetch x509", .repeat_flag_error = true};
  constexpr const char* kSynopsis = "Fetches X509 SVIDs from the Workload API";
  table.push_back(cli::command<FetchFlags>("api fetch", kSynopsis, bind_fetch, run_fetch, named));
  named.bare_help = true;
  table.push_back(
      cli::command<FetchFlags>("api fetch x509", kSynopsis, bind_fetch, run_fetch, named));
  table.push_back(cli::command<WorkloadFlags>(
      "api watch", "Attaches to the Workload API and prints updates as they're received",
      bind_watch, run_watch, {.flag_set_name = "watch", .repeat_flag_error = true}));
}

}  // namespace steeple::agent
