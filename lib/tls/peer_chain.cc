// SPDX-License-Identifier: Apache-2.0

#include "lib/tls/peer_chain.h"

#include <utility>

#include "lib/x509/certificate.h"

namespace steeple::tls {

void set_chain(io::Peer& peer, std::vector<Bytes> chain) {
  peer.chain = std::move(chain);
  if (peer.chain.empty()) {
    return;
  }
  auto leaf = x509::Certificate::parse(peer.chain.front());
  if (leaf.ok()) {
    peer.leaf_serial = (*leaf)->serial_decimal();
    peer.leaf_not_after = (*leaf)->not_after();
  }
}

}  // namespace steeple::tls
