// SPDX-License-Identifier: Apache-2.0

// Listening sockets: the socket file and its folder, accepting, and what to do when descriptors run
// out.

#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "lib/io/directory.h"
#include "lib/io/peer_process.h"
#include "lib/io/socket_connection.h"

namespace steeple::io {
namespace {

constexpr int kBacklog = 4096;
constexpr int kAcceptsPerTurn = 64;  // then the loop's other work gets its turn
// Without a free descriptor the listener would spin on a readable socket.
constexpr auto kAcceptPause = std::chrono::milliseconds(50);

// The inode, so that a socket file that somebody else has put in place since is left alone.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};

std::optional<FileIdentity> identify(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    return std::nullopt;
  }
  return FileIdentity{info.st_dev, info.st_ino};
}

class SocketListener final : public Listener {
 public:
  SocketListener(AsioLoop& loop, FileDescriptor socket, Endpoint at, bool foreign_processes,
                 AcceptHandler on_accept)
      : loop_(loop),
        at_(std::move(at)),
        foreign_processes_(foreign_processes),
        on_accept_(std::move(on_accept)),
        socket_(std::move(socket)),
        watch_(loop.watch(socket_.get())),
        pause_(loop) {
    if (!at_.unix_path.empty()) {
      file_ = identify(at_.unix_path);
    }
    watch_->on_ready([this](bool, bool) { accept_some(); });
    watch_->interest(true, false);
  }

  ~SocketListener() override {
    *alive_ = false;
    if (file_ && identify(at_.unix_path) == file_) {
      ::unlink(at_.unix_path.c_str());
    }
  }

  Endpoint endpoint() const override { return at_; }

 private:
  void accept_some() {
    std::shared_ptr<bool> alive = alive_;  // the handler may destroy this listener
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      SocketAddress from;
      from.length = sizeof from.storage;
      FileDescriptor socket(
          ::accept4(socket_.get(), from.raw(), &from.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!socket.valid()) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
          watch_->interest(false, false);
          pause_.start(kAcceptPause, [this] { watch_->interest(true, false); });
        }
        if (errno == ECONNABORTED || errno == EINTR) {
          continue;
        }
        return;
      }
      std::shared_ptr<const Peer> peer = peer_of(socket.get(), from);
      if (peer) {
        on_accept_(std::make_unique<SocketConnection>(loop_, std::move(socket), std::move(peer)));
        if (!*alive) {
          return;
        }
      }
    }
  }

  // Null when the peer cannot be named: the connection is then closed unserved.
  std::shared_ptr<const Peer> peer_of(int fd, const SocketAddress& from) {
    auto peer = std::make_shared<Peer>();
    if (at_.unix_path.empty()) {
      set_no_delay(fd);
      peer->address = from.text();
      return peer;
    }
    Result<PeerProcess> process = peer_process(fd);
    if (!process.ok() && foreign_processes_) {
      process = peer_account(fd);
    }
    if (!process.ok()) {
      return nullptr;
    }
    peer->process = std::move(*process);
    return peer;
  }

  AsioLoop& loop_;
  const Endpoint at_;
  const bool foreign_processes_;
  const AcceptHandler on_accept_;
  FileDescriptor socket_;
  std::unique_ptr<FdWatch> watch_;
  Timer pause_;
  std::optional<FileIdentity> file_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Removes a socket file that nobody listens on.
Result<void> clear_stale_socket(const std::string& path, const SocketAddress& address) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    return {};
  }
  if (!S_ISSOCK(info.st_mode)) {
    return already_exists(fmt::format("listen unix {}: the path exists and is no socket", path));
  }
  FileDescriptor probe = TRY(open_socket(AF_UNIX));
  if (::connect(probe.get(), address.raw(), address.length) == 0 || errno == EAGAIN) {
    return errno_error(EADDRINUSE, fmt::format("listen unix {}: bind", path));
  }
  if (errno != ECONNREFUSED && errno != ENOENT) {
    return errno_error(errno, fmt::format("listen unix {}", path));
  }
  ::unlink(path.c_str());
  return {};
}

Result<FileDescriptor> bind_unix(const std::string& path, const ListenOptions& options) {
  SocketAddress address = TRY(unix_address(path));
  std::size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0) {
    TRY(make_directories(path.substr(0, slash), options.directory_mode));
  }
  TRY(clear_stale_socket(path, address));
  FileDescriptor socket = TRY(open_socket(AF_UNIX));
  // The mode of the unbound socket bounds that of the file, so it is never wider than asked for.
  ::fchmod(socket.get(), options.socket_mode);
  if (::bind(socket.get(), address.raw(), address.length) != 0 ||
      ::chmod(path.c_str(), options.socket_mode) != 0 || ::listen(socket.get(), kBacklog) != 0) {
    return errno_error(errno, fmt::format("listen unix {}: bind", path));
  }
  return socket;
}

Result<FileDescriptor> bind_tcp(const Endpoint& at, std::uint16_t& port) {
  std::vector<SocketAddress> addresses;
  Result<std::vector<SocketAddress>> numeric = resolve(at.host, at.port, true, true);
  if (numeric.ok()) {
    addresses = std::move(numeric).take();
  } else {
    // A name is looked up here and now: listening happens at start-up.
    addresses = TRY(resolve(at.host, at.port, false, true));
  }
  // With no host given, one IPv6 socket takes both families where the kernel has IPv6.
  std::stable_sort(addresses.begin(), addresses.end(), [&](const auto& a, const auto& b) {
    return at.host.empty() && a.family() == AF_INET6 && b.family() != AF_INET6;
  });
  Result<FileDescriptor> last = internal("no address");
  for (SocketAddress& address : addresses) {
    last = open_socket(address.family());
    if (!last.ok()) {
      continue;
    }
    int on = 1;
    int off = 0;
    ::setsockopt(last->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.family() == AF_INET6) {
      ::setsockopt(last->get(), IPPROTO_IPV6, IPV6_V6ONLY, at.host.empty() ? &off : &on, sizeof on);
    }
    if (::bind(last->get(), address.raw(), address.length) == 0 &&
        ::listen(last->get(), kBacklog) == 0) {
      SocketAddress bound;
      bound.length = sizeof bound.storage;
      ::getsockname(last->get(), bound.raw(), &bound.length);
      port = bound.port();
      return last;
    }
    last = errno_error(errno, fmt::format("listen tcp {}: bind", address.text()));
  }
  return last;
}

}  // namespace

Result<std::unique_ptr<Listener>> listen_on(AsioLoop& loop, const Endpoint& at,
                                            const ListenOptions& options, AcceptHandler on_accept) {
  Endpoint bound = at;
  FileDescriptor socket =
      at.unix_path.empty() ? TRY(bind_tcp(at, bound.port)) : TRY(bind_unix(at.unix_path, options));
  return std::unique_ptr<Listener>(std::make_unique<SocketListener>(
      loop, std::move(socket), std::move(bound), options.foreign_processes, std::move(on_accept)));
}

}  // namespace steeple::io
