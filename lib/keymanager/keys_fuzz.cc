// SPDX-License-Identifier: Apache-2.0

// Fuzz target: a keys.json that somebody else wrote.

#include <cstdint>

#include "lib/base/check.h"
#include "lib/io/fake_directory.h"
#include "lib/keymanager/keymanager.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  auto directory = std::make_shared<io::MemoryDirectory>();
  directory->write("keys.json", ByteView(reinterpret_cast<const char*>(data), size), 0600).take();
  if (auto keys = keymanager::disk_key_manager(directory); keys.ok()) {
    CHECK((*keys)->get_keys().ok());
  }
  return 0;
}
