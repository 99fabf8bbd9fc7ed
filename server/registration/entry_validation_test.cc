// SPDX-License-Identifier: Apache-2.0

// Goal: requests become entries by SPIRE's rules and are refused with SPIRE's words (surface 5.5).

#include "server/registration/entry_validation.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "server/datastore/testing.h"

namespace steeple::server {
namespace {

using testing::StartsWith;
using Proto = spire::api::types::Entry;
using ProtoMask = spire::api::types::EntryMask;

Proto good() {
  Proto proto;
  proto.mutable_spiffe_id()->set_trust_domain("example.org");
  proto.mutable_spiffe_id()->set_path("/web");
  proto.mutable_parent_id()->set_trust_domain("example.org");
  proto.mutable_parent_id()->set_path("/spire/agent/a");
  auto& selector = *proto.add_selectors();
  selector.set_type("unix");
  selector.set_value("uid:1000");
  return proto;
}

std::string refusal(const std::function<void(Proto&)>& change) {
  Proto proto = good();
  change(proto);
  auto entry = entry_from_proto(domain("example.org"), proto);
  return entry.ok() ? "accepted" : entry.error().message;
}

TEST(EntryValidation, AGoodEntryPassesWithEveryField) {
  Proto proto = good();
  proto.set_id("x");
  proto.set_x509_svid_ttl(600);
  proto.set_jwt_svid_ttl(60);
  proto.add_federates_with("spiffe://other.org");
  proto.add_dns_names("*.web.example");
  proto.set_admin(true);
  proto.set_downstream(true);
  proto.set_store_svid(true);
  proto.set_hint("hint");
  proto.set_expires_at(5);
  proto.mutable_additional_attributes()->set_jwt_svid_include_jti(true);
  auto entry = entry_from_proto(domain("example.org"), proto).take();
  Entry expected = entry_of("/web", {{"unix", "uid:1000"}});
  expected.id = "x";
  expected.parent_id = id("/spire/agent/a");
  expected.x509_svid_ttl = std::chrono::seconds(600);
  expected.jwt_svid_ttl = std::chrono::seconds(60);
  expected.federates_with = {domain("other.org")};
  expected.dns_names = {"*.web.example"};
  expected.admin = expected.downstream = expected.store_svid = true;
  expected.jwt_svid_include_jti = true;
  expected.hint = "hint";
  expected.expires_at = 5;
  EXPECT_EQ(entry, expected);
}

TEST(EntryValidation, RefusesWithTheReferencesWords) {
  EXPECT_EQ(refusal([](Proto& e) { e.clear_parent_id(); }),
            "invalid parent ID: request must specify SPIFFE ID");
  EXPECT_EQ(refusal([](Proto& e) { e.mutable_parent_id()->set_trust_domain("other.org"); }),
            "invalid parent ID: \"spiffe://other.org/spire/agent/a\" is not a member of trust "
            "domain \"example.org\"");
  EXPECT_EQ(refusal([](Proto& e) { e.mutable_parent_id()->set_path(""); }),
            "invalid parent ID: \"spiffe://example.org\" is not a member of trust domain "
            "\"example.org\"; path is empty");
  EXPECT_EQ(refusal([](Proto& e) { e.clear_spiffe_id(); }),
            "invalid spiffe ID: request must specify SPIFFE ID");
  EXPECT_EQ(refusal([](Proto& e) { e.mutable_spiffe_id()->set_trust_domain(""); }),
            "invalid spiffe ID: trust domain is missing");
  EXPECT_EQ(refusal([](Proto& e) { e.mutable_spiffe_id()->set_path(""); }),
            "invalid spiffe ID: \"spiffe://example.org\" is not a workload in trust domain "
            "\"example.org\"; path is empty");
  EXPECT_EQ(refusal([](Proto& e) { e.mutable_spiffe_id()->set_path("/spire/x"); }),
            "invalid spiffe ID: \"spiffe://example.org/spire/x\" is not a workload in trust "
            "domain \"example.org\"; path is in the reserved namespace");
  EXPECT_THAT(refusal([](Proto& e) { e.mutable_spiffe_id()->set_path("/a//b"); }),
              StartsWith("invalid spiffe ID: "));
  EXPECT_EQ(refusal([](Proto& e) { e.clear_selectors(); }), "selector list is empty");
  EXPECT_EQ(refusal([](Proto& e) { e.mutable_selectors(0)->set_type(""); }),
            "missing selector type");
  EXPECT_EQ(refusal([](Proto& e) { e.mutable_selectors(0)->set_type("a:b"); }),
            "selector type contains ':'");
  EXPECT_EQ(refusal([](Proto& e) { e.mutable_selectors(0)->set_value(""); }),
            "missing selector value");
  EXPECT_EQ(refusal([](Proto& e) { e.set_hint(std::string(1025, 'h')); }),
            "hint is too long, max length is 1024 characters");
  EXPECT_THAT(refusal([](Proto& e) { e.add_federates_with("No Domain"); }),
              StartsWith("invalid federated trust domain: "));
  EXPECT_EQ(refusal([](Proto& e) { e.add_dns_names("a.*.b"); }),
            "invalid DNS name: wildcard must be first label");
}

TEST(EntryValidation, AMaskLetsFieldsBeAbsentAndIgnoresWhatItDoesNotName) {
  Proto proto;
  proto.set_id("x");
  proto.set_hint("hint");
  proto.add_dns_names("not valid!");
  ProtoMask mask;
  mask.set_hint(true);
  mask.set_admin(true);
  auto change = entry_change_from_proto(domain("example.org"), proto, &mask).take();
  EXPECT_EQ(change.entry.id, "x");
  EXPECT_EQ(change.entry.hint, "hint");
  EXPECT_TRUE(change.mask.hint && change.mask.admin);
  EXPECT_FALSE(change.mask.spiffe_id || change.mask.selectors || change.mask.dns_names);
  EXPECT_FALSE(entry_change_from_proto(domain("example.org"), proto, nullptr).ok());
}

TEST(DnsName, AcceptsNamesOfCertificates) {
  for (const char* name : {"com", "example.com", "*.example.com", "a-hello.com", "xn--ls8h.org",
                           "xn--mnchen-3ya.de", "ABC.com", "_svc.example", "1.2.3.4"}) {
    EXPECT_TRUE(validate_dns_name(name).ok()) << name;
  }
  EXPECT_TRUE(validate_dns_name(fmt::format("{:a<63}.c", "")).ok());
}

TEST(DnsName, RefusesWithTheReferencesWords) {
  auto text = [](std::string_view name) {
    auto valid = validate_dns_name(name);
    return valid.ok() ? std::string("accepted") : valid.error().message;
  };
  EXPECT_EQ(text(""), "empty or only whitespace");
  EXPECT_EQ(text(" "), "empty or only whitespace");
  EXPECT_EQ(text("."), "domain ends with dot");
  EXPECT_EQ(text("example.com."), "domain ends with dot");
  EXPECT_EQ(text("*.foo.*.bar"), "too many wildcards");
  EXPECT_EQ(text("foo.*.bar"), "wildcard must be first label");
  EXPECT_EQ(text("*foo.bar"), "wildcard must be first label");
  EXPECT_EQ(text("*."), "empty or only whitespace");
  EXPECT_EQ(text("\xF0\x9F\x92\xA9.com"), "name must be ascii");
  EXPECT_EQ(text("-hello.com"), "idna error\nidna: invalid label \"-hello\"");
  EXPECT_EQ(text("a..b"), "idna error\nidna: invalid label \"\"");
  EXPECT_EQ(text(fmt::format("{:a<64}.c", "")),
            fmt::format("idna error\nidna: invalid label \"{:a<64}\"", ""));
  for (std::string_view name :
       {std::string_view("a b.com"), std::string_view("com\0", 4), std::string_view("a-.com"),
        std::string_view("ab--c.com"), std::string_view("xn--zzzzzzzz99.com"),
        std::string_view("xn--a.com"), std::string_view("xn--.com"),
        std::string_view("xn--abc-.com"), std::string_view("a/b"),
        std::string_view("XN--ls8h.org")}) {
    EXPECT_THAT(text(name), StartsWith("idna error\n")) << name;
  }
  std::string long_name;
  for (int i = 0; i < 127; ++i) {
    long_name += "a.";
  }
  EXPECT_THAT(text(long_name + "a"), StartsWith("idna error\n"));
}

TEST(DnsNames, AWildcardMayNotCoverAnotherOfTheNames) {
  EXPECT_FALSE(check_wildcard_overlap({"*.example.org", "a.example.org"}).ok());
  EXPECT_TRUE(check_wildcard_overlap({"*.example.org", "a.b.example.org", "example.org"}).ok());
  EXPECT_TRUE(check_wildcard_overlap({"*.example.org"}).ok());
}

}  // namespace
}  // namespace steeple::server
