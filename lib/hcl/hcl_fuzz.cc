// SPDX-License-Identifier: Apache-2.0

// Configuration text (HCL and JSON): never crashes, and what parses can be written and read back
// to the same text. Plugins are decoded too, since they come from the same file.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/hcl/parse.h"
#include "lib/hcl/plugins.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {R"(# comment
server {
  a = "text ${VAR} \\n" // other
  b = 0x1F  c = -1.5e3  d = true
  e = ["x", 2, ["y"]]
  f = <<EOT
lines
EOT
}
plugins "x" "y" { plugin_data { k = "v" } enabled = false }
/* end */)",
          R"({"plugins": {"KeyManager": [{"disk": {"plugin_data": {"keys_path": "k"}}}]}})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple::hcl;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto value = parse(text);
  if (!value.ok()) {
    return 0;
  }
  std::string written = write_hcl(*value);
  auto again = parse(written);
  // A JSON string may hold a NUL or end up past the limits when written; then it is refused.
  if (again.ok()) {
    CHECK(write_hcl(*again) == written);
  }
  Report report;
  (void)decode_plugins(*value, report);
  (void)expand_env(text, [](std::string_view) { return std::nullopt; });
  return 0;
}
