// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/framing.h"

#include <fmt/format.h>

#include <algorithm>

namespace steeple::rpc {
namespace {

std::array<char, kPrefixBytes> prefix_of(std::size_t length) {
  return {0, static_cast<char>(length >> 24), static_cast<char>(length >> 16),
          static_cast<char>(length >> 8), static_cast<char>(length)};
}

std::size_t byte_at(ByteView bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

}  // namespace

Result<std::size_t> MessageReader::complete(ByteView bytes) const {
  if (bytes.size() < kPrefixBytes) {
    return std::size_t{0};
  }
  if (bytes[0] != 0) {
    return unimplemented("grpc: compressed messages are not supported");
  }
  std::size_t length = byte_at(bytes, 1) << 24 | byte_at(bytes, 2) << 16 | byte_at(bytes, 3) << 8 |
                       byte_at(bytes, 4);
  if (length > message_bytes_max_) {
    return resource_exhausted(fmt::format("grpc: received message larger than max ({} vs. {})",
                                          length, message_bytes_max_));
  }
  return bytes.size() - kPrefixBytes < length ? 0 : kPrefixBytes + length;
}

void SendQueue::push(Bytes message) {
  CHECK(message.size() <= UINT32_MAX);
  bytes_ += kPrefixBytes + message.size();
  messages_.push_back(std::move(message));
}

void SendQueue::take(std::size_t count, std::string& out) {
  CHECK(count <= bytes_);
  bytes_ -= count;
  while (count > 0) {
    Bytes& message = messages_[head_];
    if (offset_ < kPrefixBytes) {
      std::array<char, kPrefixBytes> prefix = prefix_of(message.size());
      std::size_t part = std::min(count, kPrefixBytes - offset_);
      out.append(prefix.data() + offset_, part);
      offset_ += part;
      count -= part;
    }
    std::size_t from = offset_ - std::min(offset_, kPrefixBytes);
    if (offset_ >= kPrefixBytes) {
      std::size_t part = std::min(count, message.size() - from);
      out.append(message, from, part);
      offset_ += part;
      count -= part;
    }
    if (offset_ == kPrefixBytes + message.size()) {
      if (!retain_) {
        Bytes().swap(message);
      }
      ++head_;
      offset_ = 0;
    }
  }
  if (bytes_ == 0 && !retain_) {
    messages_.clear();
    head_ = 0;
  }
}

void SendQueue::retain(bool retained) {
  retain_ = retained;
  if (!retained) {
    messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

void SendQueue::rewind() {
  CHECK(retain_);
  head_ = 0;
  offset_ = 0;
  bytes_ = 0;
  for (const Bytes& message : messages_) {
    bytes_ += kPrefixBytes + message.size();
  }
}

}  // namespace steeple::rpc
