// SPDX-License-Identifier: Apache-2.0

// Fuzz target: one line of a watch, and what users ask of the object in it.

#include <cstdint>
#include <nlohmann/json.hpp>

#include "lib/base/check.h"
#include "lib/kube/exchange.h"
#include "lib/kube/informer.h"
#include "lib/kube/selector.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  std::string_view line(reinterpret_cast<const char*>(data), size);
  Result<void> read =
      kube::parse_watch_line(line, [](kube::WatchEvent, const nlohmann::json& object) {
        CHECK(object.is_object());
        (void)kube::object_key(object);
        (void)kube::version_mark(object);
        auto labels = kube::string_map_at(object, {"metadata", "labels"});
        if (auto selector = kube::LabelSelector::parse(object); selector.ok()) {
          (void)selector->matches(labels);
          CHECK(selector->empty() == selector->text().empty());
        }
      });
  if (!read.ok()) {
    (void)kube::is_gone(read.error());
  }
  kube::HttpHead head{503, {{"retry-after", std::string(line.substr(0, 10))}}};
  CHECK(kube::api_status(kube::api_error(head, line)).has_value());
  return 0;
}
