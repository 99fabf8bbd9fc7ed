// SPDX-License-Identifier: Apache-2.0

// Template text from a stranger: parsing and executing never crash, never run on, and keep to the
// limits; what the template reads is known beforehand as far as paths go.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/base/check.h"
#include "lib/gotemplate/json.h"
#include "lib/gotemplate/kubernetes.h"
#include "lib/gotemplate/sprig.h"
#include "lib/gotemplate/template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple::gotemplate;
  static const Value value = Value::map(
      {{"s", Value("text")},
       {"i", Value(7)},
       {"list", from_json_text(R"([1, "two", {"a": [null, true]}])").take()},
       {"meta", Value::pointer(from_json_text(R"({"name": "web", "labels": {"app": "x"}})",
                                              kubernetes::object_meta())
                                   .take())}});
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto parsed = Template::parse("fuzz", text, sprig({}));
  if (parsed.ok()) {
    auto output = parsed->execute(value);
    CHECK(!output.ok() || output->size() <= kOutputBytesMax);
    (void)parsed->references();
  }
  return 0;
}
