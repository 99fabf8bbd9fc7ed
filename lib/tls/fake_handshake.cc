// SPDX-License-Identifier: Apache-2.0

// On the wire: frames of a kind, a length (4 bytes, big-endian) and fields of the same form.
//   client -> kHello: ALPN names      server -> kHello: ALPN choice, "1" to ask for a chain, chain
//   client -> kCertificate: chain     server -> kAccepted
// or kAlert with its text from either side. Then the connection carries the application's bytes as
// they are. A frame is read to its exact end, so nothing of what follows is taken.

#include "lib/tls/fake_handshake.h"

#include <array>

#include "lib/base/check.h"
#include "lib/base/limits.h"
#include "lib/tls/peer_chain.h"
#include "lib/x509/verify.h"

namespace steeple::tls {
namespace {

enum class Kind : char { kHello = 'H', kCertificate = 'C', kAccepted = 'O', kAlert = 'A' };

constexpr std::size_t kFrameHeadBytes = 5;
constexpr std::size_t kFrameBodyBytesMax =
    limits::kChainCertificatesMax * limits::kCertificateBytesMax;
constexpr std::size_t kFieldsMax = limits::kChainCertificatesMax + 2;

void put_field(Bytes& out, ByteView field) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((field.size() >> shift) & 0xff));
  }
  out += field;
}

std::size_t get_size(ByteView four) {
  std::size_t size = 0;
  for (char byte : four.substr(0, 4)) {
    size = size << 8 | static_cast<unsigned char>(byte);
  }
  return size;
}

Result<std::vector<Bytes>> get_fields(ByteView body) {
  std::vector<Bytes> fields;
  while (!body.empty()) {
    if (body.size() < 4 || get_size(body) > body.size() - 4 || fields.size() == kFieldsMax) {
      return unavailable("tls: malformed handshake frame");
    }
    std::size_t size = get_size(body);
    fields.emplace_back(body.substr(4, size));
    body.remove_prefix(4 + size);
  }
  return fields;
}

Bytes frame(Kind kind, const std::vector<Bytes>& fields) {
  Bytes body;
  for (const auto& field : fields) {
    put_field(body, field);
  }
  Bytes out(1, static_cast<char>(kind));
  put_field(out, body);
  return out;
}

std::string alert_text(const Error& refusal) {
  switch (x509::refusal_of(refusal)) {
    case x509::Refusal::kExpired:
      return "expired certificate";
    case x509::Refusal::kNoBundle:
    case x509::Refusal::kUnknownAuthority:
      return "unknown certificate authority";
    default:
      return "bad certificate";
  }
}

class FakeTlsConnection final : public io::Connection {
 public:
  FakeTlsConnection(std::unique_ptr<io::Connection> raw, std::shared_ptr<const io::Peer> peer)
      : raw_(std::move(raw)), peer_(std::move(peer)) {}

  io::IoResult read(std::span<char> into) override { return raw_->read(into); }
  io::IoResult write(ByteView from) override { return raw_->write(from); }
  void on_ready(ReadyHandler handler) override { raw_->on_ready(std::move(handler)); }
  void interest(bool readable, bool writable) override { raw_->interest(readable, writable); }
  void shutdown_write() override { raw_->shutdown_write(); }
  std::shared_ptr<const io::Peer> peer() const override { return peer_; }
  std::string last_error() const override { return raw_->last_error(); }
  int fd() const override { return raw_->fd(); }

 private:
  std::unique_ptr<io::Connection> raw_;
  const std::shared_ptr<const io::Peer> peer_;
};

// Owned by its timer in the loop, like the real one's.
class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(io::Loop& loop, std::unique_ptr<io::Connection> raw,
          std::shared_ptr<const Identity> identity, SecureHandler handler)
      : identity_(std::move(identity)),
        loop_(loop),
        raw_(std::move(raw)),
        handler_(std::move(handler)) {}
  virtual ~Attempt() = default;
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  void start(Duration timeout) {
    timer_ = loop_.start_timer(timeout, [self = shared_from_this(), timeout] {
      self->timer_ = 0;
      self->settle(deadline_exceeded(
          fmt::format("tls: handshake timed out after {}", format_go_duration(timeout))));
    });
    raw_->on_ready([this](bool, bool) { step(); });
    begin();
    step();
  }
  void refuse(Error error) { settle(std::move(error)); }

 protected:
  virtual void begin() = 0;
  virtual Result<void> on_frame(Kind kind, const std::vector<Bytes>& fields) = 0;

  void send(Kind kind, const std::vector<Bytes>& fields) { out_ += frame(kind, fields); }
  void accepted() { done_ = true; }
  Result<void> judge(const VerifyPeer& policy, std::vector<Bytes> chain) {
    auto verdict = policy(chain);
    if (!verdict.ok()) {
      send(Kind::kAlert, {alert_text(verdict.error())});
      return verdict.error();
    }
    id_ = std::move(verdict).take();
    chain_ = std::move(chain);
    return {};
  }
  Error refuse_with(const std::string& alert, Error error) {
    send(Kind::kAlert, {alert});
    return error;
  }

  const std::shared_ptr<const Identity> identity_;

 private:
  void step();
  Result<bool> flush();
  Result<bool> read_frame();
  void settle(Result<void> result);

  io::Loop& loop_;
  std::unique_ptr<io::Connection> raw_;
  SecureHandler handler_;
  std::optional<spiffe::SpiffeId> id_;
  std::vector<Bytes> chain_;
  Bytes in_, out_;
  std::uint64_t timer_ = 0;
  bool done_ = false;
  bool settled_ = false;
};

