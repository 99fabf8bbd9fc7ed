// SPDX-License-Identifier: Apache-2.0

// Fuzz target: entries and bundles as a server (of another make, or taken over) sends them to an
// agent. The first byte chooses which. What is accepted obeys the rules that the caches rely on.

#include <google/protobuf/stubs/logging.h>

#include "agent/sync/server_api.h"
#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/x509/fake_authority.h"
#include "spire/api/types/bundle.pb.h"
#include "spire/api/types/entry.pb.h"

std::vector<std::string> steeple::fuzz_seeds() {
  google::protobuf::SetLogHandler(nullptr);
  spire::api::types::Entry entry;
  entry.set_id("e1");
  entry.mutable_spiffe_id()->set_trust_domain("example.org");
  entry.mutable_spiffe_id()->set_path("/web");
  auto& selector = *entry.add_selectors();
  selector.set_type("unix");
  selector.set_value("uid:1");
  entry.add_federates_with("spiffe://other.test");
  entry.add_dns_names("web");
  entry.set_revision_number(3);
  x509::FakeAuthority authority("example.org", from_unix_seconds(1'893'456'000));
  spire::api::types::Bundle bundle;
  bundle.set_trust_domain("example.org");
  bundle.add_x509_authorities()->set_asn1(authority.certificate()->der());
  auto& key = *bundle.add_jwt_authorities();
  key.set_public_key(authority.key()->public_key().spki());
  key.set_key_id("k");
  key.set_expires_at(2'000'000'000);
  bundle.set_refresh_hint(5);
  return {"0" + entry.SerializeAsString(), "1" + bundle.SerializeAsString()};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  if (size == 0) {
    return 0;
  }
  const std::uint8_t* text = data + 1;
  int length = static_cast<int>(size) - 1;
  if (data[0] % 2 == 0) {
    spire::api::types::Entry proto;
    if (!proto.ParseFromArray(text, length)) {
      return 0;
    }
    if (auto entry = agent::entry_from_proto(proto); entry.ok()) {
      CHECK(!(*entry)->id.empty() && !(*entry)->selectors.empty());
      CHECK(std::is_sorted((*entry)->selectors.begin(), (*entry)->selectors.end()));
    }
    return 0;
  }
  spire::api::types::Bundle proto;
  if (proto.ParseFromArray(text, length)) {
    if (auto bundle = agent::bundle_from_proto(proto); bundle.ok()) {
      CHECK(!bundle->trust_domain.name().empty());
    }
  }
  return 0;
}
