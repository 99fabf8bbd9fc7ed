// SPDX-License-Identifier: Apache-2.0

// gRPC's length-prefixed messages: one byte of flags, four of length, the message. A reader for
// bytes as they arrive and a queue of messages to be sent. On the connection's loop.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/result.h"

namespace steeple::rpc {

inline constexpr std::size_t kPrefixBytes = 5;

// Cuts a byte stream into messages. A message that arrives in one piece is not copied. The length
// is checked as soon as its prefix is there; memory follows what arrived, not what was announced.
class MessageReader {
 public:
  using OnMessage = std::function<void(ByteView)>;

  explicit MessageReader(std::size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  // `sink` may pause, unpause or stop the reader. After an error the reader must not be used.
  template <class Sink>
  Result<void> feed(ByteView chunk, Sink&& sink) {
    if (!buffer_.empty() || paused_) {
      buffer_.append(chunk);
      return drain(sink);
    }
    // Nothing is kept: read from the chunk itself and keep only the rest.
    while (!paused_ && !stopped_) {
      std::size_t length = TRY(complete(chunk));
      if (length == 0) {
        break;
      }
      sink(chunk.substr(kPrefixBytes, length - kPrefixBytes));
      chunk.remove_prefix(length);
    }
    if (!stopped_) {
      buffer_.append(chunk);
    }
    return {};
  }
  // After unpausing.
  template <class Sink>
  Result<void> drain(Sink&& sink) {
    if (draining_) {
      return {};  // called by the sink: the outer call goes on
    }
    draining_ = true;
    std::size_t done = 0;
    Result<void> outcome;
    while (!paused_ && !stopped_) {
      Result<std::size_t> length = complete(ByteView(buffer_).substr(done));
      if (!length.ok() || *length == 0) {
        outcome = length.ok() ? Result<void>() : Result<void>(std::move(length.error()));
        break;
      }
      std::size_t from = done + kPrefixBytes;
      done += *length;
      sink(ByteView(buffer_).substr(from, *length - kPrefixBytes));
    }
    draining_ = false;
    if (stopped_ || done == buffer_.size()) {
      std::string().swap(buffer_);
    } else {
      buffer_.erase(0, done);
    }
    return outcome;
  }

  void pause(bool paused) { paused_ = paused; }
  bool paused() const { return paused_; }
  // Nothing is delivered any more.
  void stop() { stopped_ = true; }
  std::size_t buffered() const { return buffer_.size(); }

 private:
  // Bytes of the complete message at the start with its prefix; 0 when there is more to come.
  Result<std::size_t> complete(ByteView bytes) const;

  std::string buffer_;
  std::size_t message_bytes_max_;
  bool paused_ = false;
  bool stopped_ = false;
  bool draining_ = false;
};

// Messages waiting to go out, written with their prefixes in pieces of any size.
class SendQueue {
 public:
  void push(Bytes message);
  // With prefixes.
  std::size_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }
  // Appends the next `count` bytes to `out`; count <= bytes().
  void take(std::size_t count, std::string& out);

  // While retaining, what was taken is kept and `rewind` starts over: for a call that may have to
  // be sent again.
  void retain(bool retained);
  bool retains() const { return retain_; }
  void rewind();

 private:
  std::vector<Bytes> messages_;
  std::size_t head_ = 0;    // first message with bytes left
  std::size_t offset_ = 0;  // within it, prefix included
  std::size_t bytes_ = 0;
  bool retain_ = false;
};

}  // namespace steeple::rpc