void Attempt::step() {
  auto self = shared_from_this();
  while (!settled_) {
    auto flushed = flush();
    if (!flushed.ok()) {
      settle(std::move(flushed).error());
      return;
    }
    if (!*flushed) {
      raw_->interest(false, true);
      return;
    }
    if (done_) {
      settle({});
      return;
    }
    auto progress = read_frame();
    if (!progress.ok()) {
      (void)flush();  // an alert, if there is one
      settle(std::move(progress).error());
      return;
    }
    if (!*progress) {
      raw_->interest(true, false);
      return;
    }
  }
}

// True when nothing is left to write.
Result<bool> Attempt::flush() {
  while (!out_.empty()) {
    auto result = raw_->write(out_);
    if (result.status == io::IoStatus::kWouldBlock) {
      return false;
    }
    if (result.status != io::IoStatus::kOk) {
      return unavailable("tls: connection lost during the handshake: " + raw_->last_error());
    }
    out_.erase(0, result.bytes);
  }
  return true;
}

// True after a whole frame, false when more bytes must come first.
Result<bool> Attempt::read_frame() {
  while (true) {
    std::size_t body = in_.size() < kFrameHeadBytes ? 0 : get_size(ByteView(in_).substr(1));
    if (body > kFrameBodyBytesMax) {
      return unavailable("tls: first record does not look like a TLS handshake");
    }
    std::size_t missing = kFrameHeadBytes + body - in_.size();
    if (in_.size() >= kFrameHeadBytes && missing == 0) {
      break;
    }
    std::array<char, 4096> buffer;
    auto result = raw_->read(std::span(buffer).first(std::min(missing, buffer.size())));
    if (result.status == io::IoStatus::kWouldBlock) {
      return false;
    }
    if (result.status != io::IoStatus::kOk) {
      std::string why = raw_->last_error();
      return unavailable("tls: connection lost during the handshake: " +
                         (why.empty() ? "EOF" : why));
    }
    in_.append(buffer.data(), result.bytes);
  }
  auto kind = static_cast<Kind>(in_.front());
  auto fields = TRY(get_fields(ByteView(in_).substr(kFrameHeadBytes)));
  in_.clear();
  if (kind == Kind::kAlert) {
    return unavailable("remote error: tls: " + (fields.empty() ? "alert" : fields.front()));
  }
  TRY(on_frame(kind, fields));
  return true;
}

void Attempt::settle(Result<void> result) {
  auto self = shared_from_this();
  settled_ = true;
  raw_->interest(false, false);
  if (timer_ != 0) {
    loop_.cancel_timer(std::exchange(timer_, 0));
  }
  loop_.post([self, result = std::move(result)]() mutable {
    if (!result.ok()) {
      self->raw_.reset();
      self->handler_(std::move(result).error());
      return;
    }
    self->raw_->on_ready([](bool, bool) {});  // ours goes away before the next owner sets its own
    auto peer = std::make_shared<io::Peer>();
    peer->tls = true;
    peer->address = self->raw_->peer()->address;
    peer->spiffe_id = std::move(self->id_);
    set_chain(*peer, std::move(self->chain_));
    self->handler_(std::unique_ptr<io::Connection>(
        std::make_unique<FakeTlsConnection>(std::move(self->raw_), std::move(peer))));
  });
}

class ServerAttempt final : public Attempt {
 public:
  ServerAttempt(io::Loop& loop, std::unique_ptr<io::Connection> raw,
                std::shared_ptr<const ServerPolicy> policy,
                std::shared_ptr<const Identity> identity, SecureHandler handler)
      : Attempt(loop, std::move(raw), std::move(identity), std::move(handler)),
        policy_(std::move(policy)) {}

 private:
  void begin() override {}
  Result<void> on_frame(Kind kind, const std::vector<Bytes>& fields) override {
    if (kind == Kind::kHello && !greeted_) {
      greeted_ = true;
      return on_hello(fields);
    }
    if (kind == Kind::kCertificate && greeted_) {
      return on_certificate(fields);
    }
    return unavailable("tls: unexpected message");
  }

