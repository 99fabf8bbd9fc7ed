// SPDX-License-Identifier: Apache-2.0

// Labels of namespaces, from the API server: asked for when needed, concurrent questions about one
// namespace sharing one request; or, with `follow`, kept up to date by a watch. The client is made
// on first use. On the loop.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/kube/client.h"
#include "lib/kube/reflector.h"
#include "lib/telemetry/log.h"

namespace steeple::agent {

class NamespaceLabels {
 public:
  struct Deps {
    io::Loop& loop;
    kube::Transport& transport;
    Random& random;
    kube::Environment environment;
    Logger log;
  };
  using Handler = std::move_only_function<void(Result<kube::Labels>)>;

  NamespaceLabels(bool follow, Deps deps);
  ~NamespaceLabels();
  NamespaceLabels(const NamespaceLabels&) = delete;
  NamespaceLabels& operator=(const NamespaceLabels&) = delete;

  void get(const std::string& name_space, Handler handler);

 private:
  struct Flight {
    kube::CallPtr call;
    std::vector<Handler> waiting;
  };
  class Followed;

  Result<void> open();
  void landed(const std::string& name_space, Result<kube::Labels> labels);

  const bool follow_;
  Deps deps_;
  std::unique_ptr<kube::Access> access_;
  std::unique_ptr<kube::Client> client_;
  std::unique_ptr<Followed> followed_;
  std::unique_ptr<kube::Reflector> reflector_;
  std::map<std::string, Flight> flights_;
};

}  // namespace steeple::agent
