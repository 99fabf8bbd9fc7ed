// SPDX-License-Identifier: Apache-2.0

// Fuzz target: columns of a database that somebody else wrote: bundles as protobuf, times as text.

#include <google/protobuf/stubs/logging.h>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/x509/fake_authority.h"
#include "server/datastore/bundle_blob.h"
#include "server/datastore/time_text.h"

std::vector<std::string> steeple::fuzz_seeds() {
  google::protobuf::SetLogHandler(nullptr);
  const WallTime now = from_unix_seconds(1'893'456'000);
  x509::FakeAuthority authority("example.org", now);
  spire::common::Bundle blob;
  blob.set_trust_domain_id("spiffe://example.org");
  blob.add_root_cas()->set_der_bytes(authority.certificate()->der());
  auto* key = blob.add_jwt_signing_keys();
  key->set_pkix_bytes(authority.key()->public_key().spki());
  key->set_kid("kid");
  key->set_not_after(2'000'000'000);
  blob.set_refresh_hint(60);
  blob.set_sequence_number(3);
  return {blob.SerializeAsString(), "2026-11-22 07:56:55.916038692+00:00", "2026-11-22T07:56Z",
          "2026-11-22"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto time = server::parse_time_text(bytes); time.ok()) {
    CHECK(time->nanoseconds >= 0 && time->nanoseconds < 1'000'000'000);
    if (auto text = server::time_text(time->seconds); text.ok()) {
      CHECK(server::parse_time_text(*text).take().seconds == time->seconds);
    }
  }
  auto blob = server::parse_bundle_blob("spiffe://example.org", bytes);
  if (!blob.ok()) {
    return 0;
  }
  if (auto bundle = server::bundle_from_blob(*blob); bundle.ok()) {
    spire::common::Bundle again = *blob;
    server::merge_bundle(*bundle, again);
    CHECK(server::bundle_from_blob(again).ok());
  }
  spire::common::Bundle pruned = *blob;
  (void)server::prune_bundle_blob(1'893'456'000, pruned).ok();
  (void)server::taint_x509("00", pruned).ok();
  (void)server::revoke_x509("00", pruned).ok();
  return 0;
}
