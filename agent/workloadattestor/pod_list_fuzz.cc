// SPDX-License-Identifier: Apache-2.0

// The kubelet's answer is foreign, and what pods write into it is, too: whatever comes, in whatever
// pieces, the reader gives a list or an error, and the same one.

#include <cstddef>
#include <cstdint>

#include "agent/workloadattestor/pod_list.h"
#include "lib/base/check.h"

namespace {

using namespace steeple;
using namespace steeple::agent;

Result<PodList> read(ByteView text, std::size_t piece) {
  PodListReader reader;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    TRY(reader.feed(text.substr(at, piece)));
  }
  return reader.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView text(reinterpret_cast<const char*>(data), size);
  auto whole = read(text, size + 1);
  auto pieces = read(text, 3);
  CHECK(whole.ok() == pieces.ok());
  if (whole.ok()) {
    CHECK(whole->size() == pieces->size());
  }
  return 0;
}
