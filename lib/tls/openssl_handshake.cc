// SPDX-License-Identifier: Apache-2.0

// The real handshake: drives SSL_do_handshake on readiness, within a timeout, and gives either a
// TlsConnection or an error. A failed one lingers: closing a socket with unread bytes sends a reset
// that may overtake our alert, so we stop writing, read the rest for a moment, and close then.
//
// A handshake under way is owned by its timer in the loop: no cycle, and a loop that goes away
// takes it along.

#include <fcntl.h>
#include <openssl/err.h>

#include "lib/base/check.h"
#include "lib/tls/connection_bio.h"
#include "lib/tls/handshake.h"
#include "lib/tls/peer_chain.h"
#include "lib/tls/tls_connection.h"
#include "lib/tls/tls_context.h"

namespace steeple::tls {
namespace {

constexpr auto kLingerTimeout = std::chrono::seconds(1);
constexpr std::size_t kLingerBytesMax = std::size_t{256} << 10;
constexpr std::size_t kLingerReadBytes = 4096;

class Attempt final : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(io::Loop& loop, std::unique_ptr<io::Connection> raw, std::shared_ptr<const void> policy,
          const VerifyPeer& verify, SecureHandler handler)
      : loop_(loop),
        raw_(std::move(raw)),
        policy_(std::move(policy)),
        handler_(std::move(handler)) {
    check_.policy = &verify;
  }
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  void start(ContextPtr context, bool server, const std::string& server_name, Duration timeout);
  // Closes without an alert.
  void refuse(Error error);

 private:
  void step();
  void succeed();
  void fail(Error error);
  void give_up(Duration timeout);
  void linger();
  void drain();
  void close();
  Error error_of(int result);
  std::shared_ptr<const io::Peer> verified_peer();

  io::Loop& loop_;
  std::unique_ptr<io::Connection> raw_;
  std::shared_ptr<const void> policy_;  // check_ points into it
  SecureHandler handler_;
  ContextPtr context_;
  PeerCheck check_;
  SslPtr<SSL> ssl_;
  std::uint64_t timer_ = 0;
  std::size_t drained_ = 0;
  bool settled_ = false;
};

void Attempt::refuse(Error error) {
  settled_ = true;
  loop_.post([self = shared_from_this(), error = std::move(error)]() mutable {
    self->raw_.reset();
    self->handler_(std::move(error));
  });
}

void Attempt::start(ContextPtr context, bool server, const std::string& server_name,
                    Duration timeout) {
  context_ = std::move(context);
  ERR_clear_error();
  ssl_.reset(SSL_new(context_->native.get()));
  BIO* bio = ssl_ ? connection_bio(*raw_) : nullptr;
  if (bio == nullptr) {
    refuse(internal(take_ssl_error()));
    return;
  }
  SSL_set_bio(ssl_.get(), bio, bio);
  attach(ssl_.get(), &check_);
  if (server) {
    SSL_set_accept_state(ssl_.get());
  } else {
    SSL_set_connect_state(ssl_.get());
    if (!server_name.empty() && SSL_set_tlsext_host_name(ssl_.get(), server_name.c_str()) != 1) {
      refuse(invalid_argument(fmt::format("\"{}\" is not a server name", server_name)));
      return;
    }
  }
  timer_ = loop_.start_timer(timeout, [self = shared_from_this(), timeout] {
    self->timer_ = 0;
    self->give_up(timeout);
  });
  raw_->on_ready([this](bool /*readable*/, bool /*writable*/) { step(); });
  step();
}

void Attempt::step() {
  if (settled_) {
    return;
  }
  ERR_clear_error();
  int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    succeed();
    return;
  }
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      raw_->interest(true, false);
      return;
    case SSL_ERROR_WANT_WRITE:
      raw_->interest(false, true);
      return;
    default:
      fail(error_of(result));
  }
}

Error Attempt::error_of(int result) {
  if (check_.refusal) {
    ERR_clear_error();
    return std::move(*check_.refusal);
  }
  unsigned long queued = ERR_peek_last_error();
  int reason = ERR_GET_LIB(queued) == ERR_LIB_SSL ? ERR_GET_REASON(queued) : 0;
  bool ended = reason == SSL_R_UNEXPECTED_EOF_WHILE_READING ||
               (queued == 0 && SSL_get_error(ssl_.get(), result) == SSL_ERROR_SYSCALL);
  if (ended) {
    ERR_clear_error();
    std::string why = raw_->last_error();
    return unavailable(
        fmt::format("tls: connection lost during the handshake: {}", why.empty() ? "EOF" : why));
  }
  return unavailable(take_ssl_error());
}

