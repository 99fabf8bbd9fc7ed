// SPDX-License-Identifier: Apache-2.0

// The PROXY protocol, versions 1 and 2 (`proxy_protocol_trusted_cidrs`): a load balancer tells the
// address of the client before the first TLS byte. Read strictly, with limits, and only from
// addresses in the trusted networks; there the header is optional, as in the reference. From
// anybody else the bytes are left alone, so that a forged header fails the TLS handshake.
//
// Threads: TrustedNetworks and the parser are const; a read runs on the connection's loop.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/io/connection.h"
#include "lib/io/loop.h"
#include "lib/tls/handshake.h"

namespace steeple::tls {

// "PROXY TCP6 ..." is at most 107 bytes with its CRLF (version 1, section 2.1).
inline constexpr std::size_t kProxyLineBytesMax = 107;
// Version 2 allows 65,535 bytes of TLVs after the addresses; we take no more than this.
inline constexpr std::size_t kProxyHeaderBytesMax = 2048;

class TrustedNetworks {
 public:
  // "10.0.0.0/8", "2001:db8::/32", or a single address.
  static Result<TrustedNetworks> parse(const std::vector<std::string>& cidrs);
  // `address` as in Peer::address ("ip:port", "[ip6]:port") or a bare address. False for anything
  // else. A v4-mapped IPv6 address counts as its IPv4 one.
  bool contains(std::string_view address) const;
  bool empty() const { return networks_.empty(); }

 private:
  struct Network {
    std::array<std::uint8_t, 16> address;
    unsigned bits = 0;  // of the 128; an IPv4 network counts its 96 of prefix
  };
  std::vector<Network> networks_;
};

struct ProxyHeader {
  std::size_t bytes = 0;  // length of the header on the wire
  // "ip:port" of the client; empty when the proxy speaks for itself (LOCAL, UNKNOWN).
  std::string client;
};

// How many more bytes the header certainly has, for readers that must not read past its end: call
// with what was read so far until it returns 0. An error as soon as the bytes cannot be a header.
Result<std::size_t> proxy_header_missing(ByteView so_far);
// Of a whole header, and nothing after it.
Result<ProxyHeader> parse_proxy_header(ByteView header);

// Reads the header if there is one and hands on a connection whose Peer::address is the client's.
// On the loop; the handler runs on it, once. A connection from outside `trusted` is handed on
// unread and unchanged.
void read_proxy_header(io::Loop& loop, std::unique_ptr<io::Connection> raw,
                       const TrustedNetworks& trusted, Duration timeout, SecureHandler handler);

}  // namespace steeple::tls
