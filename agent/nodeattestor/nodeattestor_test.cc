// SPDX-License-Identifier: Apache-2.0

// agent-data.json both ways, bootstrap bundles, and the proofs of the built-in attestors. The life
// of an identity is tested with a whole agent (agent/agent_test.cc).

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "agent/nodeattestor/agent_data.h"
#include "agent/nodeattestor/bootstrap.h"
#include "agent/nodeattestor/node_attestor.h"
#include "agent/nodeattestor/node_identity.h"
#include "lib/base/fake_random.h"
#include "lib/hcl/parse.h"
#include "lib/io/fake_directory.h"
#include "lib/jose/bundle_document.h"
#include "lib/x509/fake_authority.h"
#include "lib/x509pop/x509pop.h"
#include "spire/api/types/status.pb.h"

namespace steeple::agent {
namespace {

using ::testing::HasSubstr;

const WallTime kNow = from_unix_seconds(1'893'456'000);

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/steeple-nodeattestor-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, ByteView content) const {
    std::string path = path_ + "/" + name;
    CHECK(io::write_file(path, content, 0600).ok());
    return path;
  }

 private:
  std::string path_;
};

// --- agent-data.json ----------------------------------------------------------------------------

TEST(AgentDataTest, IsWrittenAsGoWritesIt) {
  EXPECT_EQ(encode_agent_data({}),
            R"({"svid":null,"bundle":null,"reattestable":false,"bootstrap_use":0,)"
            R"("bootstrap_start_time":"0001-01-01T00:00:00Z","connection_attempts":0})");
}

TEST(AgentDataTest, SurvivesTheWayThereAndBack) {
  x509::FakeAuthority authority("example.org", kNow);
  AgentData data;
  data.svid = authority.issue("/spire/agent/x", kNow).chain;
  data.bundle = {authority.certificate()->der()};
  data.reattestable = true;
  data.bootstrap_use = 2;
  data.bootstrap_start_time = "2030-01-01T00:00:00Z";
  data.connection_attempts = 3;
  EXPECT_EQ(parse_agent_data(encode_agent_data(data)).take(), data);
}

TEST(AgentDataTest, RefusesWhatGoWouldRefuse) {
  for (const char* text :
       {"", "[]", "{", R"({"svid":"x"})", R"({"svid":[1]})", R"({"svid":["%%%"]})",
        R"({"svid":["aGVsbG8="]})", R"({"reattestable":"yes"})", R"({"bootstrap_use":1.5})",
        R"({"bootstrap_use":99999999999})", R"({"bootstrap_start_time":5})"}) {
    auto parsed = parse_agent_data(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr("failed to unmarshal data"));
  }
}

TEST(AgentStoreTest, WritesOnlyWhatChangedAndKeepsItOnFailure) {
  auto disk = std::make_shared<io::MemoryDisk>();
  auto store = AgentStore::open(std::make_shared<io::MemoryDirectory>(disk)).take();
  x509::FakeAuthority authority("example.org", kNow);
  auto set = [&](bool reattestable) {
    return store->update([&](AgentData& data) {
      data.bundle = {authority.certificate()->der()};
      data.reattestable = reattestable;
    });
  };
  ASSERT_TRUE(set(true).ok());
  std::uint64_t writes = disk->writes();
  ASSERT_TRUE(set(true).ok());
  EXPECT_EQ(disk->writes(), writes);
  disk->fail_writes(unavailable("disk full"));
  EXPECT_FALSE(set(false).ok());
  EXPECT_TRUE(store->data().reattestable) << "what is not on disk is not the state";
}

TEST(AgentStoreTest, ADamagedFileIsAnErrorAndLeftAlone) {
  auto disk = std::make_shared<io::MemoryDisk>();
  io::MemoryDirectory directory(disk);
  ASSERT_TRUE(directory.write("agent-data.json", "{broken", 0600).ok());
  EXPECT_FALSE(AgentStore::open(std::make_shared<io::MemoryDirectory>(disk)).ok());
  EXPECT_EQ(disk->file("agent-data.json")->content, "{broken");
}

// --- bootstrap ----------------------------------------------------------------------------------

BootstrapAttempt attempt() {
  return {spiffe::TrustDomain::parse("example.org").take(), "server", 8081, 2, kNow};
}

TEST(Bootstrap, InsecureMeansNoBundle) {
  auto bundle = read_bootstrap_bundle({.insecure = true}, attempt());
  ASSERT_TRUE(bundle.ok());
  EXPECT_FALSE(bundle->has_value());
}

TEST(Bootstrap, ReadsPemAndSpiffeFiles) {
  Folder folder;
  x509::FakeAuthority authority("example.org", kNow);
  std::string pem = folder.write("b.pem", x509::certificate_to_pem(authority.certificate()->der()));
  auto bundle = read_bootstrap_bundle({.bundle_path = pem}, attempt());
  ASSERT_TRUE(bundle.ok()) << bundle.error().message;
  EXPECT_EQ((**bundle)[0], authority.certificate()->der());
  jose::Bundle document{.trust_domain = authority.domain()};
  document.x509_authorities.push_back({authority.certificate()->der()});
  std::string json = folder.write("b.json", jose::encode_bundle_document(document, {}).take());
  bundle = read_bootstrap_bundle({.bundle_path = json, .spiffe_format = true}, attempt());
  ASSERT_TRUE(bundle.ok()) << bundle.error().message;
  EXPECT_EQ((**bundle)[0], authority.certificate()->der());
}

TEST(Bootstrap, TellsWhatIsWrongWithTheFile) {
  EXPECT_EQ(read_bootstrap_bundle({.bundle_path = "/does/not/exist"}, attempt()).error().message,
            "could not parse trust bundle: open /does/not/exist: no such file or directory");
  Folder folder;
  EXPECT_FALSE(read_bootstrap_bundle({.bundle_path = folder.write("x", "")}, attempt()).ok());
}

TEST(Bootstrap, AUnixSocketIsToldWhoAsks) {
  EXPECT_EQ(bootstrap_url("http://localhost/trustbundle?a=b", attempt()),
            "http://localhost/trustbundle?a=b&spiffe-trust-domain=example.org"
            "&spire-attest-mode=bootstrap&spire-attest-start-time=2030-01-01T00%3A00%3A00Z"
            "&spire-connection-attempts=2&spire-server-address=server&spire-server-port=8081");
}

// --- proofs -------------------------------------------------------------------------------------

TEST(JoinTokenAttestor, ItsPayloadIsTheToken) {
  auto attestor = join_token_attestor(SecretBytes("secret"));
  EXPECT_EQ(attestor->name(), "join_token");
  auto proof = attestor->begin().take();
  EXPECT_EQ(proof->payload().take(), "secret");
  EXPECT_FALSE(proof->answer("?").ok());
  EXPECT_EQ(join_token_attestor({})->begin().error().message, "join token was not provided");
}

TEST(K8sPsatAttestor, ItsPayloadIsTheTokenOfTheMomentAndTheCluster) {
  Folder folder;
  std::string path = folder.write("token", "first");
  auto attestor =
      k8s_psat_attestor(*hcl::parse(fmt::format("cluster = \"prod\"\ntoken_path = \"{}\"", path)));
  ASSERT_TRUE(attestor.ok()) << attestor.error().message;
  EXPECT_EQ((*attestor)->name(), "k8s_psat");
  auto payload = [&] { return *(*(*attestor)->begin())->payload(); };
  EXPECT_EQ(payload(), R"({"cluster":"prod","token":"first"})");
  folder.write("token", "renewed by the kubelet");
  EXPECT_EQ(payload(), R"({"cluster":"prod","token":"renewed by the kubelet"})");
  EXPECT_FALSE((*(*attestor)->begin())->answer("challenge").ok());
}

TEST(K8sPsatAttestor, SaysWhatIsWrong) {
  auto unnamed = k8s_psat_attestor(*hcl::parse("token_path = \"/x\""));
  EXPECT_EQ(unnamed.error().message, "missing required cluster block");
  Folder folder;
  auto begin = [&](const std::string& path) {
    auto attestor =
        k8s_psat_attestor(*hcl::parse(fmt::format("cluster = \"c\"\ntoken_path = \"{}\"", path)));
    return (*attestor)->begin().error().message;
  };
  EXPECT_THAT(begin("/nonexistent/token"), HasSubstr("unable to load token from /nonexistent"));
  EXPECT_THAT(begin(folder.write("empty", "")), HasSubstr("is empty"));
}

TEST(X509PopAttestor, ProvesThatItHoldsTheKeyOfItsCertificate) {
  Folder folder;
  x509::FakeAuthority root("example.org", kNow);
  auto middle = root.intermediate(kNow);
  auto node = middle.issue("/node", kNow);
  std::string key = folder.write("key.pem", node.key->to_pem().reveal());
  std::string certificate = folder.write("crt.pem", x509::certificate_to_pem(node.chain[0]));
  std::string more = folder.write("more.pem", x509::certificate_to_pem(node.chain[1]));
  auto data = hcl::parse("private_key_path=\"" + key + "\"\ncertificate_path=\"" + certificate +
                         "\"\nintermediates_path=\"" + more + "\"")
                  .take();
  SeededRandom random(1);
  auto attestor = x509pop_attestor(data, random);
  ASSERT_TRUE(attestor.ok()) << attestor.error().message;
  auto proof = (*attestor)->begin().take();
  auto chain = x509pop::parse_attestation(proof->payload().take()).take();
  EXPECT_EQ(chain, node.chain);
  auto leaf = x509::Certificate::parse(chain[0]).take();
  auto challenge = x509pop::make_challenge(*leaf, random).take();
  auto response =
      x509pop::parse_response(proof->answer(x509pop::encode_challenge(challenge)).take()).take();
  EXPECT_TRUE(x509pop::verify_response(leaf->public_key(), challenge, response).ok());
  EXPECT_FALSE(proof->answer("{}").ok());
}

TEST(X509PopAttestor, ToldAtStartUpWhatIsWrong) {
  SeededRandom random(1);
  auto error = [&](const std::string& text) {
    return x509pop_attestor(hcl::parse(text).take(), random).error().message;
  };
  EXPECT_EQ(error("certificate_path=\"x\""), "private_key_path is required");
  EXPECT_EQ(error("private_key_path=\"x\""), "certificate_path is required");
  EXPECT_THAT(error("private_key_path=\"/x\"\ncertificate_path=\"/y\""),
              HasSubstr("unable to load keypair: open /y"));
  EXPECT_THAT(error("spiffe_endpoint_socket=\"unix:///x\""), HasSubstr("not supported"));
  Folder folder;
  x509::FakeAuthority authority("example.org", kNow);
  auto one = authority.issue("/a", kNow), other = authority.issue("/b", kNow);
  EXPECT_THAT(error("private_key_path=\"" + folder.write("k", one.key->to_pem().reveal()) +
                    "\"\ncertificate_path=\"" +
                    folder.write("c", x509::certificate_to_pem(other.chain[0])) + "\""),
              HasSubstr("private key does not match public key"));
}

// --- denials ------------------------------------------------------------------------------------

TEST(DenialTest, OnlyDetailsOfAPermissionDeniedSpeakOfTheAgent) {
  using Details = ::spire::api::types::PermissionDeniedDetails;
  auto with = [](Code code, Details::Reason reason) {
    Details details;
    details.set_reason(reason);
    return Error{code,
                 "x",
                 {{"type.googleapis.com/spire.api.types.PermissionDeniedDetails",
                   details.SerializeAsString()}}};
  };
  EXPECT_EQ(denial_of(with(Code::kPermissionDenied, Details::AGENT_BANNED)), Denial::kShutdown);
  for (auto reason : {Details::AGENT_EXPIRED, Details::AGENT_NOT_ATTESTED,
                      Details::AGENT_NOT_ACTIVE, Details::AGENT_MUST_REATTEST}) {
    EXPECT_EQ(denial_of(with(Code::kPermissionDenied, reason)), Denial::kReattest);
    EXPECT_EQ(denial_of(with(Code::kUnavailable, reason)), Denial::kNone);
  }
  EXPECT_EQ(denial_of(permission_denied("x")), Denial::kNone);
  EXPECT_EQ(denial_of(with(Code::kPermissionDenied, Details::UNKNOWN)), Denial::kNone);
}

}  // namespace
}  // namespace steeple::agent