void Attempt::succeed() {
  auto self = shared_from_this();
  if (!context_->alpn.empty()) {
    const unsigned char* selected = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &selected, &size);
    if (size == 0) {
      fail(unavailable("tls: peer selected no application protocol"));
      return;
    }
  }
  settled_ = true;
  raw_->interest(false, false);
  attach(ssl_.get(), nullptr);
  loop_.cancel_timer(std::exchange(timer_, 0));
  // From a task of its own: the raw connection's handler is on the stack now.
  loop_.post([self] {
    auto peer = self->verified_peer();
    auto secure = std::make_unique<TlsConnection>(self->loop_, std::move(self->raw_),
                                                  std::move(self->context_), std::move(self->ssl_),
                                                  std::move(peer));
    self->handler_(std::unique_ptr<io::Connection>(std::move(secure)));
  });
}

std::shared_ptr<const io::Peer> Attempt::verified_peer() {
  auto raw = raw_->peer();
  auto peer = std::make_shared<io::Peer>();
  peer->tls = true;
  peer->address = raw->address;
  peer->spiffe_id = std::move(check_.id);
  set_chain(*peer, std::move(check_.chain));
  if (raw->process) {
    const auto& process = *raw->process;
    peer->process.emplace();
    peer->process->pid = process.pid;
    peer->process->uid = process.uid;
    peer->process->gid = process.gid;
    peer->process->start_time = process.start_time;
    if (process.pidfd.valid()) {
      io::FileDescriptor copy(::fcntl(process.pidfd.get(), F_DUPFD_CLOEXEC, 0));
      if (!copy.valid()) {
        peer->process.reset();  // better no process than one that is not pinned
      } else {
        peer->process->pidfd = std::move(copy);
      }
    }
  }
  return peer;
}

void Attempt::fail(Error error) {
  if (settled_) {
    return;
  }
  auto self = shared_from_this();
  settled_ = true;
  if (timer_ != 0) {
    loop_.cancel_timer(std::exchange(timer_, 0));
  }
  linger();
  loop_.post([self, error = std::move(error)]() mutable { self->handler_(std::move(error)); });
}

// No alert is under way then, so there is nothing to linger for.
void Attempt::give_up(Duration timeout) {
  raw_->interest(false, false);
  refuse(deadline_exceeded(
      fmt::format("tls: handshake timed out after {}", format_go_duration(timeout))));
}

void Attempt::linger() {
  raw_->interest(false, false);
  raw_->shutdown_write();
  timer_ = loop_.start_timer(kLingerTimeout, [self = shared_from_this()] { self->raw_.reset(); });
  // Again from a task: `step` may be what the raw connection is running.
  loop_.post([self = shared_from_this()] {
    if (self->raw_) {
      self->raw_->on_ready([at = self.get()](bool, bool) { at->drain(); });
      self->raw_->interest(true, false);
    }
  });
}

void Attempt::drain() {
  std::array<char, kLingerReadBytes> unread;
  while (drained_ < kLingerBytesMax) {
    io::IoResult result = raw_->read(unread);
    if (result.status == io::IoStatus::kWouldBlock) {
      return;
    }
    if (result.status != io::IoStatus::kOk) {
      break;
    }
    drained_ += result.bytes;
  }
  close();
}

void Attempt::close() {
  auto self = shared_from_this();
  raw_->interest(false, false);
  loop_.cancel_timer(std::exchange(timer_, 0));
  loop_.post([self] { self->raw_.reset(); });
}

class OpensslHandshake final : public Handshake {
 public:
  void accept(io::Loop& loop, std::unique_ptr<io::Connection> raw,
              std::shared_ptr<const ServerPolicy> policy, Duration timeout,
              SecureHandler handler) override {
    CHECK(loop.on_loop() && raw && policy);
    auto attempt = std::make_shared<Attempt>(loop, std::move(raw), policy, policy->verify_client,
                                             std::move(handler));
    auto identity = policy->identity ? policy->identity() : nullptr;
    if (!identity) {
      attempt->refuse(unavailable("tls: there is no server identity yet"));
      return;
    }
    run(*attempt, contexts_.server(policy, identity), true, {}, timeout);
  }

  void connect(io::Loop& loop, std::unique_ptr<io::Connection> raw,
               std::shared_ptr<const ClientPolicy> policy, Duration timeout,
               SecureHandler handler) override {
    CHECK(loop.on_loop() && raw && policy);
    auto attempt = std::make_shared<Attempt>(loop, std::move(raw), policy, policy->verify_server,
                                             std::move(handler));
    auto identity = policy->identity ? policy->identity() : nullptr;
    run(*attempt, contexts_.client(policy, identity), false, policy->server_name, timeout);
  }

 private:
  static void run(Attempt& attempt, Result<ContextPtr> context, bool server,
                  const std::string& server_name, Duration timeout) {
    if (!context.ok()) {
      attempt.refuse(std::move(context).error());
      return;
    }
    attempt.start(std::move(context).take(), server, server_name, timeout);
  }

  ContextCache contexts_;
};

}  // namespace

std::unique_ptr<Handshake> openssl_handshake() { return std::make_unique<OpensslHandshake>(); }

}  // namespace steeple::tls
