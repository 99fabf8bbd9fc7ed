// SPDX-License-Identifier: Apache-2.0

// Goal: the settings of surface 1.6 are taken, mistakes and what is not built are named. Method:
// configuration texts.

#include "server/nodeattestor/catalog.h"

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
#include "lib/sql/database.h"
#include "lib/telemetry/fake_log.h"
#include "lib/x509/fake_authority.h"
#include "server/datastore/sql_datastore.h"

namespace steeple::server {
namespace {

using testing::HasSubstr;

hcl::PluginConfig plugin(const std::string& name, const std::string& data = {}) {
  hcl::PluginConfig out;
  out.type = "NodeAttestor";
  out.name = name;
  out.data = hcl::parse(data).take();
  return out;
}

std::string complaint(const std::string& name, const std::string& data) {
  auto checked = check_node_attestor(plugin(name, data));
  return checked.ok() ? "ok" : checked.error().message;
}

TEST(NodeAttestorSettings, AllKeysOfX509PopAreTaken) {
  EXPECT_EQ(complaint("x509pop", R"(
      mode = "external_pki"
      ca_bundle_paths = ["/a.pem", "/b.pem"]
      max_intermediates = 2
      max_rsa_key_size = 4096
      verify_client_ip = true)"),
            "ok");
  EXPECT_EQ(complaint("x509pop", "mode = \"spiffe\"\nspiffe_prefix = \"/x\""), "ok");
  EXPECT_EQ(complaint("join_token", ""), "ok");
}

TEST(NodeAttestorSettings, MistakesAreToldTogetherInTheReferencesWords) {
  EXPECT_EQ(complaint("x509pop", "max_intermediates = 0\nmax_rsa_key_size = -1"),
            "NodeAttestor \"x509pop\": one of ca_bundle_path or ca_bundle_paths must be "
            "configured; max_intermediates must be greater than 0; max_rsa_key_size must be "
            "greater than 0");
  EXPECT_THAT(complaint("x509pop", "mode = \"other\"\nca_bundle_path = \"/a\""),
              HasSubstr("mode can only be either spiffe or external_pki"));
  EXPECT_THAT(complaint("x509pop", "ca_bundle_paths = [\"/b\"]\nca_bundle_path = \"/a\""),
              HasSubstr("only one of ca_bundle_path or ca_bundle_paths can be configured"));
  EXPECT_THAT(complaint("x509pop", "mode = \"spiffe\"\nca_bundle_path = \"/a\""),
              HasSubstr("you can not use ca_bundle_path or ca_bundle_paths in spiffe mode"));
}

TEST(NodeAttestorSettings, AgentPathTemplatesAreParsedAtOnce) {
  auto tried = [](const std::string& text) {
    return complaint("x509pop", "ca_bundle_path = \"/a\"\nagent_path_template = \"" + text + "\"");
  };
  for (const char* good :
       {"/{{ .PluginName }}/{{.Fingerprint}}", "/cn/{{ .Subject.CommonName }}",
        "/{{ .Certificate.Issuer.Organization | join \\\"-\\\" }}", "/{{ uuidv4 }}",
        "/{{ with .Subject }}{{ .SerialNumber }}{{ end }}{{ .URISanSelectors.any.thing }}"}) {
    EXPECT_EQ(tried(good), "ok") << good;
  }
  EXPECT_THAT(tried("/{{ .Fingerprint"), HasSubstr("failed to parse agent svid template: "));
  EXPECT_THAT(tried("/{{ nonsense }}"), HasSubstr("function \"nonsense\" not defined"));
  EXPECT_THAT(tried("/{{ .NotThere }}"), HasSubstr("field .NotThere is not known here"));
  EXPECT_THAT(tried("/{{ .Subject.NotThere }}"),
              HasSubstr("field .Subject.NotThere is not known here"));
  EXPECT_THAT(tried("/{{ .SerialNumber }}"), HasSubstr("field .SerialNumber is not known here"));
}

TEST(NodeAttestorSettings, WhatIsNotBuiltIsRefusedByName) {
  for (const char* name :
       {"aws_iid", "azure_imds", "azure_msi", "gcp_iit", "http_challenge", "sshpop", "tpm_devid"}) {
    auto refused = check_node_attestor(plugin(name));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::kUnimplemented);
    EXPECT_EQ(refused.error().message, "NodeAttestor \"" + std::string(name) + "\" is not built");
  }
  auto external = plugin("x509pop");
  external.command = "/opt/plugin";
  EXPECT_EQ(check_node_attestor(external).error().code, Code::kUnimplemented);
  EXPECT_EQ(complaint("nonsense", ""), "no built-in plugin \"nonsense\" for type \"NodeAttestor\"");
}

class NodeAttestorsTest : public testing::Test {
 protected:
  Result<NodeAttestors> make(const std::vector<const hcl::PluginConfig*>& plugins) {
    return NodeAttestors::make(plugins, spiffe::TrustDomain::parse("example.org").take(),
                               {.datastore = *store_,
                                .x509pop = {.clock = clock_,
                                            .random = random_,
                                            .own_bundle = []() -> Result<x509::AuthoritiesPtr> {
                                              return x509::AuthoritiesPtr();
                                            },
                                            .log = log_.logger()}});
  }
  FakeClock clock_;
  SeededRandom random_{3};
  CapturedLog log_;
  std::unique_ptr<Datastore> store_ =
      open_sql_datastore(std::shared_ptr(sql::open_memory_database().take()), clock_, random_)
          .take();
};

TEST_F(NodeAttestorsTest, JoinTokenIsAlwaysThere) {
  auto made = make({}).take();
  ASSERT_NE(made.find("join_token"), nullptr);
  EXPECT_EQ(made.find("x509pop"), nullptr);
}

TEST_F(NodeAttestorsTest, BundlesAreReadAtTheStart) {
  std::string folder = (std::filesystem::temp_directory_path() / "attestors-XXXXXX").string();
  CHECK(::mkdtemp(folder.data()) != nullptr);
  const std::string path = folder + "/ca.pem";
  auto config = plugin("x509pop", "ca_bundle_path = \"" + path + "\"\nodd = true");
  EXPECT_EQ(make({&config}).error().message,
            "NodeAttestor \"x509pop\": unable to load trust bundle \"" + path + "\": open " + path +
                ": no such file or directory");
  x509::FakeAuthority pki("devices.example", clock_.now());
  ASSERT_TRUE(io::write_file(path, x509::certificate_to_pem(pki.certificate()->der()), 0600).ok());
  auto made = make({&config});
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_NE(made->find("x509pop"), nullptr);
  EXPECT_TRUE(log_.has("Unknown configuration detected"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace steeple::server
