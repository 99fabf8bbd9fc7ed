// SPDX-License-Identifier: Apache-2.0

// The TLS seam: turns a raw connection into one whose peer is verified. Policy is a delegate that
// may only refuse more, mechanism is fixed here: TLS >= 1.2, ALPN h2, no tickets, no resumption, no
// renegotiation, the peer verified inside the handshake (so an expired certificate gets the alert).
// Identities and trust are asked for at each handshake, so rotation needs no restart.
//
// The real handshake is OpenSSL on the connection (openssl_handshake.cc). The simulated twin
// exchanges the chains in clear over the connection and calls the same policies.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/crypto/private_key.h"
#include "lib/io/connection.h"
#include "lib/io/loop.h"

namespace steeple::tls {

struct Identity {
  std::vector<Bytes> chain;  // DER, leaf first
  std::shared_ptr<const crypto::PrivateKey> key;
};

// Decides on a presented chain; runs inside the handshake, on the loop, and must not block.
// The id goes into Peer::spiffe_id. The error's text goes to the log, the alert follows its
// x509::Refusal. Policies for SPIFFE: spiffe_policy.h.
using VerifyPeer =
    std::function<Result<std::optional<spiffe::SpiffeId>>(const std::vector<Bytes>& chain)>;

struct ServerPolicy {
  // Null while there is no identity yet: the handshake is then refused.
  std::function<std::shared_ptr<const Identity>()> identity;
  // Called only when the client presents a chain. Empty function: clients are not asked for one.
  VerifyPeer verify_client;
  bool require_client = false;  // a client without a certificate is refused
  std::vector<std::string> alpn = {"h2"};
};

struct ClientPolicy {
  // Null or empty function: connect without a client certificate.
  std::function<std::shared_ptr<const Identity>()> identity;
  VerifyPeer verify_server;  // required
  std::string server_name;   // SNI, may be empty
  std::vector<std::string> alpn = {"h2"};
};

using SecureHandler = std::move_only_function<void(Result<std::unique_ptr<io::Connection>>)>;

class Handshake {
 public:
  virtual ~Handshake() = default;
  // On the connection's loop; the handler runs on it, once, also on timeout.
  virtual void accept(io::Loop& loop, std::unique_ptr<io::Connection> raw,
                      std::shared_ptr<const ServerPolicy> policy, Duration timeout,
                      SecureHandler handler) = 0;
  virtual void connect(io::Loop& loop, std::unique_ptr<io::Connection> raw,
                       std::shared_ptr<const ClientPolicy> policy, Duration timeout,
                       SecureHandler handler) = 0;
};

std::unique_ptr<Handshake> openssl_handshake();

}  // namespace steeple::tls
