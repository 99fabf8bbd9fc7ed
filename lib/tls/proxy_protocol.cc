// SPDX-License-Identifier: Apache-2.0

#include "lib/tls/proxy_protocol.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "lib/base/check.h"

namespace steeple::tls {
namespace {

using Address = std::array<std::uint8_t, 16>;  // IPv4 as ::ffff:a.b.c.d

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Address mapped(ByteView four) {
  Address address{};
  std::ranges::copy(kMappedPrefix, address.begin());
  std::ranges::copy(as_u8(four.substr(0, 4)), address.begin() + 12);
  return address;
}

bool is_mapped(const Address& address) {
  return std::ranges::equal(kMappedPrefix, std::span(address).first<12>());
}

// Of the family's own form only: no names, no zone, no shorthand as "10.1".
std::optional<Address> parse_ip(std::string_view text, int family) {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (text.empty() || text.size() >= terminated.size()) {
    return std::nullopt;
  }
  std::ranges::copy(text, terminated.begin());
  if (family == AF_INET) {
    std::array<char, 4> four;
    if (::inet_pton(AF_INET, terminated.data(), four.data()) != 1) {
      return std::nullopt;
    }
    return mapped({four.data(), four.size()});
  }
  Address address;
  if (::inet_pton(AF_INET6, terminated.data(), address.data()) != 1) {
    return std::nullopt;
  }
  return address;
}

std::optional<Address> parse_any_ip(std::string_view text) {
  auto v4 = parse_ip(text, AF_INET);
  return v4 ? v4 : parse_ip(text, AF_INET6);
}

// "ip:port" or "[ip]:port"; a v4-mapped address reads as the IPv4 one it is.
std::string endpoint_text(const Address& address, unsigned port) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (is_mapped(address)) {
    ::inet_ntop(AF_INET, address.data() + 12, text.data(), text.size());
    return fmt::format("{}:{}", text.data(), port);
  }
  ::inet_ntop(AF_INET6, address.data(), text.data(), text.size());
  return fmt::format("[{}]:{}", text.data(), port);
}

std::optional<unsigned> parse_number(std::string_view text, unsigned max) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max ||
      (text.size() > 1 && text.front() == '0')) {
    return std::nullopt;
  }
  return value;
}

Error malformed(std::string_view what) {
  return invalid_argument(fmt::format("proxy protocol: {}", what));
}

// --- version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 5000 8081\r\n" ----------------------------------

constexpr std::string_view kLineStart = "PROXY ";

std::vector<std::string_view> split_at_spaces(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    auto space = text.find(' ');
    words.push_back(text.substr(0, space));
    if (space == std::string_view::npos || words.size() > 6) {
      return words;
    }
    text.remove_prefix(space + 1);
  }
}

// The shortest line that may follow from this beginning.
std::size_t shortest_line(ByteView so_far) {
  constexpr std::string_view kUnknown = "PROXY UNKNOWN\r\n";
  constexpr std::string_view kTcp4 = "PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n";
  constexpr std::string_view kTcp6 = "PROXY TCP6 :: :: 0 0\r\n";
  if (so_far.starts_with("PROXY TCP4 ")) {
    return kTcp4.size();
  }
  return so_far.starts_with("PROXY TCP6 ") ? kTcp6.size() : kUnknown.size();
}

Result<std::size_t> line_missing(ByteView so_far) {
  auto common = std::min(so_far.size(), kLineStart.size());
  if (so_far.substr(0, common) != kLineStart.substr(0, common)) {
    return malformed("the line does not begin with \"PROXY \"");
  }
  auto end = so_far.find('\n');
  if (end != ByteView::npos) {
    if (so_far[end - 1] != '\r' || end + 1 != so_far.size()) {
      return malformed("the line does not end with CR LF");
    }
    if (so_far.size() > kProxyLineBytesMax) {
      return malformed("the line is too long");
    }
    return 0;
  }
  std::size_t least = so_far.ends_with('\r') ? 1 : 2;
  std::size_t shortest = shortest_line(so_far);
  std::size_t missing = so_far.size() + least < shortest ? shortest - so_far.size() : least;
  if (so_far.size() + missing > kProxyLineBytesMax) {
    return malformed("the line is too long");
  }
  return missing;
}

