// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/h2_session.h"

#include <fmt/format.h>

#include "lib/base/limits.h"

namespace steeple::rpc {
namespace {

constexpr std::size_t kOutputChunkBytes = std::size_t{64} << 10;
constexpr int kReadsPerTurn = 8;  // then other connections get their turn
constexpr std::uint32_t kDeflateTableBytes = 1024;
constexpr auto kLingerMax = std::chrono::seconds(1);
constexpr std::uint64_t kKeepalivePing = 0x6b65657061'6c6976ULL;
// CVE-2023-44487: this many resets at once, then so many a second, then the connection ends.
constexpr std::uint64_t kResetBurst = 1000;
constexpr std::uint64_t kResetsPerSecond = 33;

Error connection_lost(std::string_view why) {
  return unavailable(
      fmt::format("connection error: desc = \"error reading from server: {}\"", why));
}

}  // namespace

struct H2Session::Callbacks {
  static H2Session& self(void* user_data) { return *static_cast<H2Session*>(user_data); }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    self(user).on_headers_begun(*frame);
    return 0;
  }
  static int header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                    std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                    std::uint8_t, void* user) {
    bool good = self(user).on_header(*frame, {reinterpret_cast<const char*>(name), name_size},
                                     {reinterpret_cast<const char*>(value), value_size});
    return good ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  static int frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Session& session = self(user);
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
      session.ping_unanswered_ = false;
    }
    session.on_frame(*frame);
    return 0;
  }
  static int data_chunk(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                        std::size_t size, void* user) {
    self(user).on_data(id, {reinterpret_cast<const char*>(data), size});
    return 0;
  }
  static int frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Session& session = self(user);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
      session.violated_ = true;
    }
    session.on_frame_sent(*frame);
    return 0;
  }
  static int stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
    self(user).on_stream_closed(id, code);
    return 0;
  }
  // Tells how much can be sent; send_data then writes it, so that messages are copied once.
  static ssize_t read_data(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t length,
                           std::uint32_t* flags, nghttp2_data_source* source, void* user) {
    auto& stream = *static_cast<H2Stream*>(source->ptr);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    std::size_t count = std::min(length, stream.queue.bytes());
    if (count == stream.queue.bytes() && stream.ended) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!self(user).on_data_ended(stream)) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      }
      return static_cast<ssize_t>(count);
    }
    if (count == 0) {
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(count);
  }
  static int send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* head,
                       std::size_t length, nghttp2_data_source* source, void* user) {
    constexpr std::size_t kFrameHeadBytes = 9;
    std::string& out = self(user).scratch_->out;
    if (out.size() >= kOutputChunkBytes) {
      return NGHTTP2_ERR_WOULDBLOCK;  // asked again once the socket took this chunk
    }
    out.append(reinterpret_cast<const char*>(head), kFrameHeadBytes);
    static_cast<H2Stream*>(source->ptr)->queue.take(length, out);
    return 0;
  }

  // Made once; sessions copy what they need.
  static const nghttp2_session_callbacks* table() {
    static const nghttp2_session_callbacks* made = [] {
      nghttp2_session_callbacks* callbacks = nullptr;
      CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
      nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_recv);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_chunk);
      nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_send);
      nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_close);
      nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
      return callbacks;
    }();
    return made;
  }
  static const nghttp2_option* options() {
    static const nghttp2_option* made = [] {
      nghttp2_option* option = nullptr;
      CHECK(nghttp2_option_new(&option) == 0);
      nghttp2_option_set_no_auto_window_update(option, 1);
      nghttp2_option_set_no_closed_streams(option, 1);
      nghttp2_option_set_max_deflate_dynamic_table_size(option, kDeflateTableBytes);
      nghttp2_option_set_stream_reset_rate_limit(option, kResetBurst, kResetsPerSecond);
      return option;
    }();
    return made;
  }
};

H2Session::H2Session(io::Loop& loop, std::shared_ptr<Scratch> scratch,
                     std::unique_ptr<io::Connection> connection, Settings settings)
    : loop_(loop),
      scratch_(std::move(scratch)),
      connection_(std::move(connection)),
      peer_(connection_->peer()),
      slot_(settings.server ? &scratch_->pages : nullptr),
      is_server_(settings.server),
      keepalive_interval_(settings.keepalive_interval),
      keepalive_timeout_(settings.keepalive_timeout),
      timer_(loop) {
  auto make = settings.server ? nghttp2_session_server_new3 : nghttp2_session_client_new3;
  CHECK(make(&session_, Callbacks::table(), this, Callbacks::options(), slot_.mem()) == 0);
  std::array<nghttp2_settings_entry, 3> entries = {
      {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits::kWindowBytes},
       {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.header_list_bytes_max},
       settings.server
           ? nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.streams_max}
           : nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}}};
  CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size()) == 0);
  CHECK(nghttp2_session_set_local_window_size(
            session_, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(limits::kWindowBytes)) == 0);
}

H2Session::~H2Session() { nghttp2_session_del(session_); }

void H2Session::start() {
  connection_->on_ready([this](bool readable, bool) { turn(readable); });
  start_keepalive(keepalive_interval_);
  turn(false);
}

void H2Session::request_flush() {
  flush_asked_ = true;
  if (busy_ || flush_posted_ || disconnected_) {
    return;
  }
  flush_posted_ = true;
  loop_.post([weak = weak_from_this()] {
    if (auto self = weak.lock()) {
      self->flush_posted_ = false;
      self->turn(false);
    }
  });
}

void H2Session::disconnect(Error why) {
  if (disconnected_) {
    return;
  }
  if (busy_) {
    if (!leaving_) {
      leaving_ = std::make_unique<Error>(std::move(why));
    }
    return;
  }
  close_now(why);
}

