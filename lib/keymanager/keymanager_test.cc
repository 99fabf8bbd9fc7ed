// SPDX-License-Identifier: Apache-2.0

// Goal: every key manager keeps the same contract, and the disk's file is SPIRE's. Method: one
// suite over memory, the disk's twin and a real folder; then what only a file can do: outlive the
// process, be damaged, refuse writes.

#include "lib/keymanager/keymanager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "lib/io/fake_directory.h"

namespace steeple::keymanager {
namespace {

using crypto::KeyType;
using testing::HasSubstr;

struct TemporaryFolder {
  TemporaryFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "keymanager-XXXXXX";
    path = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string path;
};

enum class Kind { kMemory, kDiskTwin, kDisk };

class Contract : public testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<KeyManager> make() {
    switch (GetParam()) {
      case Kind::kMemory:
        return memory_key_manager();
      case Kind::kDiskTwin:
        return disk_key_manager(std::make_shared<io::MemoryDirectory>()).take();
      case Kind::kDisk:
        return disk_key_manager(io::open_directory(folder_.path).take()).take();
    }
    return nullptr;
  }
  TemporaryFolder folder_;
  std::unique_ptr<KeyManager> keys_ = make();
};
INSTANTIATE_TEST_SUITE_P(, Contract, testing::Values(Kind::kMemory, Kind::kDiskTwin, Kind::kDisk));

TEST_P(Contract, GeneratesEveryKeyTypeAndFindsItAgain) {
  for (KeyType type : {KeyType::kEcP256, KeyType::kEcP384, KeyType::kRsa2048, KeyType::kRsa4096}) {
    std::string id(crypto::key_type_name(type));
    SignerPtr signer = keys_->generate_key(id, type).take();
    EXPECT_EQ(signer->key_type(), type);
    SignerPtr found = keys_->get_key(id).take();
    EXPECT_EQ(found->public_key(), signer->public_key());
    auto algorithm = crypto::default_algorithm(type);
    Bytes signature = found->sign(algorithm, "message").take();
    EXPECT_TRUE(signer->public_key().verify(algorithm, "message", signature).ok());
    EXPECT_EQ(keys_->private_key(id).take()->public_key(), signer->public_key());
  }
}

TEST_P(Contract, KeysAreListedByTheirIds) {
  EXPECT_TRUE(keys_->get_keys().take().empty());
  for (const char* id : {"b", "a", "c"}) {
    keys_->generate_key(id, KeyType::kEcP256).take();
  }
  std::string order;
  std::vector<Key> all = keys_->get_keys().take();
  for (const Key& key : all) {
    order += key.id;
  }
  EXPECT_EQ(order, "abc");
}

TEST_P(Contract, GeneratingAgainReplacesTheKeyAndTheOldSignerStillSigns) {
  SignerPtr old = keys_->generate_key("k", KeyType::kEcP256).take();
  SignerPtr fresh = keys_->generate_key("k", KeyType::kEcP384).take();
  EXPECT_EQ(keys_->get_key("k").take()->public_key(), fresh->public_key());
  EXPECT_FALSE(old->public_key() == fresh->public_key());
  EXPECT_TRUE(old->sign(crypto::SignatureAlgorithm::kEcdsaSha256, "m").ok());
  EXPECT_EQ(keys_->get_keys().take().size(), 1U);
}

TEST_P(Contract, UnknownAndEmptyIdsAreErrors) {
  EXPECT_EQ(keys_->get_key("x").error().code, Code::kNotFound);
  EXPECT_EQ(keys_->get_key("x").error().message, "no such key \"x\"");
  EXPECT_EQ(keys_->private_key("x").error().code, Code::kNotFound);
  EXPECT_EQ(keys_->get_key("").error().code, Code::kInvalidArgument);
  EXPECT_EQ(keys_->generate_key("", KeyType::kEcP256).error().message,
            "failed to generate key: key id is required");
}

TEST(Disk, KeysSurviveTheProcess) {
  auto directory = std::make_shared<io::MemoryDirectory>();
  auto first = disk_key_manager(directory).take();
  SignerPtr key = first->generate_key("a b\"c", KeyType::kEcP256).take();
  first->generate_key("rsa", KeyType::kRsa2048).take();
  first.reset();
  auto second = disk_key_manager(directory).take();
  EXPECT_EQ(second->get_key("a b\"c").take()->public_key(), key->public_key());
  EXPECT_EQ(second->get_key("rsa").take()->key_type(), KeyType::kRsa2048);
}

TEST(Disk, TheFileIsSpiresByteForByte) {
  auto disk = std::make_shared<io::MemoryDisk>();
  auto keys = disk_key_manager(std::make_shared<io::MemoryDirectory>(disk), "server.json").take();
  auto pkcs8 = [&](const char* id) {
    return base64_encode(keys->private_key(id).take()->to_pkcs8().reveal());
  };
  keys->generate_key("x509-CA-A", KeyType::kEcP256).take();
  keys->generate_key("JWT-Signer-A", KeyType::kEcP256).take();
  auto file = disk->file("server.json").value();
  EXPECT_EQ(file.content, "{\n\t\"keys\": {\n\t\t\"JWT-Signer-A\": \"" + pkcs8("JWT-Signer-A") +
                              "\",\n\t\t\"x509-CA-A\": \"" + pkcs8("x509-CA-A") + "\"\n\t}\n}");
  EXPECT_EQ(file.mode, 0600U);
}

TEST(Disk, TheRealFileIsPrivate) {
  TemporaryFolder folder;
  auto keys = disk_key_manager(io::open_directory(folder.path).take()).take();
  keys->generate_key("k", KeyType::kEcP256).take();
  struct stat info{};
  ASSERT_EQ(stat((folder.path + "/keys.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
}

TEST(Disk, ReadsAFileThatGoWrote) {
  // json.MarshalIndent and MarshalPKCS8PrivateKey of Go 1.26 over a P-256 key made for this test.
  auto directory = std::make_shared<io::MemoryDirectory>();
  directory
      ->write("keys.json",
              "{\n\t\"keys\": {\n\t\t\"x509-CA-A\": \""
              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg934hj2Kbh1W7ZyqTWG9/VrjtwlEbtUI8"
              "C+62/0PBthyhRANCAAQxQ5dIUDNk7iZHCycu8/WxtalSODwFjTfLCoFkwnTTQCEmgpAeE8H899qJ2t6Q"
              "uiLx6Ru8c04q1M2qnHfl7pRs"
              "\"\n\t}\n}",
              0600)
      .take();
  auto keys = disk_key_manager(directory).take();
  EXPECT_EQ(hex_encode(keys->get_key("x509-CA-A").take()->public_key().subject_key_id()),
            "82a2bc1569aa584085eef1da9d7ed5a3626d3622");
}

TEST(Disk, AFailedWriteKeepsTheOldKey) {
  auto disk = std::make_shared<io::MemoryDisk>();
  auto keys = disk_key_manager(std::make_shared<io::MemoryDirectory>(disk)).take();
  SignerPtr old = keys->generate_key("k", KeyType::kEcP256).take();
  disk->fail_writes(resource_exhausted("no space left on device"));
  auto result = keys->generate_key("k", KeyType::kEcP256);
  EXPECT_EQ(result.error().code, Code::kResourceExhausted);
  EXPECT_EQ(result.error().message,
            "failed to generate key: unable to write entries: no space left on device");
  EXPECT_EQ(keys->get_key("k").take()->public_key(), old->public_key());
  EXPECT_FALSE(keys->generate_key("new", KeyType::kEcP256).ok());
  EXPECT_EQ(keys->get_key("new").error().code, Code::kNotFound);
  disk->fail_writes(std::nullopt);
  EXPECT_TRUE(keys->generate_key("new", KeyType::kEcP256).ok());
}

TEST(Disk, ADamagedFileIsAnErrorAndIsLeftAlone) {
  for (std::string text :
       {"", "{", "[]", R"({"keys":[]})", R"({"keys":{"a":1}})", R"({"keys":{"a":"*"}})",
        R"({"keys":{"a":"AAAA"}})", R"({"keys":{}} x)"}) {
    auto disk = std::make_shared<io::MemoryDisk>();
    auto directory = std::make_shared<io::MemoryDirectory>(disk);
    directory->write("keys.json", text, 0600).take();
    auto result = disk_key_manager(directory);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_THAT(result.error().message, HasSubstr("unable to")) << text;
    EXPECT_EQ(disk->file("keys.json")->content, text);
  }
}

TEST(Disk, EmptyStoresAreFine) {
  for (std::string text : {"{}", R"({"keys":{}})", R"({"keys":null})"}) {
    auto directory = std::make_shared<io::MemoryDirectory>();
    directory->write("keys.json", text, 0600).take();
    EXPECT_TRUE(disk_key_manager(directory).take()->get_keys().take().empty()) << text;
  }
}

}  // namespace
}  // namespace steeple::keymanager
