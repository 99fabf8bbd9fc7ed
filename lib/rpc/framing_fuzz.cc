// SPDX-License-Identifier: Apache-2.0

// Fuzz target: gRPC message framing in pieces of any size, with pauses, and the texts of a status
// and a deadline. The same bytes give the same messages, however they are cut.

#include "lib/base/check.h"
#include "lib/base/fuzz_seeds.h"
#include "lib/rpc/framing.h"
#include "lib/rpc/raw_client.h"
#include "lib/rpc/status.h"

namespace steeple::rpc {
namespace {

constexpr std::size_t kMessageBytesMax = 512;

struct Outcome {
  std::vector<std::string> messages;
  bool ok = true;
};

Outcome read(ByteView bytes, std::size_t piece, bool pausing) {
  Outcome out;
  MessageReader reader(kMessageBytesMax);
  auto sink = [&](ByteView message) {
    CHECK(message.size() <= kMessageBytesMax);
    out.messages.emplace_back(message);
    reader.pause(pausing);
  };
  while (!bytes.empty() && out.ok) {
    ByteView part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    out.ok = reader.feed(part, sink).ok();
    while (out.ok && reader.paused()) {
      std::size_t before = out.messages.size();
      reader.pause(false);
      out.ok = reader.drain(sink).ok();
      if (out.messages.size() == before) {
        break;
      }
    }
    CHECK(!out.ok || reader.buffered() < kMessageBytesMax + kPrefixBytes + piece);
  }
  return out;
}

void check_framing(ByteView bytes) {
  Outcome whole = read(bytes, bytes.size() + 1, false);
  for (std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100}}) {
    for (bool pausing : {false, true}) {
      Outcome cut = read(bytes, piece, pausing);
      CHECK(cut.ok == whole.ok && cut.messages == whole.messages);
    }
  }
}

void check_texts(ByteView bytes) {
  if (auto timeout = decode_timeout(bytes); timeout.ok()) {
    CHECK(*timeout >= Duration::zero() && bytes.size() <= 9);
  }
  CHECK(percent_decode(percent_encode(bytes)) == bytes);
  (void)percent_decode(bytes);
  std::size_t first = std::min(bytes.find('\n'), bytes.size());
  std::size_t second = std::min(bytes.find('\n', std::min(first + 1, bytes.size())), bytes.size());
  ByteView code = bytes.substr(0, first);
  ByteView text = first < second ? bytes.substr(first + 1, second - first - 1) : ByteView();
  ByteView details = second < bytes.size() ? bytes.substr(second + 1) : ByteView();
  Result<void> status = decode_status(code, text, details);
  if (!status.ok()) {
    StatusHeaders again = encode_status(status);
    Result<void> same = decode_status(again.grpc_status, again.grpc_message.value_or(""),
                                      again.details_bin.value_or(""));
    CHECK(!same.ok() && same.error().code == status.error().code);
  }
}

}  // namespace
}  // namespace steeple::rpc

std::vector<std::string> steeple::fuzz_seeds() {
  using rpc::testing::message;
  return {message("") + message("hello") + message(std::string(300, 'x')),
          message("x", 1),
          "10S",
          "99999999n",
          "7\npermission%20denied\n",
          "3\nbad%2\nCAMSA2JhZA==",
          "0\n\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  steeple::ByteView bytes(reinterpret_cast<const char*>(data), size);
  steeple::rpc::check_framing(bytes);
  steeple::rpc::check_texts(bytes);
  return 0;
}
