// SPDX-License-Identifier: Apache-2.0

// Goal: no content of /proc files makes their readers misbehave (a process chooses its own name).

#include "agent/peer/peer_process.h"
#include "lib/base/fuzz_seeds.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {
      "42 (a) b) c) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 1000 10 18446744073",
      "Name:\tx\nUmask:\t0022\nState:\tS\nPid:\t42\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"
      "Groups:\t9 10 11 \n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  steeple::ByteView input(reinterpret_cast<const char*>(data), size);
  (void)steeple::agent::parse_start_time(input).ok();
  (void)steeple::agent::parse_process_ids(input).ok();
  return 0;
}
