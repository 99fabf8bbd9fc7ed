// SPDX-License-Identifier: Apache-2.0

// X509-SVID, as a relying party of ours judges a presented chain (verify_svid, which every TLS
// handshake calls) and as a workload judges its own (X509Svid::parse). Certificates from OpenSSL.

#include "spiffe/svid/x509_svid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/x509/verify.h"
#include "spiffe/bundle/bundle.h"
#include "tests/conformance/crafted.h"

namespace spiffe::conformance {
namespace {

using testing::HasSubstr;

const Extensions kLeaf = {{NID_basic_constraints, "critical,CA:FALSE"},
                          {NID_key_usage, "critical,digitalSignature"},
                          {NID_ext_key_usage, "serverAuth,clientAuth"},
                          {NID_subject_alt_name, "URI:spiffe://example.org/web"}};

class X509SvidClause : public testing::Test {
 protected:
  // Both judges' refusals, or nothing.
  struct Judged {
    std::string as_peer, as_own;
  };
  Judged judge(const Crafted& leaf) const {
    Judged out;
    auto lookup = [&](const TrustDomain& domain) {
      return domain == domain_ ? bundle_.x509_authorities() : nullptr;
    };
    auto verified = steeple::x509::verify_svid({leaf.der}, lookup, kNow);
    out.as_peer = verified.ok() ? "" : verified.error().message;
    auto parsed = X509Svid::parse(leaf.der, pkcs8(leaf.key));
    out.as_own = parsed.ok() ? "" : parsed.error().message;
    return out;
  }
  // The good leaf with one extension in another form; an empty text leaves it out.
  Crafted leaf_with(int nid, const std::string& text, const char* subject = "leaf") const {
    Extensions extensions;
    for (const auto& [known, value] : kLeaf) {
      if (const std::string& now = known == nid ? text : value; !now.empty()) {
        extensions.emplace_back(known, now);
      }
    }
    return craft(extensions, subject, &authority_);
  }
  void expect_good(const Crafted& leaf) const {
    Judged judged = judge(leaf);
    EXPECT_EQ(judged.as_peer, "");
    EXPECT_EQ(judged.as_own, "");
  }
  void expect_refused(const Crafted& leaf, const std::string& why) const {
    Judged judged = judge(leaf);
    EXPECT_THAT(judged.as_peer, HasSubstr(why));
    EXPECT_NE(judged.as_own, "");
  }

