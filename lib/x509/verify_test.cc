// SPDX-License-Identifier: Apache-2.0

// Goal: chains verify by X509-SVID sections 4 and 5 and RFC 5280 section 6, and each refusal says
// why in go-spiffe's words. Method: real chains from FakeAuthority, hand-made CAs for the
// constraints, an injected time.

#include "lib/x509/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/crypto/der.h"
#include "lib/x509/encoding.h"
#include "lib/x509/fake_authority.h"
#include "lib/x509/name_constraints.h"

namespace steeple::x509 {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const WallTime kNow = from_unix_seconds(1'893'456'000);
using std::chrono::hours;

void expect_refused(const Result<VerifiedSvid>& result, Refusal why, std::string_view text) {
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, StartsWith(std::string(text)));
  EXPECT_EQ(refusal_of(result.error()), why) << result.error().message;
}

TEST(VerifySvid, AcceptsALeafOfARoot) {
  FakeAuthority authority("example.org", kNow);
  auto verified =
      verify_svid(authority.issue("/web", kNow).chain, authority.authorities(), kNow).take();
  EXPECT_EQ(verified.id.text(), "spiffe://example.org/web");
  ASSERT_EQ(verified.path.size(), 2U);
  EXPECT_EQ(*verified.path[1], *authority.certificate());
}

TEST(VerifySvid, AcceptsIntermediatesInAnyOrder) {
  FakeAuthority root("example.org", kNow);
  FakeAuthority lower = root.intermediate(kNow).intermediate(kNow);
  auto chain = lower.issue("/web", kNow).chain;
  ASSERT_EQ(chain.size(), 3U);
  EXPECT_EQ(verify_svid(chain, lower.authorities(), kNow).take().path.size(), 4U);
  std::swap(chain[1], chain[2]);
  EXPECT_TRUE(verify_svid(chain, lower.authorities(), kNow).ok());
  chain.pop_back();
  expect_refused(verify_svid(chain, lower.authorities(), kNow), Refusal::kUnknownAuthority,
                 "x509svid: could not verify leaf certificate: x509: certificate signed by unknown "
                 "authority");
}

TEST(VerifySvid, AnAuthorityOfAnotherBundleIsUnknown) {
  FakeAuthority ours("example.org", kNow);
  FakeAuthority theirs("example.org", kNow);
  auto result = verify_svid(theirs.issue("/web", kNow).chain, ours.authorities(), kNow);
  expect_refused(result, Refusal::kUnknownAuthority,
                 "x509svid: could not verify leaf certificate: x509: certificate signed by unknown "
                 "authority");
  auto roots = std::make_shared<const Authorities>();
  expect_refused(verify_svid(
                     theirs.issue("/web", kNow).chain,
                     [&](const spiffe::TrustDomain&) { return roots; }, kNow),
                 Refusal::kUnknownAuthority, "x509svid: could not verify leaf certificate");
}

TEST(VerifySvid, SameNameButAnotherKeyTellsWhy) {
  // Two CAs of the same subject: the signature decides, and the refusal hints at it as Go does.
  FakeAuthority real("example.org", kNow);
  auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  Bytes subject(real.certificate()->subject());
  Bytes twin =
      build_self_signed_ca({real.domain().id(), subject, "\x05", validity(kNow, hours(1))}, *key)
          .take();
  auto roots = std::make_shared<const Authorities>(Authorities{Certificate::parse(twin).take()});
  auto lookup = [&](const spiffe::TrustDomain&) { return roots; };
  auto result = verify_svid(real.issue("/web", kNow).chain, lookup, kNow);
  expect_refused(result, Refusal::kUnknownAuthority, "x509svid: could not verify leaf");
  EXPECT_THAT(result.error().message,
              HasSubstr("(possibly because of \"x509: ECDSA verification failure\" while trying to "
                        "verify candidate authority certificate \"SPIFFE\")"));
  // With the real one beside it the path is found.
  auto both = std::make_shared<const Authorities>(
      Authorities{Certificate::parse(twin).take(), real.certificate()});
  EXPECT_TRUE(
      verify_svid(
          real.issue("/web", kNow).chain, [&](const spiffe::TrustDomain&) { return both; }, kNow)
          .ok());
}

TEST(VerifySvid, TimeBoundsAreInclusive) {
  FakeAuthority authority("example.org", kNow);
  auto chain = authority.issue("/web", kNow, hours(1)).chain;
  auto at = [&](WallTime now) { return verify_svid(chain, authority.authorities(), now); };
  EXPECT_TRUE(at(kNow - std::chrono::seconds(10)).ok());
  EXPECT_TRUE(at(kNow + hours(1)).ok());
  expect_refused(at(kNow + hours(1) + std::chrono::seconds(1)), Refusal::kExpired,
                 "x509svid: could not verify leaf certificate: x509: certificate has expired or is "
                 "not yet valid: current time 2030-01-01T01:00:01Z is after 2030-01-01T01:00:00Z");
  expect_refused(at(kNow - std::chrono::seconds(11)), Refusal::kExpired,
                 "x509svid: could not verify leaf certificate: x509: certificate has expired or is "
                 "not yet valid: current time 2029-12-31T23:59:49Z is before 2029-12-31T23:59:50Z");
}

TEST(VerifySvid, AnExpiredAuthorityIsToldAsExpired) {
  FakeAuthority authority("example.org", kNow, hours(1));
  auto chain = authority.issue("/web", kNow, hours(5)).chain;
  expect_refused(verify_svid(chain, authority.authorities(), kNow + hours(2)), Refusal::kExpired,
                 "x509svid: could not verify leaf certificate: x509: certificate signed by unknown "
                 "authority (possibly because of \"x509: certificate has expired");
}

TEST(VerifySvid, TheBundleOfThePeersTrustDomainDecides) {
  FakeAuthority a("a.org", kNow);
  FakeAuthority b("b.org", kNow);
  // b's CA signs an id of a.org: only a.org's bundle counts.
  auto forged = b.issue("spiffe://a.org/admin", kNow).chain;
  auto lookup = [fa = a.authorities(), fb = b.authorities()](const spiffe::TrustDomain& domain) {
    auto found = fa(domain);
    return found ? found : fb(domain);
  };
  EXPECT_TRUE(verify_svid(b.issue("/web", kNow).chain, lookup, kNow).ok());
  expect_refused(verify_svid(forged, lookup, kNow), Refusal::kUnknownAuthority, "x509svid: ");
  FakeAuthority c("c.org", kNow);
  expect_refused(verify_svid(c.issue("/web", kNow).chain, lookup, kNow), Refusal::kNoBundle,
                 "x509svid: could not get X509 bundle: no X.509 bundle for trust domain \"c.org\"");
}

TEST(VerifySvid, ACaIsNoLeaf) {
  FakeAuthority authority("example.org", kNow);
  expect_refused(verify_svid(std::vector<Bytes>{authority.certificate()->der()},
                             authority.authorities(), kNow),
                 Refusal::kNotSvid, "x509svid: leaf certificate with CA flag set to true");
}

TEST(VerifySvid, RefusesWhatIsNoChain) {
  FakeAuthority authority("example.org", kNow);
  auto lookup = authority.authorities();
  expect_refused(verify_svid(std::vector<Bytes>{}, lookup, kNow), Refusal::kMalformed,
                 "x509svid: empty certificates chain");
  expect_refused(verify_svid(std::vector<Bytes>{"junk"}, lookup, kNow), Refusal::kMalformed,
                 "x509svid: unable to parse certificate: x509: malformed certificate: ");
  std::vector<Bytes> long_chain(limits::kChainCertificatesMax + 1, authority.certificate()->der());
  expect_refused(verify_svid(long_chain, lookup, kNow), Refusal::kMalformed,
                 "x509svid: chain of 17 certificates is too long");
}

// --- certificates that our builder would not make ----------------------------------------------

struct Custom {
  std::vector<Bytes> extensions;
  Name subject = default_svid_subject();
  Name issuer = default_svid_subject();
  WallTime not_after = kNow + hours(1);
};

Bytes custom(const Custom& c, const crypto::PublicKey& key, const crypto::Signer& signer) {
  using namespace crypto;
  Bytes list;
  for (const Bytes& extension : c.extensions) {
    list += extension;
  }
  Bytes algorithm(algorithm_identifier(default_algorithm(signer.key_type())));
  Bytes tbs =
      der_sequence({ByteView("\xa0\x03\x02\x01\x02", 5), der_unsigned_integer("\x07"), algorithm,
                    c.issuer.encode().take(), der_sequence({der_time(kNow), der_time(c.not_after)}),
                    c.subject.encode().take(), key.spki(),
                    crypto::der(tag::context_constructed(3), crypto::der(tag::kSequence, list))});
  Bytes signature = signer.sign(default_algorithm(signer.key_type()), tbs).take();
  return der_sequence({tbs, algorithm, der_bit_string(signature)});
}

Bytes uri_san(std::vector<std::string> uris) {
  return encode_extension(oid::kSubjectAltName, false, encode_alt_names({}, uris).take());
}
Bytes ca_constraints(std::optional<char> length = {}) {
  Bytes content = crypto::der_boolean_true();
  if (length) {
    content += crypto::der_unsigned_integer(ByteView(&*length, 1));
  }
  return encode_extension(oid::kBasicConstraints, true, crypto::der_sequence({content}));
}
Bytes usage(std::uint16_t bits) {
  return encode_extension(oid::kKeyUsage, true, crypto::der_named_bits(bits));
}
Name named(std::string common_name) {
  Name name;
  name.common_name = std::move(common_name);
  return name;
}

// root -> (mid ->) leaf with chosen extensions; the root is trusted.
class Crafted : public testing::Test {
 protected:
  Result<VerifiedSvid> verify(const std::vector<Bytes>& root_extensions,
                              const std::vector<Bytes>& leaf_extensions) {
    return verify_with(root_extensions, {}, leaf_extensions);
  }
  Result<VerifiedSvid> verify_with(const std::vector<Bytes>& root_extensions,
                                   const std::vector<std::vector<Bytes>>& mids,
                                   const std::vector<Bytes>& leaf_extensions) {
    Bytes root = custom({root_extensions, named("root"), named("root")}, key_->public_key(), *key_);
    std::vector<Bytes> chain;
    std::string parent = "root";
    for (std::size_t i = 0; i < mids.size(); ++i) {
      std::string name = "mid" + std::to_string(i);
      chain.push_back(custom({mids[i], named(name), named(parent)}, key_->public_key(), *key_));
      parent = name;
    }
    chain.insert(chain.begin(), custom({leaf_extensions, named("leaf"), named(parent)},
                                       key_->public_key(), *key_));
    auto roots = std::make_shared<const Authorities>(Authorities{Certificate::parse(root).take()});
    return verify_svid(chain, [&](const spiffe::TrustDomain&) { return roots; }, kNow);
  }
  std::shared_ptr<const crypto::PrivateKey> key_ =
      crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  const Bytes id_ = uri_san({"spiffe://example.org/web"});
  const std::vector<Bytes> ca_ = {ca_constraints(), usage(key_usage::kCertSign)};
};

TEST_F(Crafted, PlainChainsVerify) {
  EXPECT_TRUE(verify(ca_, {id_}).ok());
  EXPECT_TRUE(verify_with(ca_, {ca_, ca_, ca_}, {id_}).ok());
}

TEST_F(Crafted, ExactlyOneUriSanThatIsASpiffeId) {
  std::string head = "x509svid: could not get leaf SPIFFE ID: ";
  expect_refused(verify(ca_, {}), Refusal::kNotSvid, head + "certificate contains no URI SAN");
  expect_refused(verify(ca_, {uri_san({"spiffe://example.org/a", "spiffe://example.org/b"})}),
                 Refusal::kNotSvid, head + "certificate contains more than one URI SAN");
  expect_refused(verify(ca_, {uri_san({"https://example.org/a"})}), Refusal::kNotSvid,
                 head + "scheme is missing or invalid");
  expect_refused(verify(ca_, {uri_san({"spiffe://example.org/a/"})}), Refusal::kNotSvid,
                 head + "path cannot have a trailing slash");
}

TEST_F(Crafted, LeafMustNotSign) {
  expect_refused(verify(ca_, {id_, usage(key_usage::kCertSign | key_usage::kDigitalSignature)}),
                 Refusal::kNotSvid, "x509svid: leaf certificate with KeyCertSign key usage");
  expect_refused(verify(ca_, {id_, usage(key_usage::kCrlSign)}), Refusal::kNotSvid,
                 "x509svid: leaf certificate with KeyCrlSign key usage");
}

TEST_F(Crafted, ARootThatIsNoCaSignsNothing) {
  for (const std::vector<Bytes>& bad :
       {std::vector<Bytes>{},
        {encode_extension(oid::kBasicConstraints, true, Bytes("\x30\x00", 2))},
        {ca_constraints(), usage(key_usage::kDigitalSignature)}}) {
    auto result = verify(bad, {id_});
    expect_refused(result, Refusal::kConstraint, "x509svid: could not verify leaf certificate");
    EXPECT_THAT(result.error().message, HasSubstr("parent certificate cannot sign"));
  }
  EXPECT_TRUE(verify({ca_constraints()}, {id_}).ok()) << "without key usage anything is allowed";
}

TEST_F(Crafted, ALeafDoesNotSignOthers) {
  std::vector<Bytes> not_ca = {uri_san({"spiffe://example.org/evil"})};
  EXPECT_FALSE(verify_with(ca_, {not_ca}, {id_}).ok());
}

TEST_F(Crafted, PathLengthIsKept) {
  auto limited = [](char most) {
    return std::vector<Bytes>{ca_constraints(most), usage(key_usage::kCertSign)};
  };
  EXPECT_TRUE(verify_with(limited(0), {}, {id_}).ok());
  EXPECT_TRUE(verify_with(limited(1), {ca_}, {id_}).ok());
  auto result = verify_with(limited(0), {ca_}, {id_});
  expect_refused(result, Refusal::kConstraint, "x509svid: could not verify leaf certificate");
  EXPECT_THAT(result.error().message, HasSubstr("too many intermediates"));
  EXPECT_FALSE(verify_with(limited(1), {ca_, ca_}, {id_}).ok());
  EXPECT_FALSE(verify_with(ca_, {limited(0), ca_}, {id_}).ok());
}

TEST_F(Crafted, UnknownCriticalExtensionsRefuse) {
  Bytes unknown = encode_extension(crypto::oid_encode("1.2.3.4").take(), true, "x");
  expect_refused(verify(ca_, {id_, unknown}), Refusal::kConstraint,
                 "x509svid: could not verify leaf certificate: x509: unhandled critical extension");
  std::vector<Bytes> ca = ca_;
  ca.push_back(unknown);
  EXPECT_FALSE(verify(ca, {id_}).ok());
}

Bytes constraints(bool permitted, std::uint8_t kind, std::string_view base) {
  using namespace crypto;
  Bytes tree = der_sequence({crypto::der(tag::context(kind), base)});
  Bytes trees = crypto::der(tag::context_constructed(permitted ? 0 : 1), tree);
  return encode_extension(oid::kNameConstraints, true, der_sequence({trees}));
}

TEST_F(Crafted, NameConstraintsBindTheTrustDomain) {
  auto with = [&](const Bytes& constraint) {
    std::vector<Bytes> ca = ca_;
    ca.push_back(constraint);
    return verify(ca, {id_});
  };
  EXPECT_TRUE(with(constraints(true, 6, "example.org")).ok());
  EXPECT_TRUE(with(constraints(true, 6, ".org")).ok());
  EXPECT_TRUE(with(constraints(false, 6, "other.org")).ok());
  EXPECT_TRUE(with(constraints(true, 2, "example.org")).ok()) << "no DNS name to constrain";
  for (const Bytes& bad : {constraints(true, 6, "other.org"), constraints(false, 6, "example.org"),
                           constraints(true, 6, ".example.org"), constraints(true, 1, "a@b"),
                           encode_extension(oid::kNameConstraints, true, "junk")}) {
    auto result = with(bad);
    expect_refused(result, Refusal::kConstraint, "x509svid: could not verify leaf certificate");
    EXPECT_THAT(result.error().message, HasSubstr("not authorized to sign for this name"));
  }
}

TEST(VerifySvid, ManyFalseCandidatesCostBoundedWork) {
  // 15 intermediates of one name, each signed by the next: every step tries all that are left and
  // finds the right one last.
  std::vector<std::shared_ptr<const crypto::PrivateKey>> keys;
  for (int i = 0; i < 16; ++i) {
    keys.push_back(crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take());
  }
  std::vector<Bytes> ca = {ca_constraints(), usage(key_usage::kCertSign)};
  std::vector<Bytes> chain = {
      custom({{uri_san({"spiffe://example.org/a"})}, named("x"), named("m")}, keys[0]->public_key(),
             *keys[0])};
  for (std::size_t i = 15; i-- > 0;) {
    chain.push_back(custom({ca, named("m"), named("m")}, keys[i]->public_key(), *keys[i + 1]));
  }
  auto roots = std::make_shared<const Authorities>();
  auto result = verify_svid(chain, [&](const spiffe::TrustDomain&) { return roots; }, kNow);
  expect_refused(result, Refusal::kUnknownAuthority, "x509svid: could not verify leaf certificate");
  EXPECT_THAT(result.error().message, HasSubstr("signature check attempts limit reached"));
}

TEST(VerifyChain, ARootVerifiesItself) {
  FakeAuthority authority("example.org", kNow);
  EXPECT_EQ(verify_chain(authority.certificate(), {}, authority.roots(), kNow).take().size(), 1U);
  EXPECT_FALSE(verify_chain(authority.certificate(), {}, {}, kNow).ok());
}

TEST(NameConstraints, MatchDnsAndAddresses) {
  auto key = crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  Bytes names = crypto::der(0x82, "Web.Example.org") + crypto::der(0x87, "\x0a\x01\x02\x03");
  auto leaf =
      Certificate::parse(
          custom({{encode_extension(oid::kSubjectAltName, false, crypto::der_sequence({names}))}},
                 key->public_key(), *key))
          .take();
  auto check = [&](bool permitted, std::uint8_t kind, std::string_view base) {
    using namespace crypto;
    Bytes tree = der_sequence({crypto::der(tag::context(kind), base)});
    Bytes value = der_sequence({crypto::der(tag::context_constructed(permitted ? 0 : 1), tree)});
    return check_name_constraints(value, *leaf).ok();
  };
  EXPECT_TRUE(check(true, 2, "example.org"));
  EXPECT_TRUE(check(true, 2, ".example.org"));
  EXPECT_TRUE(check(true, 2, ""));
  EXPECT_FALSE(check(true, 2, "ample.org"));
  EXPECT_FALSE(check(false, 2, "EXAMPLE.org"));
  EXPECT_TRUE(check(true, 7, ByteView("\x0a\x01\x00\x00\xff\xff\x00\x00", 8)));
  EXPECT_FALSE(check(true, 7, ByteView("\x0a\x02\x00\x00\xff\xff\x00\x00", 8)));
  EXPECT_FALSE(check(false, 7, ByteView("\x0a\x00\x00\x00\xff\x00\x00\x00", 8)));
  EXPECT_FALSE(check(true, 7, ByteView("\x0a\x01\x00\x00", 4)));
}

TEST(Refusal, EveryKindSurvivesItsTripThroughAnError) {
  EXPECT_EQ(refusal_of(permission_denied("unexpected ID")), Refusal::kOther);
  EXPECT_EQ(refusal_of(Error{Code::kOutOfRange, ""}), Refusal::kExpired);
}

}  // namespace
}  // namespace steeple::x509
