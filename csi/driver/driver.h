// SPDX-License-Identifier: Apache-2.0

// The CSI driver: the kubelet's socket, its registration, and the watch over the volumes. Lives on
// one loop; everything that touches mounts runs on `workers`, which must be a single thread, so
// that no two of them overlap.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "csi/driver/services.h"
#include "csi/driver/volumes.h"
#include "lib/base/random.h"
#include "lib/http/server.h"
#include "lib/io/loop.h"
#include "lib/io/network.h"
#include "lib/io/workers.h"
#include "lib/rpc/server.h"

namespace steeple::csi {

// How often the volumes are looked at when nothing tells of a change.
inline constexpr auto kMendInterval = std::chrono::seconds(5);

struct DriverOptions {
  std::string node_id;
  std::string plugin_name = "csi.spiffe.io";
  std::string csi_socket_path = "/spiffe-csi/csi.sock";
  std::string workload_api_socket_dir;
  // Both or none: the driver makes itself known to the kubelet, without a registrar beside it.
  std::string kubelet_registration_path;   // our CSI socket as the kubelet sees it
  std::string plugin_registration_socket;  // our socket in the folder that the kubelet watches
  int health_port = 0;                     // 0: none
  // How long to go on after being asked to stop while volumes are left: pods that end together with
  // the driver (an uninstall) could never be unmounted without it.
  Duration shutdown_delay = Duration::zero();
};
// The reference's words for what is missing.
Result<void> check_options(const DriverOptions& options);

class Driver {
 public:
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    io::Network& network;
    Random& random;
    Mounts& mounts;
    Logger log;
  };
  // Stopped as asked, or why the driver cannot go on. Once, on the loop.
  using Ended = std::move_only_function<void(Result<void>)>;

  Driver(DriverOptions options, Deps deps, Ended ended);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Mends the volumes of before, then listens. An error: nothing serves.
  Result<void> start();
  // Waits for the volumes as configured, then lets running calls end.
  void stop();
  // Something happened to the socket directory: look now.
  void source_changed();
  // The directory is there and, where we register ourselves, the kubelet has not refused us.
  bool healthy() const;

 private:
  struct Core;  // shared with what runs on the worker
  Result<std::unique_ptr<io::Listener>> listen(rpc::Server& server, const std::string& path);
  Result<void> start_health();
  void mend_later();
  void mend();
  void on_mended(Result<Volumes::Health> found);
  void on_registration(Result<void> status);
  void wait_for_volumes();
  void close();
  void end(Result<void> why);

  const DriverOptions options_;
  const Deps deps_;
  Ended ended_;
  std::shared_ptr<Core> core_;
  std::unique_ptr<rpc::Server> csi_, registration_;
  std::unique_ptr<http::Server> health_;
  std::unique_ptr<io::Listener> csi_listener_, registration_listener_;
  io::Timer mend_timer_;
  Volumes::Health found_;
  bool looked_ = false;
  bool mending_ = false;
  bool mend_again_ = false;
  bool source_was_alive_ = false;
  int rounds_deleted_ = 0;
  bool refused_ = false;  // by the kubelet
  bool stopping_ = false;
  SteadyTime stop_by_{};
};

}  // namespace steeple::csi
