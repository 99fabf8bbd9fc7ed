// SPDX-License-Identifier: Apache-2.0

#include "lib/tls/tls_connection.h"

#include <openssl/err.h>

namespace steeple::tls {

TlsConnection::TlsConnection(io::Loop& loop, std::unique_ptr<io::Connection> raw,
                             ContextPtr context, SslPtr<SSL> ssl,
                             std::shared_ptr<const io::Peer> peer)
    : loop_(loop),
      raw_(std::move(raw)),
      context_(std::move(context)),
      ssl_(std::move(ssl)),
      peer_(std::move(peer)) {
  raw_->interest(false, false);
  raw_->on_ready([this](bool readable, bool writable) { raw_ready(readable, writable); });
}

TlsConnection::~TlsConnection() {
  if (!broken_ && !close_sent_) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
}

io::IoResult TlsConnection::read(std::span<char> into) {
  if (broken_) {
    return {io::IoStatus::kError};
  }
  read_needs_write_ = false;
  ERR_clear_error();
  std::size_t done = 0;
  int result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &done);
  if (result == 1) {
    may_have_buffered_ = SSL_has_pending(ssl_.get()) == 1;
    wake_if_buffered();
    return {io::IoStatus::kOk, done};
  }
  return settle(result, /*reading=*/true);
}

io::IoResult TlsConnection::write(ByteView from) {
  if (broken_ || close_sent_) {
    return {io::IoStatus::kError};
  }
  write_needs_read_ = false;
  // One call writes one record (16 KiB); the rest follows until the socket is full.
  std::size_t total = 0;
  while (total < from.size()) {
    ERR_clear_error();
    std::size_t done = 0;
    int result = SSL_write_ex(ssl_.get(), from.data() + total, from.size() - total, &done);
    if (result != 1) {
      auto why = settle(result, /*reading=*/false);
      // What was written counts; the next call meets the same obstacle again.
      return total == 0 ? why : io::IoResult{io::IoStatus::kOk, total};
    }
    total += done;
  }
  return {io::IoStatus::kOk, total};
}

io::IoResult TlsConnection::settle(int result, bool reading) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      if (reading) {
        may_have_buffered_ = false;
      }
      write_needs_read_ = !reading;
      update_interest();
      return {io::IoStatus::kWouldBlock};
    case SSL_ERROR_WANT_WRITE:
      if (reading) {
        may_have_buffered_ = false;
      }
      read_needs_write_ = reading;
      update_interest();
      return {io::IoStatus::kWouldBlock};
    case SSL_ERROR_ZERO_RETURN:
      return {io::IoStatus::kEof};
    default:
      break;
  }
  broken_ = true;
  auto queued = ERR_peek_last_error();
  error_ = queued == 0 ? raw_->last_error() : take_ssl_error();
  if (error_.empty()) {
    error_ = "tls: connection lost";
  }
  return {io::IoStatus::kError};
}

void TlsConnection::on_ready(ReadyHandler handler) {
  handler_ = std::make_shared<ReadyHandler>(std::move(handler));
  wake_if_buffered();
}

void TlsConnection::interest(bool readable, bool writable) {
  want_read_ = readable;
  want_write_ = writable;
  update_interest();
  wake_if_buffered();
}

void TlsConnection::update_interest() {
  raw_->interest(want_read_ || (want_write_ && write_needs_read_),
                 (want_write_ && !write_needs_read_) || (want_read_ && read_needs_write_));
}

void TlsConnection::raw_ready(bool readable, bool writable) {
  bool read_now = (readable && (want_read_ || !write_needs_read_)) ||
                  (writable && want_read_ && read_needs_write_);
  bool write_now = (writable && want_write_) || (readable && want_write_ && write_needs_read_);
  if (read_now || write_now) {
    notify(read_now, write_now);
  }
}

void TlsConnection::notify(bool readable, bool writable) {
  auto handler = handler_;  // it may destroy this
  if (handler && *handler) {
    std::weak_ptr<const bool> alive = alive_;
    (*handler)(readable, writable);
    if (!alive.expired()) {
      wake_if_buffered();
    }
  }
}

// Level triggered also for what only OpenSSL holds: as long as somebody wants it, tell again.
void TlsConnection::wake_if_buffered() {
  if (!want_read_ || !may_have_buffered_ || wake_posted_ || !handler_ || broken_) {
    return;
  }
  wake_posted_ = true;
  loop_.post([this, alive = std::weak_ptr<const bool>(alive_)] {
    if (alive.expired()) {
      return;
    }
    wake_posted_ = false;
    if (want_read_ && may_have_buffered_) {
      notify(true, false);
    }
  });
}

void TlsConnection::shutdown_write() {
  if (close_sent_) {
    return;
  }
  close_sent_ = true;
  if (!broken_) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  raw_->shutdown_write();
}

}  // namespace steeple::tls
