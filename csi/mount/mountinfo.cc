// SPDX-License-Identifier: Apache-2.0

#include "csi/mount/mountinfo.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace steeple::csi {
namespace {

constexpr std::size_t kRootField = 3;
constexpr std::size_t kMountPointField = 4;

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// The next field of the line, which loses it; empty at the end.
std::string_view take_field(std::string_view& line) {
  std::size_t from = line.find_first_not_of(' ');
  if (from == std::string_view::npos) {
    line = {};
    return {};
  }
  std::size_t to = std::min(line.find(' ', from), line.size());
  std::string_view field = line.substr(from, to - from);
  line.remove_prefix(to);
  return field;
}

}  // namespace

std::string unescape_octal(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] <= '3' && is_octal(text[i + 1]) &&
        is_octal(text[i + 2]) && is_octal(text[i + 3])) {
      int value = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      out += static_cast<char>(value);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<std::vector<Mount>> parse_mountinfo(std::string_view text) {
  if (text.size() > kMountInfoBytesMax) {
    return resource_exhausted("the mount table is too large");
  }
  std::vector<Mount> out;
  for (std::size_t number = 1; !text.empty(); ++number) {
    std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.size() > kMountLineBytesMax) {
      return resource_exhausted(fmt::format("line {} of the mount table is too long", number));
    }
    if (line.empty()) {
      continue;
    }
    std::string_view root;
    std::string_view mount_point;
    for (std::size_t i = 0; i <= kMountPointField; ++i) {
      std::string_view field = take_field(line);
      (i == kRootField ? root : mount_point) = field;
    }
    if (root.empty() || mount_point.empty()) {
      return invalid_argument(fmt::format("line {} of the mount table has no mount point", number));
    }
    out.push_back({unescape_octal(root), unescape_octal(mount_point)});
  }
  return out;
}

std::string driver_of_volume_data(ByteView json) {
  auto document = nlohmann::json::parse(json.begin(), json.end(), nullptr, false);
  if (!document.is_object()) {
    return {};
  }
  auto name = document.find("driverName");
  return name != document.end() && name->is_string() ? name->get<std::string>() : std::string();
}

}  // namespace steeple::csi
