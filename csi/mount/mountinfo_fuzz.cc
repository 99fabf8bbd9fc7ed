// SPDX-License-Identifier: Apache-2.0

// Goal: no mount table (a pod names its volumes) and no vol_data.json makes its reader misbehave.

#include "csi/mount/mountinfo.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  steeple::ByteView input(reinterpret_cast<const char*>(data), size);
  (void)steeple::csi::parse_mountinfo(input).ok();
  (void)steeple::csi::driver_of_volume_data(input).size();
  return 0;
}