  Result<void> on_hello(const std::vector<Bytes>& offered) {
    std::vector<Bytes> reply = {"", policy_->verify_client ? "1" : "0"};
    if (!policy_->alpn.empty()) {
      auto chosen = std::ranges::find_if(policy_->alpn, [&](const std::string& name) {
        return std::ranges::find(offered, name) != offered.end();
      });
      if (chosen == policy_->alpn.end()) {
        return refuse_with("no application protocol",
                           unavailable("tls: client offered no application protocol of ours"));
      }
      reply.front() = *chosen;
    }
    reply.insert(reply.end(), identity_->chain.begin(), identity_->chain.end());
    send(Kind::kHello, reply);
    return {};
  }

  Result<void> on_certificate(const std::vector<Bytes>& chain) {
    if (!chain.empty() && policy_->verify_client) {
      TRY(judge(policy_->verify_client, chain));
    } else if (chain.empty() && policy_->require_client) {
      return refuse_with("certificate required",
                         unavailable("tls: peer did not return a certificate"));
    }
    send(Kind::kAccepted, {});
    accepted();
    return {};
  }

  const std::shared_ptr<const ServerPolicy> policy_;
  bool greeted_ = false;
};

class ClientAttempt final : public Attempt {
 public:
  ClientAttempt(io::Loop& loop, std::unique_ptr<io::Connection> raw,
                std::shared_ptr<const ClientPolicy> policy,
                std::shared_ptr<const Identity> identity, SecureHandler handler)
      : Attempt(loop, std::move(raw), std::move(identity), std::move(handler)),
        policy_(std::move(policy)) {}

 private:
  void begin() override { send(Kind::kHello, policy_->alpn); }
  Result<void> on_frame(Kind kind, const std::vector<Bytes>& fields) override {
    if (kind == Kind::kHello && fields.size() > 2) {
      return on_hello(fields);
    }
    if (kind == Kind::kAccepted && judged_) {
      accepted();
      return {};
    }
    return unavailable("tls: unexpected message");
  }

  Result<void> on_hello(const std::vector<Bytes>& fields) {
    if (!policy_->alpn.empty() &&
        std::ranges::find(policy_->alpn, fields.front()) == policy_->alpn.end()) {
      return unavailable("tls: peer selected no application protocol");
    }
    TRY(judge(policy_->verify_server, {fields.begin() + 2, fields.end()}));
    judged_ = true;
    bool asked = fields[1] == "1";
    send(Kind::kCertificate, asked && identity_ ? identity_->chain : std::vector<Bytes>());
    return {};
  }

  const std::shared_ptr<const ClientPolicy> policy_;
  bool judged_ = false;
};

Result<void> check_identity(const Identity& identity) {
  if (identity.chain.empty() || !identity.key) {
    return failed_precondition("own identity has no certificate or no key");
  }
  return {};
}

class FakeHandshake final : public Handshake {
 public:
  void accept(io::Loop& loop, std::unique_ptr<io::Connection> raw,
              std::shared_ptr<const ServerPolicy> policy, Duration timeout,
              SecureHandler handler) override {
    CHECK(loop.on_loop() && raw && policy);
    auto identity = policy->identity ? policy->identity() : nullptr;
    auto attempt = std::make_shared<ServerAttempt>(loop, std::move(raw), std::move(policy),
                                                   identity, std::move(handler));
    if (!identity) {
      attempt->refuse(unavailable("tls: there is no server identity yet"));
      return;
    }
    run(*attempt, check_identity(*identity), timeout);
  }

  void connect(io::Loop& loop, std::unique_ptr<io::Connection> raw,
               std::shared_ptr<const ClientPolicy> policy, Duration timeout,
               SecureHandler handler) override {
    CHECK(loop.on_loop() && raw && policy);
    auto identity = policy->identity ? policy->identity() : nullptr;
    Result<void> usable = identity ? check_identity(*identity) : Result<void>();
    if (usable.ok() && !policy->verify_server) {
      usable = invalid_argument("nothing verifies the server's certificate");
    }
    auto attempt = std::make_shared<ClientAttempt>(loop, std::move(raw), std::move(policy),
                                                   std::move(identity), std::move(handler));
    run(*attempt, std::move(usable), timeout);
  }

 private:
  static void run(Attempt& attempt, Result<void> usable, Duration timeout) {
    if (!usable.ok()) {
      attempt.refuse(std::move(usable).error());
      return;
    }
    attempt.start(timeout);
  }
};

}  // namespace

std::unique_ptr<Handshake> fake_handshake() { return std::make_unique<FakeHandshake>(); }

}  // namespace steeple::tls
