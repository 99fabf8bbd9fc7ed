// SPDX-License-Identifier: Apache-2.0

// The mount table as the kernel writes it (proc(5), /proc/self/mountinfo). Pure, any thread.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/result.h"

namespace steeple::csi {

// A node with tens of thousands of pods stays far below both.
inline constexpr std::size_t kMountInfoBytesMax = std::size_t{64} << 20;
inline constexpr std::size_t kMountLineBytesMax = std::size_t{1} << 20;

struct Mount {
  std::string root;         // field 4: what of its file system is shown, "/spire//deleted"
  std::string mount_point;  // field 5
};

// All mounts, in the order in which they were made; of two on one place the later is on top. A line
// that is too long, or has no mount point, is an error: half a table is not to be acted upon.
Result<std::vector<Mount>> parse_mountinfo(std::string_view text);

// `\040` and other octal escapes of three digits become the byte; what is none stays as it is.
std::string unescape_octal(std::string_view text);

// The driver's name in the kubelet's `vol_data.json`; empty when there is none.
std::string driver_of_volume_data(ByteView json);

}  // namespace steeple::csi