void H2Session::resume(H2Stream& stream) {
  if (stream.deferred) {
    stream.deferred = false;
    nghttp2_session_resume_data(session_, stream.id);
  }
  request_flush();
}

nghttp2_data_provider H2Session::provider_of(H2Stream& stream) {
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = Callbacks::read_data;
  return provider;
}

void H2Session::ping(std::uint64_t payload) {
  std::array<std::uint8_t, 8> opaque{};
  std::memcpy(opaque.data(), &payload, opaque.size());
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, opaque.data());
  request_flush();
}

// One turn: work off input, then write what came of it.
void H2Session::turn(bool readable) {
  if (disconnected_ || busy_) {
    return;
  }
  std::shared_ptr<H2Session> self = shared_from_this();
  busy_ = true;
  bool open = true;
  if (readable) {
    open = read_some();
  }
  flush_asked_ = false;
  bool writable = write_some();
  busy_ = false;
  if (leaving_) {
    close_now(*std::exchange(leaving_, nullptr));
    return;
  }
  if (!open || !writable) {
    std::string why = connection_->last_error();
    close_now(connection_lost(why.empty() ? "EOF" : why));
    return;
  }
  if (flush_asked_) {
    request_flush();
  }
  if (pending_.empty() && nghttp2_session_want_read(session_) == 0 &&
      nghttp2_session_want_write(session_) == 0) {
    finish_gracefully();
    return;
  }
  // A client that does not take our output gets none of its input read: memory stays bounded. The
  // client itself always reads, or two full sockets would wait for each other.
  want(pending_.empty() || !is_server_, !pending_.empty());
}

// False at end of stream or error.
bool H2Session::read_some() {
  std::vector<char>& in = scratch_->in;
  for (int i = 0; i < kReadsPerTurn; ++i) {
    io::IoResult got = connection_->read(in);
    if (got.status == io::IoStatus::kWouldBlock) {
      return true;
    }
    if (got.status != io::IoStatus::kOk) {
      return false;
    }
    heard_ = true;
    if (lingering_) {
      continue;
    }
    ssize_t used = nghttp2_session_mem_recv(
        session_, reinterpret_cast<const std::uint8_t*>(in.data()), got.bytes);
    if (used < 0) {
      if (!leaving_) {
        leaving_ = std::make_unique<Error>(
            unavailable(fmt::format("http2: {}", nghttp2_strerror(static_cast<int>(used)))));
      }
      return true;
    }
    if (leaving_) {
      return true;
    }
    // Less than asked for: a plain socket has no more now. TLS may hold a decrypted rest.
    if (got.bytes < in.size() && !peer_->tls) {
      return true;
    }
  }
  // More may be there without the socket telling again (TLS).
  loop_.post([weak = weak_from_this()] {
    if (auto self = weak.lock()) {
      self->turn(true);
    }
  });
  return true;
}

// False when the connection failed. Generates only as much as the socket takes.
bool H2Session::write_some() {
  std::size_t written = 0;
  if (!pending_.empty()) {
    if (!write_out(pending_, written)) {
      return false;
    }
    if (written < pending_.size()) {
      pending_.erase(0, written);
      return true;
    }
    std::string().swap(pending_);
  }
  std::string& out = scratch_->out;
  while (true) {
    out.clear();
    while (out.size() < kOutputChunkBytes) {
      const std::uint8_t* data = nullptr;
      ssize_t size = nghttp2_session_mem_send(session_, &data);
      if (size < 0) {
        return false;
      }
      if (size == 0) {
        break;
      }
      out.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
    }
    if (out.empty()) {
      return true;
    }
    if (!write_out(out, written)) {
      return false;
    }
    if (written < out.size()) {
      pending_.assign(out, written);
      return true;
    }
  }
}

bool H2Session::write_out(ByteView bytes, std::size_t& written) {
  written = 0;
  while (written < bytes.size()) {
    io::IoResult put = connection_->write(bytes.substr(written));
    if (put.status == io::IoStatus::kWouldBlock) {
      return true;
    }
    if (put.status != io::IoStatus::kOk) {
      return false;
    }
    written += put.bytes;
  }
  return true;
}

void H2Session::want(bool readable, bool writable) {
  if (readable != reading_ || writable != writing_) {
    reading_ = readable;
    writing_ = writable;
    connection_->interest(readable, writable);
  }
}

void H2Session::start_keepalive(Duration after) {
  if (after != Duration::max()) {
    timer_.start(after, [this] { keepalive_tick(); });
  }
}

void H2Session::keepalive_tick() {
  if (heard_) {
    heard_ = false;
    ping_unanswered_ = false;
    start_keepalive(keepalive_interval_);
    return;
  }
  if (ping_unanswered_) {
    disconnect(unavailable("keepalive ping failed to receive ACK within timeout"));
    return;
  }
  ping_unanswered_ = true;
  ping(kKeepalivePing);
  start_keepalive(keepalive_timeout_);
}

// Everything is said. Closing at once could destroy our last frames on their way (unread input
// turns close into a reset), so wait for the peer to close, but not long.
void H2Session::finish_gracefully() {
  if (violated_) {
    close_now(unavailable("http2: the peer broke the protocol"));  // deserves no patience
    return;
  }
  if (lingering_) {
    want(true, false);
    return;
  }
  lingering_ = true;
  connection_->shutdown_write();
  timer_.start(kLingerMax, [this] { disconnect(unavailable("connection closed")); });
  want(true, false);
}

void H2Session::close_now(const Error& why) {
  if (disconnected_) {
    return;
  }
  disconnected_ = true;
  std::shared_ptr<H2Session> self = shared_from_this();
  timer_.cancel();
  connection_.reset();
  on_disconnected(why);
}

}  // namespace steeple::rpc
