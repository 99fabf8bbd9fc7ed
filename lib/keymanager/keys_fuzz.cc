// SPDX-License-Identifier: Apache-2.0

// Fuzz target: a keys.json that somebody else wrote.

#include <cstdint>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/io/fake_directory.h"
#include "lib/keymanager/keymanager.h"

std::vector<std::string> steeple::fuzz_seeds() {
  auto directory = std::make_shared<io::MemoryDirectory>();
  auto keys = keymanager::disk_key_manager(directory).take();
  keys->generate_key("x509-CA-A", crypto::KeyType::kEcP256).take();
  return {directory->read("keys.json").take(), R"({"keys":{}})", R"({"keys":{"a":"MC4="}})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  auto directory = std::make_shared<io::MemoryDirectory>();
  directory->write("keys.json", ByteView(reinterpret_cast<const char*>(data), size), 0600).take();
  if (auto keys = keymanager::disk_key_manager(directory); keys.ok()) {
    CHECK((*keys)->get_keys().ok());
  }
  return 0;
}