Result<ProxyHeader> parse_line(ByteView header) {
  ProxyHeader out{header.size(), {}};
  auto words = split_at_spaces(header.substr(0, header.size() - 2));
  if (words.size() >= 2 && words[1] == "UNKNOWN") {
    return out;  // version 1, section 2.1: whatever follows is to be ignored
  }
  if (words.size() != 6 || (words[1] != "TCP4" && words[1] != "TCP6")) {
    return malformed("the line does not name two TCP endpoints");
  }
  int family = words[1] == "TCP4" ? AF_INET : AF_INET6;
  auto source = parse_ip(words[2], family);
  auto source_port = parse_number(words[4], 65'535);
  if (!source || !source_port || !parse_ip(words[3], family) || !parse_number(words[5], 65'535)) {
    return malformed("bad address or port");
  }
  out.client = endpoint_text(*source, *source_port);
  return out;
}

// --- version 2: binary --------------------------------------------------------------------------

constexpr ByteView kSignature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t kFixedBytes = 16;
constexpr std::size_t kTcp4Bytes = 12;
constexpr std::size_t kTcp6Bytes = 36;

unsigned byte_at(ByteView bytes, std::size_t at) { return static_cast<unsigned char>(bytes[at]); }
unsigned u16_at(ByteView bytes, std::size_t at) {
  return byte_at(bytes, at) << 8 | byte_at(bytes, at + 1);
}

Result<std::size_t> binary_missing(ByteView so_far) {
  auto common = std::min(so_far.size(), kSignature.size());
  if (so_far.substr(0, common) != kSignature.substr(0, common)) {
    return malformed("bad signature");
  }
  if (so_far.size() < kFixedBytes) {
    return kFixedBytes - so_far.size();
  }
  std::size_t whole = kFixedBytes + u16_at(so_far, 14);
  if (whole > kProxyHeaderBytesMax) {
    return malformed("the header is too long");
  }
  if (so_far.size() > whole) {
    return malformed("bytes after the header");
  }
  return whole - so_far.size();
}

Result<ProxyHeader> parse_binary(ByteView header) {
  ProxyHeader out{header.size(), {}};
  unsigned version = byte_at(header, 12) >> 4;
  unsigned command = byte_at(header, 12) & 0xf;
  if (version != 2 || command > 1) {
    return malformed("unknown version or command");
  }
  ByteView body = header.substr(kFixedBytes);
  if (command == 0) {
    return out;  // LOCAL: the proxy's own connection, e.g. a health check
  }
  switch (byte_at(header, 13)) {
    case 0x00:  // UNSPEC: the proxy does not know
      return out;
    case 0x11:
      if (body.size() < kTcp4Bytes) {
        return malformed("addresses are cut short");
      }
      out.client = endpoint_text(mapped(body), u16_at(body, 8));
      return out;
    case 0x21: {
      if (body.size() < kTcp6Bytes) {
        return malformed("addresses are cut short");
      }
      Address source;
      std::ranges::copy(as_u8(body.substr(0, 16)), source.begin());
      out.client = endpoint_text(source, u16_at(body, 32));
      return out;
    }
    default:
      return malformed("the address family or transport is not TCP over IP");
  }
}

}  // namespace

Result<std::size_t> proxy_header_missing(ByteView so_far) {
  if (so_far.empty()) {
    return 1;
  }
  if (so_far.front() == kLineStart.front()) {
    return line_missing(so_far);
  }
  if (so_far.front() == kSignature.front()) {
    return binary_missing(so_far);
  }
  return malformed("no header");
}

Result<ProxyHeader> parse_proxy_header(ByteView header) {
  if (TRY(proxy_header_missing(header)) != 0) {
    return malformed("the header is cut short");
  }
  return header.front() == kLineStart.front() ? parse_line(header) : parse_binary(header);
}

Result<TrustedNetworks> TrustedNetworks::parse(const std::vector<std::string>& cidrs) {
  TrustedNetworks out;
  for (const std::string& cidr : cidrs) {
    auto slash = cidr.find('/');
    std::string_view ip = std::string_view(cidr).substr(0, slash);
    auto v4 = parse_ip(ip, AF_INET);
    auto address = v4 ? v4 : parse_ip(ip, AF_INET6);
    unsigned bits_max = v4 ? 32 : 128;
    auto bits = slash == std::string::npos
                    ? std::optional(bits_max)
                    : parse_number(std::string_view(cidr).substr(slash + 1), bits_max);
    if (!address || !bits) {
      return invalid_argument(fmt::format("invalid CIDR address: {}", cidr));
    }
    out.networks_.push_back({*address, *bits + (v4 ? 96 : 0)});
  }
  return out;
}

bool TrustedNetworks::contains(std::string_view address) const {
  auto ip = parse_any_ip(address);
  if (!ip) {
    auto colon = address.rfind(':');
    if (colon == std::string_view::npos) {
      return false;
    }
    auto host = address.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
      host = host.substr(1, host.size() - 2);
    }
    ip = parse_any_ip(host);
  }
  return ip && std::ranges::any_of(networks_, [&](const Network& network) {
           for (unsigned bit = 0; bit < network.bits; bit += 8) {
             unsigned mask =
                 network.bits - bit >= 8 ? 0xff : 0xff00U >> (network.bits - bit) & 0xff;
             unsigned differing = (*ip)[bit / 8] ^ network.address[bit / 8];
             if ((differing & mask) != 0) {
               return false;
             }
           }
           return true;
         });
}

namespace {

// The raw connection with another peer, and perhaps a byte that was read too early before it.
class ProxiedConnection final : public io::Connection {
 public:
  ProxiedConnection(io::Loop& loop, std::unique_ptr<io::Connection> raw,
                    std::shared_ptr<const io::Peer> peer, Bytes unread)
      : loop_(loop), raw_(std::move(raw)), peer_(std::move(peer)), unread_(std::move(unread)) {}

