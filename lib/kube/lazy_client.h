// SPDX-License-Identifier: Apache-2.0

// An API client that is made when first needed, so that a program starts although a cluster cannot
// be reached or a kubeconfig is not there yet. A kubeconfig whose text has changed makes a new
// client; it is looked at when somebody asks, at most once in kFileAgeMax. `get` and destruction on
// any thread; clients given out are used as client.h says and let go of on any thread.

#pragma once

#include <memory>
#include <string>

#include "lib/base/guarded.h"
#include "lib/kube/client.h"

namespace steeple::kube {

struct LazyClientDeps {
  io::Loop& loop;
  Transport* transport = nullptr;  // null: no network here (simulations); `get` says so
  Environment environment = {};
  ClientOptions options = {};
};

class LazyClient {
 public:
  // `kubeconfig` empty: the service account of the pod that we are in.
  LazyClient(std::string kubeconfig, LazyClientDeps deps);
  LazyClient(const LazyClient&) = delete;
  LazyClient& operator=(const LazyClient&) = delete;

  // Reads files when they are due. What was made is used on when they cannot be read any more.
  Result<std::shared_ptr<Client>> get();

 private:
  struct Made {
    std::string text;  // of the kubeconfig
    SteadyTime looked_at{};
    std::shared_ptr<Client> client;
  };
  Result<std::shared_ptr<Client>> make(AccessConfig config);

  const std::string kubeconfig_;
  LazyClientDeps deps_;
  Guarded<Made> made_;
};

}  // namespace steeple::kube
