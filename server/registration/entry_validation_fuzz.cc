// SPDX-License-Identifier: Apache-2.0

// Feeds foreign entries through validation: whatever passes obeys the rules and survives the index.

#include <google/protobuf/stubs/logging.h>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "server/registration/entry_validation.h"
#include "server/registration/indexed_entry.h"

std::vector<std::string> steeple::fuzz_seeds() {
  google::protobuf::SetLogHandler(nullptr);
  spire::api::types::Entry entry;
  entry.set_id("e1");
  entry.mutable_spiffe_id()->set_trust_domain("example.org");
  entry.mutable_spiffe_id()->set_path("/web");
  entry.mutable_parent_id()->set_trust_domain("example.org");
  entry.mutable_parent_id()->set_path("/node");
  auto& selector = *entry.add_selectors();
  selector.set_type("unix");
  selector.set_value("uid:1");
  entry.add_federates_with("other.test");
  entry.add_dns_names("web.example.org");
  entry.set_hint("h");
  return {entry.SerializeAsString(), "a.b-c.example", "*.example.org"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(server::validate_dns_name(text).ok());
  spire::api::types::Entry proto;
  if (!proto.ParseFromArray(data, static_cast<int>(size))) {
    return 0;
  }
  auto domain = spiffe::TrustDomain::parse("example.org").take();
  auto entry = server::entry_from_proto(domain, proto);
  if (!entry.ok() || !server::validate_entry(*entry).ok() || entry->id.empty()) {
    return 0;
  }
  server::IndexedEntry indexed(*entry);
  CHECK(indexed.to_entry() == *entry);
  return 0;
}
