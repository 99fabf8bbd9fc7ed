// SPDX-License-Identifier: Apache-2.0

// Goal: files hold what the Workload API gave, whole or not at all. Method: real certificates, a
// real folder.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "helper/files/atomic_files.h"
#include "helper/files/render.h"
#include "lib/crypto/pem.h"
#include "lib/io/directory.h"
#include "lib/x509/fake_authority.h"

namespace steeple::helper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class AtomicFilesTest : public ::testing::Test {
 protected:
  AtomicFilesTest() {
    std::string name = "/tmp/steeple-helper-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~AtomicFilesTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  static std::string read(const std::string& path) {
    auto text = io::read_file(path, 1 << 20);
    return text.ok() ? *text : text.error().message;
  }
  static Result<void> write(std::vector<std::pair<std::string, std::string>> files,
                            mode_t mode = 0600) {
    std::vector<FileContent> all;
    for (auto& [path, content] : files) {
      all.push_back({path, SecretBytes(content), mode});
    }
    return write_files(all);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      out.push_back(entry.path().filename());
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  std::string folder_;
};

TEST_F(AtomicFilesTest, AFileIsReplacedWholeAndNothingElseIsLeft) {
  ASSERT_TRUE(write({{path("a"), "first"}}).ok());
  int before = ::open(path("a").c_str(), O_RDONLY);
  ASSERT_TRUE(write({{path("a"), "second"}}).ok());
  EXPECT_EQ(read(path("a")), "second");
  char buffer[16] = {};
  EXPECT_EQ(::read(before, buffer, sizeof buffer), 5) << "who reads the old one goes on reading it";
  EXPECT_STREQ(buffer, "first");
  ::close(before);
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(AtomicFilesTest, TheModeIsAsAskedWhateverTheUmask) {
  mode_t before = ::umask(0077);
  ASSERT_TRUE(write({{path("a"), "x"}}, 0644).ok());
  ::umask(before);
  struct stat info{};
  ASSERT_EQ(::stat(path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644U);
}

TEST_F(AtomicFilesTest, WhenOneCannotBeWrittenNoneChanges) {
  ASSERT_TRUE(write({{path("a"), "old"}, {path("b"), "old"}}).ok());
  Result<void> written = write({{path("a"), "new"}, {path("b"), "new"}, {path("no/c"), "new"}});
  ASSERT_FALSE(written.ok());
  EXPECT_THAT(written.error().message, HasSubstr(path("no/c")));
  EXPECT_EQ(read(path("a")), "old");
  EXPECT_EQ(read(path("b")), "old");
  ::mkdir(path("d").c_str(), 0755);
  EXPECT_THAT(write({{path("a"), "new"}, {path("d"), "new"}}).error().message,
              HasSubstr("is a directory"));
  EXPECT_EQ(read(path("a")), "old");
  EXPECT_THAT(names(), ElementsAre("a", "b", "d"));
}

TEST_F(AtomicFilesTest, ALinkStaysALink) {
  ::mkdir(path("real").c_str(), 0755);
  ASSERT_TRUE(write({{path("real/a"), "old"}}).ok());
  ASSERT_EQ(::symlink("real/a", path("a").c_str()), 0);
  ASSERT_TRUE(write({{path("a"), "new"}}).ok());
  EXPECT_TRUE(std::filesystem::is_symlink(path("a")));
  EXPECT_EQ(read(path("real/a")), "new");
}

TEST_F(AtomicFilesTest, LeftoversOfAKilledProcessGoAndNothingElse) {
  for (const char* name : {"a", ".a.12345678.tmp", ".b.12345678.tmp", ".a.tmp", ".a.1.tmp"}) {
    std::ofstream(path(name)) << "x";
  }
  remove_leftovers(path("a"));
  EXPECT_THAT(names(), ElementsAre(".a.1.tmp", ".a.tmp", ".b.12345678.tmp", "a"));
}

class RenderTest : public ::testing::Test {
 protected:
  static constexpr const char* kId = "spiffe://example.org/web";

  spiffe::X509Context context() {
    spiffe::X509Context out;
    out.svids.push_back(svid("web", ""));
    out.svids.push_back(svid("db", "internal"));
    out.bundles.put(own_);
    out.bundles.put(federated_);
    return out;
  }
  spiffe::X509Svid svid(const std::string& name, const std::string& hint) {
    auto made = authority_.issue("/" + name, now_);
    std::string chain;
    for (const auto& certificate : made.chain) {
      chain += certificate;
    }
    chain += other_.certificate()->der();  // stands for an intermediate
    return spiffe::X509Svid::parse(chain, made.key->to_pkcs8().reveal(), hint).take();
  }
  static std::vector<Bytes> ders(const SecretBytes& pem) {
    std::vector<Bytes> out;
    auto blocks = crypto::pem_decode(pem.reveal()).take();
    for (auto& block : blocks) {
      EXPECT_EQ(block.label, "CERTIFICATE");
      out.push_back(block.der);
    }
    return out;
  }

  WallTime now_ = from_unix_seconds(1'800'000'000);
  x509::FakeAuthority authority_{"example.org", now_}, other_{"other.org", now_};
  spiffe::Bundle own_ = spiffe::Bundle::from_x509(spiffe::TrustDomain::parse("example.org").take(),
                                                  authority_.certificate()->der())
                            .take();
  spiffe::Bundle federated_ =
      spiffe::Bundle::from_x509(spiffe::TrustDomain::parse("other.org").take(),
                                other_.certificate()->der())
          .take();
};

TEST_F(RenderTest, TheSvidHasItsChainTheBundleTheOwnAuthorities) {
  auto context = this->context();
  auto pem = render_x509(context, {}, now_).take();
  EXPECT_THAT(ders(pem.svid),
              ElementsAre(context.svids[0].leaf().der(), other_.certificate()->der()));
  EXPECT_THAT(ders(pem.bundle), ElementsAre(authority_.certificate()->der()));
  auto key = crypto::pem_decode(pem.key.reveal()).take();
  ASSERT_EQ(key.size(), 1U);
  EXPECT_EQ(key[0].label, "PRIVATE KEY");
  EXPECT_EQ(key[0].der, context.svids[0].key()->to_pkcs8().reveal());
}

TEST_F(RenderTest, IntermediatesMayGoToTheBundle) {
  auto context = this->context();
  auto pem = render_x509(context, {.add_intermediates_to_bundle = true}, now_).take();
  EXPECT_THAT(ders(pem.svid), ElementsAre(context.svids[0].leaf().der()));
  EXPECT_THAT(ders(pem.bundle),
              ElementsAre(authority_.certificate()->der(), other_.certificate()->der()));
}

TEST_F(RenderTest, FederatedAuthoritiesComeWhenAskedFor) {
  auto pem = render_x509(context(), {.include_federated_domains = true}, now_).take();
  EXPECT_THAT(ders(pem.bundle),
              ElementsAre(authority_.certificate()->der(), other_.certificate()->der()));
}

TEST_F(RenderTest, ExpiredAuthoritiesAreLeftOutWhenAskedForButNeverTheSvid) {
  WallTime late = authority_.certificate()->not_after() + std::chrono::seconds(1);
  auto pem = render_x509(context(), {.omit_expired = true}, late).take();
  EXPECT_TRUE(ders(pem.bundle).empty());
  EXPECT_EQ(ders(pem.svid).size(), 2U);
  EXPECT_EQ(ders(render_x509(context(), {}, late)->bundle).size(), 1U);
}

TEST_F(RenderTest, AHintPicksOrFails) {
  auto context = this->context();
  auto pem = render_x509(context, {.hint = "internal"}, now_).take();
  EXPECT_EQ(ders(pem.svid)[0], context.svids[1].leaf().der());
  EXPECT_EQ(render_x509(context, {.hint = "nope"}, now_).error().message,
            "failed to find the hinted x509 SVID");
}

TEST_F(RenderTest, WithoutAnOwnBundleNothingIsWritten) {
  auto context = this->context();
  context.bundles = {};
  EXPECT_EQ(render_x509(context, {}, now_).error().message,
            "no bundles found for \"example.org\" trust domain");
}

TEST_F(RenderTest, JwtBundlesAreOneObjectOfEncodedKeySets) {
  constexpr const char* kJwks = R"({"keys":[{"kty":"EC","kid":"k","crv":"P-256",)"
                                R"("x":"kkQtJY4RgZkBxBhZdHvKNrJHqQsvTEKNJzTpmjDuQbk",)"
                                R"("y":"bad"}]})";
  EXPECT_FALSE(
      spiffe::Bundle::from_jwks(spiffe::TrustDomain::parse("example.org").take(), kJwks).ok());
  spiffe::BundleSet set;
  set.put(
      spiffe::Bundle::from_jwks(spiffe::TrustDomain::parse("example.org").take(), R"({"keys":[]})")
          .take());
  EXPECT_EQ(render_jwt_bundles(set), R"({"example.org":"eyJrZXlzIjpbXX0="})");
}

TEST_F(RenderTest, AJwtIsPickedByItsHint) {
  auto id = spiffe::SpiffeId::parse(kId).take();
  std::vector<spiffe::JwtSvid> svids = {{id, {}, {}, "one", {}, {}}, {id, {}, {}, "two", {}, "h"}};
  EXPECT_EQ(pick_jwt(svids, "")->token, "one");
  EXPECT_EQ(pick_jwt(svids, "h")->token, "two");
  EXPECT_EQ(pick_jwt(svids, "x").error().message, "failed to find the hinted JWT SVID");
}

}  // namespace
}  // namespace steeple::helper