  io::IoResult read(std::span<char> into) override {
    if (unread_.empty() || into.empty()) {
      return raw_->read(into);
    }
    auto count = std::min(into.size(), unread_.size());
    std::ranges::copy(ByteView(unread_).substr(0, count), into.begin());
    unread_.erase(0, count);
    return {io::IoStatus::kOk, count};
  }
  io::IoResult write(ByteView from) override { return raw_->write(from); }
  void on_ready(ReadyHandler handler) override {
    handler_ = std::make_shared<ReadyHandler>(std::move(handler));
    raw_->on_ready(*handler_);
    tell_unread();
  }
  void interest(bool readable, bool writable) override {
    raw_->interest(readable, writable);
    want_read_ = readable;
    tell_unread();
  }
  void shutdown_write() override { raw_->shutdown_write(); }
  std::shared_ptr<const io::Peer> peer() const override { return peer_; }
  std::string last_error() const override { return raw_->last_error(); }
  int fd() const override { return raw_->fd(); }

 private:
  // The socket's readiness does not show what we hold.
  void tell_unread() {
    if (!want_read_ || unread_.empty() || !handler_) {
      return;
    }
    loop_.post([this, handler = std::weak_ptr(handler_)] {
      auto run = handler.lock();
      if (run && want_read_ && !unread_.empty()) {
        (*run)(true, false);
      }
    });
  }

  io::Loop& loop_;
  std::unique_ptr<io::Connection> raw_;
  const std::shared_ptr<const io::Peer> peer_;
  Bytes unread_;
  std::shared_ptr<ReadyHandler> handler_;
  bool want_read_ = false;
};

// Owned by its timer in the loop, as a handshake is.
class HeaderRead final : public std::enable_shared_from_this<HeaderRead> {
 public:
  HeaderRead(io::Loop& loop, std::unique_ptr<io::Connection> raw, SecureHandler handler)
      : loop_(loop), raw_(std::move(raw)), handler_(std::move(handler)) {}

  void start(Duration timeout) {
    timer_ = loop_.start_timer(timeout, [self = shared_from_this(), timeout] {
      self->timer_ = 0;
      self->settle(deadline_exceeded(
          fmt::format("proxy protocol: no header after {}", format_go_duration(timeout))));
    });
    raw_->on_ready([this](bool, bool) { step(); });
    step();
  }

 private:
  void step() {
    auto self = shared_from_this();
    while (!settled_) {
      if (header_.size() == 1 && header_.front() != 'P' && header_.front() != '\r') {
        settle({});  // no header, which is allowed: the byte is the application's
        return;
      }
      auto missing = proxy_header_missing(header_);
      if (!missing.ok() || *missing == 0) {
        settle(missing.ok() ? Result<void>() : std::move(missing).error());
        return;
      }
      std::array<char, 256> buffer;
      auto result = raw_->read(std::span(buffer).first(std::min(*missing, buffer.size())));
      if (result.status == io::IoStatus::kWouldBlock) {
        raw_->interest(true, false);
        return;
      }
      if (result.status != io::IoStatus::kOk) {
        settle(unavailable("proxy protocol: connection lost before the header's end"));
        return;
      }
      header_.append(buffer.data(), result.bytes);
    }
  }

  void settle(Result<void> result) {
    settled_ = true;
    raw_->interest(false, false);
    if (timer_ != 0) {
      loop_.cancel_timer(std::exchange(timer_, 0));
    }
    loop_.post([self = shared_from_this(), result = std::move(result)]() mutable {
      self->handler_(result.ok() ? self->proxied() : std::move(result).error());
    });
  }

  Result<std::unique_ptr<io::Connection>> proxied() {
    raw_->on_ready([](bool, bool) {});  // ours goes away before the next owner sets its own
    auto told = raw_->peer();
    if (header_.size() == 1) {
      return std::unique_ptr<io::Connection>(std::make_unique<ProxiedConnection>(
          loop_, std::move(raw_), std::move(told), std::move(header_)));
    }
    auto header = TRY(parse_proxy_header(header_));
    if (header.client.empty()) {
      return std::move(raw_);
    }
    auto peer = std::make_shared<io::Peer>();
    peer->address = std::move(header.client);
    return std::unique_ptr<io::Connection>(
        std::make_unique<ProxiedConnection>(loop_, std::move(raw_), std::move(peer), Bytes()));
  }

  io::Loop& loop_;
  std::unique_ptr<io::Connection> raw_;
  SecureHandler handler_;
  Bytes header_;
  std::uint64_t timer_ = 0;
  bool settled_ = false;
};

}  // namespace

void read_proxy_header(io::Loop& loop, std::unique_ptr<io::Connection> raw,
                       const TrustedNetworks& trusted, Duration timeout, SecureHandler handler) {
  CHECK(loop.on_loop() && raw);
  if (!trusted.contains(raw->peer()->address)) {
    loop.post([raw = std::move(raw), handler = std::move(handler)]() mutable {
      handler(std::move(raw));
    });
    return;
  }
  std::make_shared<HeaderRead>(loop, std::move(raw), std::move(handler))->start(timeout);
}

}  // namespace steeple::tls
