// SPDX-License-Identifier: Apache-2.0

// Goal: no content of /proc files makes their readers misbehave (a process chooses its own name).

#include "agent/peer/peer_process.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  steeple::ByteView input(reinterpret_cast<const char*>(data), size);
  (void)steeple::agent::parse_start_time(input).ok();
  (void)steeple::agent::parse_process_ids(input).ok();
  return 0;
}