  const TrustDomain domain_ = TrustDomain::parse("example.org").take();
  const Crafted authority_ = craft_authority();
  const Bundle bundle_ = Bundle::from_x509(domain_, authority_.der).take();
};

TEST_F(X509SvidClause, AGoodLeafIsAccepted) { expect_good(leaf_with(0, "")); }

// 2: "MUST contain exactly one URI SAN ... Validators encountering an SVID containing more than one
// URI SAN MUST reject"; "MAY contain any number of other SAN field types".
TEST_F(X509SvidClause, S2_ExactlyOneUriSan) {
  expect_refused(leaf_with(NID_subject_alt_name, ""), "no URI SAN");
  expect_refused(leaf_with(NID_subject_alt_name, "DNS:web.example.org"), "no URI SAN");
  expect_refused(
      leaf_with(NID_subject_alt_name, "URI:spiffe://example.org/web,URI:spiffe://example.org/b"),
      "more than one URI SAN");
  expect_refused(
      leaf_with(NID_subject_alt_name, "URI:spiffe://example.org/web,URI:https://example.org"),
      "more than one URI SAN");
}
TEST_F(X509SvidClause, S2_OtherKindsOfSansAreNoMatter) {
  expect_good(leaf_with(NID_subject_alt_name,
                        "DNS:a.test,DNS:*.b.test,IP:10.0.0.1,email:a@b.test,"
                        "URI:spiffe://example.org/web,RID:1.2.3.4"));
}

// 3.1: "URI SAN extension MUST be marked as critical if Subject is omitted".
TEST_F(X509SvidClause, S3_1_ALeafWithoutSubjectIsAcceptedWithACriticalSan) {
  expect_good(leaf_with(NID_subject_alt_name, "critical,URI:spiffe://example.org/web", ""));
}

// 3.1 and 5.2: "MUST ensure that the SPIFFE ID has a non-root path component"; the scheme is
// spiffe.
TEST_F(X509SvidClause, S5_2_TheLeafsSpiffeIdHasAPath) {
  expect_refused(leaf_with(NID_subject_alt_name, "URI:spiffe://example.org"), "path");
  expect_refused(leaf_with(NID_subject_alt_name, "URI:spiffe://example.org/"), "path");
}
TEST_F(X509SvidClause, S5_2_TheSchemeIsSpiffe) {
  expect_refused(leaf_with(NID_subject_alt_name, "URI:https://example.org/web"), "scheme");
  expect_refused(leaf_with(NID_subject_alt_name, "URI:spiffe-x://example.org/web"), "scheme");
}

// 3.2: "Signing certificates MUST NOT be used for authentication purposes."
TEST_F(X509SvidClause, S3_2_ASigningCertificateAuthenticatesNobody) {
  EXPECT_NE(judge(authority_).as_peer, "");
  Crafted with_path = craft({{NID_basic_constraints, "critical,CA:TRUE"},
                             {NID_key_usage, "critical,keyCertSign,digitalSignature"},
                             {NID_subject_alt_name, "URI:spiffe://example.org/web"}},
                            "lower", &authority_);
  expect_refused(with_path, "CA flag");
}

// 4.1, 4.3 and 5.2: "the cA field ... is set to false, and that keyCertSign and cRLSign are not
// set".
TEST_F(X509SvidClause, S5_2_ALeafIsNoCa) {
  expect_refused(leaf_with(NID_basic_constraints, "critical,CA:TRUE"), "CA flag");
}
TEST_F(X509SvidClause, S5_2_ALeafMayNotSign) {
  expect_refused(leaf_with(NID_key_usage, "critical,digitalSignature,keyCertSign"), "KeyCertSign");
  expect_refused(leaf_with(NID_key_usage, "critical,digitalSignature,cRLSign"), "KeyCrlSign");
}
// 4.3: "Leaf SVIDs MUST set digitalSignature. They MAY set keyEncipherment and/or keyAgreement".
TEST_F(X509SvidClause, S4_3_KeyUsageOfALeaf) {
  expect_good(leaf_with(NID_key_usage, "critical,digitalSignature,keyEncipherment,keyAgreement"));
  EXPECT_THAT(judge(leaf_with(NID_key_usage, "critical,keyAgreement")).as_own,
              HasSubstr("digitalSignature"));
}
// 4.4: "Leaf SVIDs SHOULD include this extension, and it MAY be marked as critical."
TEST_F(X509SvidClause, S4_4_ExtendedKeyUsageMayBeAbsentOrCritical) {
  expect_good(leaf_with(NID_ext_key_usage, ""));
  expect_good(leaf_with(NID_ext_key_usage, "critical,serverAuth,clientAuth"));
}
// 4.1: basic constraints of a leaf may be left out, which is cA false.
TEST_F(X509SvidClause, S4_1_BasicConstraintsOfALeafMayBeAbsent) {
  expect_good(leaf_with(NID_basic_constraints, ""));
}

// 5.1: "MUST follow RFC 5280 path validation semantics": who signed must have been allowed to.
TEST_F(X509SvidClause, S5_1_ALeafsKeySignsNothing) {
  Crafted leaf = leaf_with(0, "");
  Crafted below = craft(kLeaf, "below", &leaf);
  auto lookup = [&](const TrustDomain&) { return bundle_.x509_authorities(); };
  EXPECT_FALSE(steeple::x509::verify_svid({below.der, leaf.der}, lookup, kNow).ok());
}

// 6.2: "If x5c is not set, or is empty, then the entry MUST be ignored"; "If the x5c parameter
// contains multiple values, then all but the first MUST be ignored."
TEST_F(X509SvidClause, S6_2_EntriesOfABundleAreTakenByTheirFirstCertificate) {
  Crafted other = craft_authority("other");
  std::string members = jwk_members(authority_.key);
  auto count = [&](const std::string& x5c) {
    auto bundle = Bundle::from_document(
        domain_, R"({"keys":[{)" + members + R"(,"use":"x509-svid")" + x5c + "}]}");
    EXPECT_TRUE(bundle.ok()) << bundle.error().message;
    return bundle.ok() ? bundle->x509_authorities()->size() : 99;
  };
  std::string first = base64(authority_.der);
  EXPECT_EQ(count(R"(,"x5c":[")" + first + "\"]"), 1U);
  EXPECT_EQ(count(R"(,"x5c":[")" + first + "\",\"" + base64(other.der) + "\"]"), 1U);
  EXPECT_EQ(count(""), 0U);
  EXPECT_EQ(count(R"(,"x5c":[])"), 0U);
}

// 6.2: an authority of the bundle verifies; SPIFFE-ID 3: only of its own trust domain.
TEST_F(X509SvidClause, S6_2_TheBundleOfTheIdsTrustDomainDecides) {
  EXPECT_THAT(judge(leaf_with(NID_subject_alt_name, "URI:spiffe://other.org/web")).as_peer,
              HasSubstr("no X.509 bundle"));
}

}  // namespace
}  // namespace spiffe::conformance
