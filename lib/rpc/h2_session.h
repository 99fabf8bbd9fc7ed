// SPDX-License-Identifier: Apache-2.0

// One HTTP/2 connection, either side: owns the byte stream and the nghttp2 session, moves bytes
// between them, sends keepalive pings and closes. What the frames mean is the business of its two
// children, ServerConnection and ClientConnection. On one loop.
//
// nghttp2 must not be entered from its own callbacks, so output is generated after the input was
// worked off (`request_flush`), and `disconnect` inside a callback takes effect when it is over.

#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/io/connection.h"
#include "lib/io/loop.h"
#include "lib/rpc/framing.h"
#include "lib/rpc/session_pages.h"

namespace steeple::rpc {

// What all connections of one server or channel share. The buffers are not in use across turns of
// the loop, so an idle connection holds none.
struct Scratch {
  std::vector<char> in = std::vector<char>(std::size_t{64} << 10);
  std::string out;
  SessionPages pages;
};

inline constexpr std::size_t kHeaderOverheadBytes = 32;  // per field, RFC 9113 6.5.2

// Borrows the texts; nghttp2 copies them at submit.
inline nghttp2_nv header_of(std::string_view name, std::string_view value) {
  auto raw = [](std::string_view text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  };
  return {raw(name), raw(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// The sending half of a stream, as nghttp2 pulls it.
struct H2Stream {
  std::int32_t id = 0;
  SendQueue queue;
  bool deferred = false;  // nghttp2 waits for `resume`
  bool ended = false;     // nothing follows what is queued
};

class H2Session : public std::enable_shared_from_this<H2Session> {
 public:
  struct Settings {
    bool server = false;
    std::uint32_t streams_max = 0;
    std::uint32_t header_list_bytes_max = 0;
    Duration keepalive_interval = Duration::max();
    Duration keepalive_timeout = Duration::max();
  };

  virtual ~H2Session();
  H2Session(const H2Session&) = delete;
  H2Session& operator=(const H2Session&) = delete;

  // Sends the first SETTINGS and begins to read.
  void start();
  // Output is written at the end of the present turn.
  void request_flush();
  // Closes; `on_disconnected` tells the child once, with the reason.
  void disconnect(Error why);
  bool disconnected() const { return disconnected_; }
  nghttp2_session* h2() const { return session_; }
  io::Loop& loop() const { return loop_; }
  const std::shared_ptr<const io::Peer>& peer() const { return peer_; }
  // After data was queued on, or ended on, a stream.
  void resume(H2Stream& stream);
  nghttp2_data_provider provider_of(H2Stream& stream);

 protected:
  H2Session(io::Loop& loop, std::shared_ptr<Scratch> scratch,
            std::unique_ptr<io::Connection> connection, Settings settings);

  // --- from nghttp2, inside a turn ---
  virtual void on_headers_begun(const nghttp2_frame& frame) = 0;
  // False resets the stream.
  virtual bool on_header(const nghttp2_frame& frame, std::string_view name,
                         std::string_view value) = 0;
  virtual void on_frame(const nghttp2_frame& frame) = 0;
  virtual void on_data(std::int32_t stream_id, ByteView data) = 0;
  virtual void on_frame_sent(const nghttp2_frame& frame) = 0;
  virtual void on_stream_closed(std::int32_t stream_id, std::uint32_t error_code) = 0;
  // The queue ran dry and the stream is ended: the server submits its trailers here. True when the
  // last DATA frame carries END_STREAM.
  virtual bool on_data_ended(H2Stream& stream) = 0;
  // All streams are done and both sides said so, or the peer closed.
  virtual void on_disconnected(const Error& why) = 0;

  // A PING whose ack comes to `on_frame`.
  void ping(std::uint64_t payload);

 private:
  struct Callbacks;
  friend struct Callbacks;

  void turn(bool readable);
  bool read_some();
  bool write_some();
  bool write_out(ByteView bytes, std::size_t& written);
  void want(bool readable, bool writable);
  void keepalive_tick();
  void start_keepalive(Duration after);
  void finish_gracefully();
  void close_now(const Error& why);

  io::Loop& loop_;
  const std::shared_ptr<Scratch> scratch_;
  std::unique_ptr<io::Connection> connection_;
  const std::shared_ptr<const io::Peer> peer_;
  SessionPages::Slot slot_;
  nghttp2_session* session_ = nullptr;
  std::string pending_;  // generated, not yet taken by the socket
  const bool is_server_;
  const Duration keepalive_interval_;
  const Duration keepalive_timeout_;
  io::Timer timer_;     // keepalive, then the wait for the peer's EOF
  bool heard_ = false;  // bytes came since the last keepalive tick
  bool ping_unanswered_ = false;
  bool busy_ = false;
  bool flush_asked_ = false;
  bool flush_posted_ = false;
  bool reading_ = false;  // interests as last told to the connection
  bool writing_ = false;
  bool lingering_ = false;  // all said; waiting for the peer to close
  bool violated_ = false;   // we said GOAWAY with an error
  bool disconnected_ = false;
  std::unique_ptr<Error> leaving_;  // disconnect asked for inside a turn
};

}  // namespace steeple::rpc
