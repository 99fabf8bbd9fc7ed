// SPDX-License-Identifier: Apache-2.0

// Goal: the disk upstream signs our CA from files, follows their replacement, and refuses with the
// reference's words. Method: real files in a temporary folder.

#include "server/upstreamauthority/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "lib/base/check.h"
#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/hcl/parse.h"
#include "lib/io/directory.h"
#include "lib/telemetry/fake_log.h"
#include "lib/x509/csr.h"
#include "lib/x509/fake_authority.h"
#include "server/upstreamauthority/catalog.h"

namespace steeple::server {
namespace {

using std::chrono::hours;
using testing::HasSubstr;

class DiskTest : public testing::Test {
 protected:
  DiskTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "upstream-XXXXXX").string();
    CHECK(::mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern;
  }
  ~DiskTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void write(const std::string& name, ByteView content) {
    ASSERT_TRUE(io::write_file(path(name), content, 0600).ok());
  }
  void write_ca(const x509::FakeAuthority& authority) {
    write("ca.pem", x509::certificate_to_pem(authority.certificate()->der()));
    write("key.pem", authority.key()->to_pem().reveal());
  }
  Result<std::unique_ptr<UpstreamAuthority>> open(const std::string& bundle = {}) {
    return disk_upstream_authority(
        {path("ca.pem"), path("key.pem"), bundle.empty() ? bundle : path(bundle)}, root_.domain(),
        {clock_, random_, log_.logger()});
  }
  Bytes csr(std::string_view domain = "example.org") {
    return x509::build_ca_csr(spiffe::TrustDomain::parse(domain).take(), x509::default_ca_subject(),
                              *key_)
        .take();
  }

