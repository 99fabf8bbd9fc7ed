// SPDX-License-Identifier: Apache-2.0

// A non-blocking byte stream with the identity of its peer. The identity is a fact of the
// connection object (kernel credentials taken at accept, or the certificate verified in the
// handshake), never a string looked up later. Objects live on one loop.

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/io/file_descriptor.h"
#include "spiffe/spiffe_id.h"

namespace steeple::io {

// Of the process that called connect(2), as the kernel recorded it.
struct PeerProcess {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  // Pins the process against pid reuse: readable once the process has exited. Invalid on kernels
  // without SO_PEERPIDFD, where `start_time` (clock ticks since boot, /proc/<pid>/stat field 22)
  // is compared instead.
  FileDescriptor pidfd;
  std::uint64_t start_time = 0;
};

struct Peer {
  // Set for Unix sockets only.
  std::optional<PeerProcess> process;
  // Set when the peer's certificate chain was verified in the handshake.
  std::optional<spiffe::SpiffeId> spiffe_id;
  std::vector<Bytes> chain;  // DER, leaf first, as presented and verified
  // Of the verified leaf, read once: each call of the connection is judged by them.
  std::string leaf_serial;  // decimal; empty without a chain
  WallTime leaf_not_after{};
  std::string address;  // "ip:port" for TCP, after a trusted PROXY header; empty for Unix
  bool tls = false;
};

enum class IoStatus : std::uint8_t { kOk, kWouldBlock, kEof, kError };
struct IoResult {
  IoStatus status;
  std::size_t bytes = 0;  // for kOk, > 0
};

class Connection {
 public:
  // (readable, writable); an error or hang-up is told as readable.
  using ReadyHandler = std::function<void(bool readable, bool writable)>;

  virtual ~Connection() = default;  // closes; no handler runs afterwards
  virtual IoResult read(std::span<char> into) = 0;
  virtual IoResult write(ByteView from) = 0;
  // One handler; level triggered towards `interest`. It may destroy the connection or replace
  // itself.
  virtual void on_ready(ReadyHandler handler) = 0;
  virtual void interest(bool readable, bool writable) = 0;
  // No more writes; the peer reads EOF (TLS: after close_notify).
  virtual void shutdown_write() = 0;
  // Shared and immutable, so that calls may outlive the connection on other threads.
  virtual std::shared_ptr<const Peer> peer() const = 0;
  // Why the last kError happened, for logs.
  virtual std::string last_error() const = 0;
  // The socket, for TLS on top of it; -1 for a simulated connection.
  virtual int fd() const = 0;
};

}  // namespace steeple::io
