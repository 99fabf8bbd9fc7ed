// SPDX-License-Identifier: Apache-2.0

// For tests: an HTTP/2 client that writes frames by hand, so that it can do what no well-behaved
// library does. Headers go out as plain HPACK literals. It drives one server on a simulated
// network or a real socket through io::Connection.

#pragma once

#include <nghttp2/nghttp2.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/io/connection.h"

namespace steeple::rpc::testing {

struct RawFrame {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
  std::string payload;
  std::map<std::string, std::string> headers;  // of HEADERS
};

inline std::string be32(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

inline std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                         const std::string& payload) {
  std::string length = be32(static_cast<std::uint32_t>(payload.size()));
  return length.substr(1) + static_cast<char>(type) + static_cast<char>(flags) + be32(stream) +
         payload;
}

inline std::string literal(const std::string& text) {
  // RFC 7541 5.1, 7-bit prefix; long texts take more bytes.
  std::string out;
  std::size_t size = text.size();
  if (size < 127) {
    out += static_cast<char>(size);
  } else {
    out += static_cast<char>(127);
    size -= 127;
    while (size >= 128) {
      out += static_cast<char>(size % 128 + 128);
      size /= 128;
    }
    out += static_cast<char>(size);
  }
  return out + text;
}

using Fields = std::vector<std::pair<std::string, std::string>>;

inline std::string header_block(const Fields& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    out += '\0';
    out += literal(name) + literal(value);
  }
  return out;
}

inline Fields request_fields(const std::string& path, Fields more = {}) {
  Fields out = {{":method", "POST"},
                {":scheme", "http"},
                {":path", path},
                {":authority", "localhost"},
                {"content-type", "application/grpc"},
                {"te", "trailers"}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

inline std::string headers_frame(std::uint32_t stream, const Fields& fields, bool end_stream) {
  return frame(NGHTTP2_HEADERS,
               static_cast<std::uint8_t>(NGHTTP2_FLAG_END_HEADERS |
                                         (end_stream ? NGHTTP2_FLAG_END_STREAM : 0)),
               stream, header_block(fields));
}

inline std::string message(const std::string& content, char flag = 0) {
  return std::string(1, flag) + be32(static_cast<std::uint32_t>(content.size())) + content;
}

inline std::string data_frame(std::uint32_t stream, const std::string& payload, bool end_stream) {
  return frame(NGHTTP2_DATA, end_stream ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE, stream,
               payload);
}

inline std::string rst_frame(std::uint32_t stream, std::uint32_t code) {
  return frame(NGHTTP2_RST_STREAM, 0, stream, be32(code));
}

inline const std::string kPreface =
    std::string(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN) + frame(NGHTTP2_SETTINGS, 0, 0, "");

class RawClient {
 public:
  RawClient() { CHECK(nghttp2_hd_inflate_new(&inflater_) == 0); }
  ~RawClient() { nghttp2_hd_inflate_del(inflater_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void use(std::unique_ptr<io::Connection> connection) {
    connection_ = std::move(connection);
    connection_->on_ready([this](bool readable, bool writable) {
      if (readable) {
        read();
      }
      if (writable && connection_) {
        write();
      }
    });
    connection_->interest(true, false);
  }
  bool connected() const { return connection_ != nullptr; }
  void send(const std::string& bytes) {
    out_ += bytes;
    if (connection_ && !ended_) {
      connection_->interest(true, true);
    }
  }
  void stop_reading() { connection_->interest(false, false); }
  bool ended() const { return ended_; }
  bool all_sent() const { return out_.empty(); }
  std::size_t sent_bytes() const { return sent_; }
  void close() { connection_.reset(); }

  // The frames so far of a type on a stream.
  std::vector<RawFrame> frames(std::uint8_t type, std::uint32_t stream) const {
    std::vector<RawFrame> out;
    for (const RawFrame& each : frames_) {
      if (each.type == type && each.stream == stream) {
        out.push_back(each);
      }
    }
    return out;
  }
  // The last value of a response header or trailer.
  std::string field(std::uint32_t stream, const std::string& name) const {
    std::string out;
    for (const RawFrame& each : frames(NGHTTP2_HEADERS, stream)) {
      auto found = each.headers.find(name);
      out = found == each.headers.end() ? out : found->second;
    }
    return out;
  }
  std::string body(std::uint32_t stream) const {
    std::string out;
    for (const RawFrame& each : frames(NGHTTP2_DATA, stream)) {
      out += each.payload;
    }
    return out;
  }

 private:
  void read() {
    std::array<char, 16384> buffer{};
    io::IoResult got = connection_->read(buffer);
    if (got.status == io::IoStatus::kOk) {
      in_.append(buffer.data(), got.bytes);
      parse();
    } else if (got.status != io::IoStatus::kWouldBlock) {
      ended_ = true;
      connection_->interest(false, false);
    }
  }
  void write() {
    io::IoResult put = connection_->write(ByteView(out_).substr(out_at_));
    if (put.status == io::IoStatus::kOk) {
      sent_ += put.bytes;
      out_at_ += put.bytes;
      if (out_at_ == out_.size()) {
        out_.clear();
        out_at_ = 0;
      }
    } else if (put.status == io::IoStatus::kError) {
      ended_ = true;
      connection_->interest(false, false);
      return;
    }
    connection_->interest(true, !out_.empty());
  }
  void parse() {
    constexpr std::size_t kHead = 9;
    auto at = [this](std::size_t i) { return static_cast<std::uint8_t>(in_[i]); };
    while (in_.size() >= kHead) {
      std::size_t length = static_cast<std::size_t>(at(0) << 16 | at(1) << 8 | at(2));
      if (in_.size() < kHead + length) {
        return;
      }
      RawFrame& each = frames_.emplace_back();
      each.type = at(3);
      each.flags = at(4);
      each.stream = static_cast<std::uint32_t>(at(5) << 24 | at(6) << 16 | at(7) << 8 | at(8));
      each.payload = in_.substr(kHead, length);
      in_.erase(0, kHead + length);
      if (each.type == NGHTTP2_HEADERS) {
        inflate(each);
      }
      if (each.type == NGHTTP2_SETTINGS && (each.flags & NGHTTP2_FLAG_ACK) == 0 &&
          answer_settings) {
        send(frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, ""));
      }
      if (each.type == NGHTTP2_PING && (each.flags & NGHTTP2_FLAG_ACK) == 0 && answer_pings) {
        send(frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, each.payload));
      }
    }
  }
  void inflate(RawFrame& each) {
    const auto* data = reinterpret_cast<const std::uint8_t*>(each.payload.data());
    std::size_t left = each.payload.size();
    int flags = 0;
    while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
      nghttp2_nv nv;
      ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, data, left, 1);
      CHECK(used >= 0);
      data += used;
      left -= static_cast<std::size_t>(used);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        each.headers[{reinterpret_cast<char*>(nv.name), nv.namelen}] = {
            reinterpret_cast<char*>(nv.value), nv.valuelen};
      }
    }
    nghttp2_hd_inflate_end_headers(inflater_);
  }

  std::unique_ptr<io::Connection> connection_;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string in_;
  std::string out_;
  std::size_t out_at_ = 0;
  std::vector<RawFrame> frames_;
  std::size_t sent_ = 0;
  bool ended_ = false;

 public:
  bool answer_pings = true;
  bool answer_settings = true;
};

}  // namespace steeple::rpc::testing