  FakeClock clock_;
  SeededRandom random_{5};
  CapturedLog log_;
  x509::FakeAuthority root_{"example.org", clock_.now()};
  std::shared_ptr<const crypto::PrivateKey> key_ =
      crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  std::string folder_;
};

TEST_F(DiskTest, SignsACaBelowASelfSignedRoot) {
  write_ca(root_);
  auto upstream = open();
  ASSERT_TRUE(upstream.ok()) << upstream.error().message;
  auto minted = (*upstream)->mint_x509_ca(csr(), hours(2));
  ASSERT_TRUE(minted.ok()) << minted.error().message;
  ASSERT_EQ(minted->chain.size(), 1U) << "the root is not part of the chain";
  ASSERT_EQ(minted->roots.size(), 1U);
  EXPECT_EQ(minted->roots[0].der, root_.certificate()->der());
  auto ca = x509::Certificate::parse(minted->chain[0]).take();
  EXPECT_TRUE(ca->is_ca());
  EXPECT_EQ(ca->public_key(), key_->public_key());
  EXPECT_EQ(ca->not_after(), clock_.now() + hours(2));
  EXPECT_EQ(ca->subject_name().take(), x509::default_ca_subject());
  EXPECT_TRUE(x509::verify_chain(ca, {}, {root_.certificate()}, clock_.now()).ok());
}

TEST_F(DiskTest, AnIntermediateComesWithItsChainAndTheBundlesRoots) {
  auto intermediate = root_.intermediate(clock_.now());
  write_ca(intermediate);
  write("bundle.pem", x509::certificate_to_pem(root_.certificate()->der()));
  auto upstream = open("bundle.pem");
  ASSERT_TRUE(upstream.ok()) << upstream.error().message;
  auto minted = (*upstream)->mint_x509_ca(csr(), hours(2)).take();
  ASSERT_EQ(minted.chain.size(), 2U);
  EXPECT_EQ(minted.chain[1], intermediate.certificate()->der());
  EXPECT_EQ(minted.roots[0].der, root_.certificate()->der());
}

TEST_F(DiskTest, TheCaNeverOutlivesItsIssuer) {
  write_ca(root_);
  auto minted = open().take()->mint_x509_ca(csr(), hours(1000)).take();
  EXPECT_EQ(x509::Certificate::parse(minted.chain[0]).take()->not_after(),
            root_.certificate()->not_after());
}

TEST_F(DiskTest, ReplacedFilesServeTheNextMintAndBrokenOnesDoNot) {
  write_ca(root_);
  auto upstream = open().take();
  x509::FakeAuthority next("example.org", clock_.now());
  write_ca(next);
  EXPECT_EQ(upstream->mint_x509_ca(csr(), hours(1)).take().roots[0].der, next.certificate()->der());
  write("ca.pem", "rubbish");
  EXPECT_EQ(upstream->mint_x509_ca(csr(), hours(1)).take().roots[0].der, next.certificate()->der());
  EXPECT_TRUE(log_.has("Failed to load the upstream CA, using the last good one"));
}

TEST_F(DiskTest, RefusesFilesInTheReferencesWords) {
  EXPECT_EQ(
      disk_upstream_authority({}, root_.domain(), {clock_, random_, log_.logger()}).error().message,
      "'cert_file_path' and 'key_file_path' must be set and not empty");
  EXPECT_EQ(open().error().message,
            "upstreamauthority(disk): unable to load upstream CA key: open " + path("key.pem") +
                ": no such file or directory");
  write_ca(root_);
  write("ca.pem", "");
  EXPECT_THAT(open().error().message, HasSubstr("unable to load upstream CA cert: "));
  write_ca(root_);
  write("key.pem", key_->to_pem().reveal());
  EXPECT_THAT(open().error().message,
              HasSubstr("unable to load upstream CA: certificate and private key do not match"));
  write_ca(root_);
  EXPECT_THAT(open("bundle.pem").error().message,
              HasSubstr("unable to load upstream CA bundle: open "));
  x509::FakeAuthority stranger("example.org", clock_.now());
  write("bundle.pem", x509::certificate_to_pem(stranger.certificate()->der()));
  EXPECT_THAT(open("bundle.pem").error().message,
              HasSubstr("unable to load upstream CA: certificate cannot be validated with the "
                        "provided bundle or is not self-signed"));
  write("ca.pem", x509::certificate_to_pem(root_.certificate()->der()) +
                      x509::certificate_to_pem(stranger.certificate()->der()));
  EXPECT_THAT(open().error().message,
              HasSubstr("with no bundle_file_path configured only self-signed CAs are supported"));
}

TEST_F(DiskTest, RefusesRequestsThatAreNotOfThisTrustDomain) {
  write_ca(root_);
  auto upstream = open().take();
  EXPECT_EQ(upstream->mint_x509_ca(csr("other.org"), hours(1)).error().message,
            "upstreamauthority(disk): unable to sign CSR: CSR with SPIFFE ID "
            "\"spiffe://other.org\" is invalid: must use the trust domain ID for trust domain "
            "\"example.org\"");
  Bytes forged = csr();
  forged.back() = static_cast<char>(forged.back() ^ 1);
  EXPECT_FALSE(upstream->mint_x509_ca(forged, hours(1)).ok());
  auto no_uri = x509::build_csr(*key_, {}).take();
  EXPECT_THAT(upstream->mint_x509_ca(no_uri, hours(1)).error().message,
              HasSubstr("CSR must have exactly one URI SAN"));
  EXPECT_THAT(upstream->mint_x509_ca("rubbish", hours(1)).error().message,
              HasSubstr("unable to parse CSR"));
}

TEST_F(DiskTest, DoesNotPublishJwtKeys) {
  write_ca(root_);
  EXPECT_EQ(open().take()->publish_jwt_key({}).error().code, Code::kUnimplemented);
}

class UpstreamCatalogTest : public DiskTest {
 protected:
  static hcl::PluginConfig plugin(const std::string& name, const std::string& data = {}) {
    hcl::PluginConfig out;
    out.type = "UpstreamAuthority";
    out.name = name;
    out.data = hcl::parse(data).take();
    return out;
  }
};

TEST_F(UpstreamCatalogTest, MakesTheDiskAuthorityFromItsSettings) {
  write_ca(root_);
  auto made = make_upstream_authority(
      plugin("disk", "cert_file_path = \"" + path("ca.pem") + "\"\nkey_file_path = \"" +
                         path("key.pem") + "\"\nodd = 1"),
      root_.domain(), {clock_, random_, log_.logger()});
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ((*made)->name(), "disk");
  EXPECT_EQ(log_.lines("Unknown configuration detected").at(0).fields.at("keys"), "odd");
  EXPECT_EQ(check_upstream_authority(plugin("disk")).error().message,
            "UpstreamAuthority \"disk\": 'cert_file_path' and 'key_file_path' must be set and not "
            "empty");
}

TEST_F(UpstreamCatalogTest, RefusesByNameWhatIsNotBuilt) {
  for (const char* name :
       {"awssecret", "aws_pca", "cert-manager", "ejbca", "gcp_cas", "spire", "vault"}) {
    auto refused = check_upstream_authority(plugin(name));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::kUnimplemented);
    EXPECT_EQ(refused.error().message,
              "UpstreamAuthority \"" + std::string(name) + "\" is not built");
  }
  EXPECT_EQ(check_upstream_authority(plugin("nonsense")).error().message,
            "no built-in plugin \"nonsense\" for type \"UpstreamAuthority\"");
  auto external = plugin("disk");
  external.command = "/opt/plugin";
  EXPECT_EQ(check_upstream_authority(external).error().message,
            "external plugins are not built: UpstreamAuthority \"disk\" has plugin_cmd "
            "\"/opt/plugin\"");
  hcl::PluginConfig other;
  other.type = "CredentialComposer";
  EXPECT_FALSE(refuse_unbuilt_plugin(other).ok());
}

}  // namespace
}  // namespace steeple::server
