// SPDX-License-Identifier: Apache-2.0

// Goal: PROXY headers are believed from trusted networks only and read to the byte. Method: headers
// by hand from the specification (versions 1 and 2), the reader over real sockets, also one byte at
// a time, and under a real TLS handshake.

#include "lib/tls/proxy_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/tls/fake_pki.h"
#include "lib/tls/fake_wire.h"
#include "lib/tls/spiffe_policy.h"

namespace steeple::tls {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Bytes v2(char command, char family, ByteView body) {
  Bytes out("\r\n\r\n\0\r\nQUIT\n", 12);
  out += command;
  out += family;
  out += static_cast<char>(body.size() >> 8);
  out += static_cast<char>(body.size() & 0xff);
  out += body;
  return out;
}
const Bytes kTcp4Body("\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x1f\x91", 12);
const Bytes kTcp6Body = Bytes("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16) + Bytes(16, '\1') +
                        Bytes("\x13\x88\x1f\x91", 4);

std::string client_of(ByteView header) {
  auto parsed = parse_proxy_header(header);
  return parsed.ok() ? "client " + parsed->client : parsed.error().message;
}

TEST(ProxyHeader, Version1NamesTheClient) {
  EXPECT_EQ(client_of("PROXY TCP4 192.0.2.1 192.0.2.2 5000 8081\r\n"), "client 192.0.2.1:5000");
  EXPECT_EQ(client_of("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"), "client [2001:db8::1]:65535");
  EXPECT_EQ(client_of("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1\r\n"), "client 192.0.2.1:1");
  EXPECT_EQ(client_of("PROXY UNKNOWN\r\n"), "client ");
  EXPECT_EQ(client_of("PROXY UNKNOWN whatever there is\r\n"), "client ");
}

TEST(ProxyHeader, Version1IsStrict) {
  for (const char* line : {
           "PROXY TCP4 192.0.2.1 192.0.2.2 5000 8081\n",
           "PROXY  TCP4 192.0.2.1 192.0.2.2 5000 8081\r\n",
           "PROXY TCP4  192.0.2.1 192.0.2.2 5000 8081\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 5000 8081 \r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 5000\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 5000 65536\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 05000 8081\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 +5000 8081\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 -1 8081\r\n",
           "PROXY TCP4 192.0.2 192.0.2.2 5000 8081\r\n",
           "PROXY TCP4 192.0.2.256 192.0.2.2 5000 8081\r\n",
           "PROXY TCP4 ::1 ::1 5000 8081\r\n",
           "PROXY TCP6 192.0.2.1 ::1 5000 8081\r\n",
           "PROXY TCP6 fe80::1%eth0 ::1 5000 8081\r\n",
           "PROXY TCP4 host.example 192.0.2.2 5000 8081\r\n",
           "PROXY UDP4 192.0.2.1 192.0.2.2 5000 8081\r\n",
           "PROXY UNKNOWNS\r\n",
           "PROXYjunk TCP4 192.0.2.1 192.0.2.2 5000 8081\r\n",
           "proxy TCP4 192.0.2.1 192.0.2.2 5000 8081\r\n",
           "GET / HTTP/1.1\r\n",
           "",
       }) {
    EXPECT_FALSE(parse_proxy_header(line).ok()) << line;
  }
  EXPECT_FALSE(parse_proxy_header("PROXY UNKNOWN " + Bytes(100, 'x') + "\r\n").ok());
  EXPECT_FALSE(parse_proxy_header("PROXY UNKNOWN\r\n\x16").ok()) << "bytes after it";
}

TEST(ProxyHeader, Version2NamesTheClient) {
  EXPECT_EQ(client_of(v2('\x21', '\x11', kTcp4Body)), "client 192.0.2.1:5000");
  EXPECT_EQ(client_of(v2('\x21', '\x21', kTcp6Body)), "client [2001:db8::1]:5000");
  EXPECT_EQ(client_of(v2('\x21', '\x11', kTcp4Body + Bytes(300, '\3'))), "client 192.0.2.1:5000")
      << "type-length-values are passed over";
  EXPECT_EQ(client_of(v2('\x20', '\x00', "")), "client ") << "LOCAL";
  EXPECT_EQ(client_of(v2('\x20', '\x11', kTcp4Body)), "client ") << "LOCAL";
  EXPECT_EQ(client_of(v2('\x21', '\x00', "")), "client ") << "UNSPEC";
}

TEST(ProxyHeader, Version2IsStrict) {
  EXPECT_FALSE(parse_proxy_header(v2('\x21', '\x11', kTcp4Body.substr(1))).ok());
  EXPECT_FALSE(parse_proxy_header(v2('\x21', '\x21', kTcp6Body.substr(1))).ok());
  EXPECT_FALSE(parse_proxy_header(v2('\x11', '\x11', kTcp4Body)).ok()) << "version 1";
  EXPECT_FALSE(parse_proxy_header(v2('\x22', '\x11', kTcp4Body)).ok()) << "unknown command";
  EXPECT_FALSE(parse_proxy_header(v2('\x21', '\x12', kTcp4Body)).ok()) << "UDP";
  EXPECT_FALSE(parse_proxy_header(v2('\x21', '\x31', Bytes(216, 'x'))).ok()) << "Unix";
  EXPECT_FALSE(parse_proxy_header(v2('\x21', '\x11', Bytes(kProxyHeaderBytesMax, 'x'))).ok());
  auto cut = v2('\x21', '\x11', kTcp4Body);
  for (std::size_t size = 0; size < cut.size(); ++size) {
    EXPECT_FALSE(parse_proxy_header(ByteView(cut).substr(0, size)).ok());
  }
  cut[3] = 'x';
  EXPECT_FALSE(proxy_header_missing(cut).ok());
}

TEST(ProxyHeader, NeverMoreIsAskedForThanTheHeaderHas) {
  for (const Bytes& header :
       {Bytes("PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n"), Bytes("PROXY TCP6 :: :: 0 0\r\n"),
        Bytes("PROXY UNKNOWN\r\n"), Bytes("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"),
        v2('\x21', '\x11', kTcp4Body), v2('\x20', '\x00', "")}) {
    for (std::size_t size = 0; size < header.size(); ++size) {
      std::size_t missing = proxy_header_missing(ByteView(header).substr(0, size)).take();
      EXPECT_GT(missing, 0U);
      EXPECT_LE(size + missing, header.size()) << header;
    }
    EXPECT_EQ(proxy_header_missing(header).take(), 0U);
  }
}

TEST(TrustedNetworks, ContainWhatTheirPrefixSays) {
  auto networks = TrustedNetworks::parse({"10.0.0.0/8", "192.0.2.7", "2001:db8::/33"}).take();
  for (const char* inside : {"10.255.0.1:99", "10.0.0.0", "192.0.2.7:1", "[2001:db8:7fff::1]:443",
                             "2001:db8::", "[::ffff:10.1.2.3]:80"}) {
    EXPECT_TRUE(networks.contains(inside)) << inside;
  }
  for (const char* outside : {"11.0.0.1:99", "9.255.255.255", "192.0.2.6:1", "192.0.2.8",
                              "[2001:db8:8000::1]:443", "", "host:1", ":1", "[10.0.0.1:1", "::1"}) {
    EXPECT_FALSE(networks.contains(outside)) << outside;
  }
  EXPECT_TRUE(TrustedNetworks::parse({"0.0.0.0/0"}).take().contains("203.0.113.9:1"));
  EXPECT_FALSE(TrustedNetworks::parse({"0.0.0.0/0"}).take().contains("[2001:db8::1]:1"));
  EXPECT_FALSE(TrustedNetworks().contains("10.0.0.1:1"));
}

TEST(TrustedNetworks, BadConfigurationIsRefused) {
  for (const char* bad : {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "x", "10.0.0.0/8/8",
                          "10.0.0.0/-1", "10.0.0.0/08"}) {
    EXPECT_EQ(TrustedNetworks::parse({bad}).error().message,
              std::string("invalid CIDR address: ") + bad);
  }
}

class ProxyReader : public testing::Test {
 protected:
  // The server side is at 192.0.2.1:5000 for the reader.
  void read(std::string cidr, Duration timeout = 10s) {
    auto [client, server] = wire_.pair();
    client_.emplace(std::move(client));
    read_proxy_header(wire_.loop(), std::move(server), TrustedNetworks::parse({cidr}).take(),
                      timeout, [this](auto result) { outcome_.emplace(std::move(result)); });
  }
  bool settled() {
    return wire_.until([this] { return outcome_.has_value(); });
  }

  FakeWire wire_;
  std::optional<FakeEndpoint> client_;
  std::optional<Result<std::unique_ptr<io::Connection>>> outcome_;
};

TEST_F(ProxyReader, ATrustedProxyNamesTheClientAndNothingElseIsTaken) {
  for (const Bytes& header : {Bytes("PROXY TCP4 203.0.113.9 192.0.2.2 77 8081\r\n"),
                              v2('\x21', '\x11', Bytes("\xcb\0\x71\x09\1\1\1\1\0\x4d\0\1", 12))}) {
    outcome_.reset();
    read("192.0.2.0/24");
    client_->send(header + "application");
    ASSERT_TRUE(settled());
    ASSERT_TRUE(outcome_->ok()) << outcome_->error().message;
    FakeEndpoint server(std::move(*outcome_).take());
    EXPECT_EQ(server.connection().peer()->address, "203.0.113.9:77");
    EXPECT_TRUE(wire_.until([&] { return server.received() == "application"; }));
  }
}

TEST_F(ProxyReader, AHeaderMayComeByteByByte) {
  read("192.0.2.0/24");
  for (char byte : Bytes("PROXY TCP4 203.0.113.9 192.0.2.2 77 8081\r\n")) {
    ASSERT_FALSE(outcome_.has_value());
    client_->send(Bytes(1, byte));
    int turns = 0;
    ASSERT_TRUE(wire_.until([&] { return ++turns >= 2; }));
  }
  ASSERT_TRUE(settled());
  EXPECT_EQ(outcome_->value()->peer()->address, "203.0.113.9:77");
}

TEST_F(ProxyReader, ATrustedPeerNeedsNoHeader) {
  read("192.0.2.0/24");
  client_->send(
      "\x16"
      "client hello");
  ASSERT_TRUE(settled());
  FakeEndpoint server(std::move(*outcome_).take());
  EXPECT_EQ(server.connection().peer()->address, "192.0.2.1:5000");
  EXPECT_TRUE(wire_.until([&] {
    return server.received() ==
           "\x16"
           "client hello";
  }));
}

TEST_F(ProxyReader, ASingleByteThatWasReadTooEarlyIsStillTold) {
  read("192.0.2.0/24");
  client_->send("\x16");
  ASSERT_TRUE(settled());
  FakeEndpoint server(std::move(*outcome_).take());
  EXPECT_TRUE(wire_.until([&] { return server.received() == "\x16"; }));
}

TEST_F(ProxyReader, AStrangersHeaderIsLeftForTheHandshakeToFailOn) {
  read("10.0.0.0/8");
  Bytes header = "PROXY TCP4 203.0.113.9 192.0.2.2 77 8081\r\n";
  client_->send(header);
  ASSERT_TRUE(settled());
  FakeEndpoint server(std::move(*outcome_).take());
  EXPECT_EQ(server.connection().peer()->address, "192.0.2.1:5000");
  EXPECT_TRUE(wire_.until([&] { return server.received() == header; }));
}

TEST_F(ProxyReader, LocalConnectionsOfTheProxyKeepItsAddress) {
  read("192.0.2.0/24");
  client_->send(v2('\x20', '\x00', ""));
  ASSERT_TRUE(settled());
  EXPECT_EQ(outcome_->value()->peer()->address, "192.0.2.1:5000");
}

TEST_F(ProxyReader, AMalformedHeaderClosesTheConnection) {
  read("192.0.2.0/24");
  client_->send("PROXY TCP4 nonsense\r\n plus more than enough bytes for any line");
  ASSERT_TRUE(settled());
  EXPECT_THAT(outcome_->error().message, HasSubstr("proxy protocol: "));
  EXPECT_TRUE(wire_.until([&] { return client_->ended(); }));
}

TEST_F(ProxyReader, ASilentProxyIsCutByTheTimeout) {
  read("192.0.2.0/24", 20ms);
  client_->send("PROXY ");
  ASSERT_TRUE(settled());
  EXPECT_EQ(outcome_->error().code, Code::kDeadlineExceeded);
}

TEST_F(ProxyReader, TlsRunsBehindIt) {
  FakeClock clock;
  FakeAuthority authority("example.org", clock);
  auto bundles =
      std::make_shared<Watch<BundleSet>>(BundleSet{{authority.domain(), authority.bundle()}});
  auto server_policy = std::make_shared<ServerPolicy>();
  auto identity = authority.identity("/spire/server");
  server_policy->identity = [&] { return identity; };
  auto client_policy = std::make_shared<ClientPolicy>();
  client_policy->verify_server =
      verify_spire_server(authority.domain(), authorities_from(bundles), clock);
  for (bool with_header : {true, false}) {
    auto handshake = openssl_handshake();
    auto [client, server] = wire_.pair();
    if (with_header) {
      ASSERT_EQ(client->write("PROXY TCP4 203.0.113.9 192.0.2.2 77 8081\r\n").status,
                io::IoStatus::kOk);
    }
    std::unique_ptr<io::Connection> accepted, connected;
    read_proxy_header(wire_.loop(), std::move(server),
                      TrustedNetworks::parse({"192.0.2.0/24"}).take(), 10s, [&](auto raw) {
                        handshake->accept(
                            wire_.loop(), std::move(raw).take(), server_policy, 10s,
                            [&](auto secure) { accepted = std::move(secure).take(); });
                      });
    handshake->connect(wire_.loop(), std::move(client), client_policy, 10s,
                       [&](auto secure) { connected = std::move(secure).take(); });
    ASSERT_TRUE(wire_.until([&] { return accepted && connected; }));
    EXPECT_EQ(accepted->peer()->address, with_header ? "203.0.113.9:77" : "192.0.2.1:5000");
    FakeEndpoint client_end(std::move(connected)), server_end(std::move(accepted));
    client_end.send("through");
    EXPECT_TRUE(wire_.until([&] { return server_end.received() == "through"; }));
  }
}

}  // namespace
}  // namespace steeple::tls
