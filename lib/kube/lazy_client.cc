// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/lazy_client.h"

#include <fmt/format.h>

#include <utility>

#include "lib/io/directory.h"

namespace steeple::kube {
namespace {

struct Holder {
  Holder(io::Loop& loop, Transport& transport, AccessConfig config, ClientOptions options)
      : access(make_access(std::move(config), loop.clock())),
        client({loop, transport, *access}, std::move(options)) {}

  std::unique_ptr<Access> access;
  Client client;
};

std::string folder_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

}  // namespace

LazyClient::LazyClient(std::string kubeconfig, LazyClientDeps deps)
    : kubeconfig_(std::move(kubeconfig)), deps_(std::move(deps)) {}

// The calls of a client end on its loop, so that is where it goes, after them.
Result<std::shared_ptr<Client>> LazyClient::make(AccessConfig config) {
  auto give_back = [&loop = deps_.loop](Holder* holder) {
    loop.post([owned = std::unique_ptr<Holder>(holder)] {});
  };
  auto holder = std::shared_ptr<Holder>(
      std::make_unique<Holder>(deps_.loop, *deps_.transport, std::move(config), deps_.options)
          .release(),
      give_back);
  return std::shared_ptr<Client>(holder, &holder->client);
}

Result<std::shared_ptr<Client>> LazyClient::get() {
  if (deps_.transport == nullptr) {
    return unavailable("there is no network to an API server here");
  }
  auto made = made_.lock();
  if (kubeconfig_.empty()) {
    if (!made->client) {
      made->client = TRY(make(TRY(in_cluster_access(deps_.environment))));
    }
    return made->client;
  }
  const SteadyTime now = deps_.loop.clock().steady();
  if (made->client && now - made->looked_at < kFileAgeMax) {
    return made->client;
  }
  const std::string doing = fmt::format("kubeconfig \"{}\"", kubeconfig_);
  auto text = io::read_file(kubeconfig_, kCredentialBytesMax).during(doing);
  if (made->client && (!text.ok() || *text == made->text)) {
    made->looked_at = now;
    return made->client;
  }
  std::string read = TRY(std::move(text));
  auto config = parse_kubeconfig(read, folder_of(kubeconfig_)).during(doing);
  if (!config.ok() && made->client) {
    made->looked_at = now;
    return made->client;
  }
  made->client = TRY(make(TRY(std::move(config))));
  made->text = std::move(read);
  made->looked_at = now;
  return made->client;
}

}  // namespace steeple::kube
