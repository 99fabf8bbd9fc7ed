// SPDX-License-Identifier: Apache-2.0

// An io::Connection inside TLS, after its handshake. Owns the raw connection and the SSL object.
// On one loop.
//
// Writing: after kWouldBlock the next write must begin with the same bytes, and have no fewer: the
// record is encrypted already and only waits for room. Any ordered output buffer does that.

#pragma once

#include <memory>

#include "lib/io/connection.h"
#include "lib/io/loop.h"
#include "lib/tls/tls_context.h"

namespace steeple::tls {

class TlsConnection final : public io::Connection {
 public:
  // Takes over the raw connection's ready handler. `peer` is what the handshake verified.
  TlsConnection(io::Loop& loop, std::unique_ptr<io::Connection> raw, ContextPtr context,
                SslPtr<SSL> ssl, std::shared_ptr<const io::Peer> peer);
  // Says close_notify when nothing went wrong before, so that a strict peer sees no truncation.
  ~TlsConnection() override;
  TlsConnection(const TlsConnection&) = delete;
  TlsConnection& operator=(const TlsConnection&) = delete;

  io::IoResult read(std::span<char> into) override;
  io::IoResult write(ByteView from) override;
  void on_ready(ReadyHandler handler) override;
  void interest(bool readable, bool writable) override;
  void shutdown_write() override;
  std::shared_ptr<const io::Peer> peer() const override { return peer_; }
  std::string last_error() const override { return error_; }
  int fd() const override { return raw_->fd(); }

 private:
  io::IoResult settle(int result, bool reading);
  void raw_ready(bool readable, bool writable);
  void notify(bool readable, bool writable);
  void update_interest();
  void wake_if_buffered();

  io::Loop& loop_;
  std::unique_ptr<io::Connection> raw_;
  ContextPtr context_;
  SslPtr<SSL> ssl_;
  const std::shared_ptr<const io::Peer> peer_;
  std::shared_ptr<ReadyHandler> handler_;
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
  std::string error_;
  bool want_read_ = false, want_write_ = false;
  // TLS may need the other direction first (a key update's answer).
  bool read_needs_write_ = false, write_needs_read_ = false;
  // Bytes may wait inside OpenSSL, where the socket's readiness does not show them.
  bool may_have_buffered_ = true;
  bool wake_posted_ = false;
  bool close_sent_ = false;
  bool broken_ = false;
};

}  // namespace steeple::tls
