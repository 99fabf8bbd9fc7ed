// SPDX-License-Identifier: Apache-2.0

#include "spiffe/workloadapi/source.h"

#include <fmt/format.h>

#include <future>

#include "lib/base/guarded.h"

namespace spiffe {
namespace {

using steeple::Error;
using steeple::Result;

Result<std::shared_ptr<Client>> client_of(const SourceOptions& options) {
  if (options.client) {
    return options.client;
  }
  return Client::make(options.client_options);
}

// The newest value of one watch, and the wait for the first.
template <class T>
class Newest {
 public:
  Watcher<T> watcher() {
    return {.on_update =
                [this](std::shared_ptr<const T> value) {
                  values_.publish(std::move(value));
                  if (!std::exchange(first_told_, true)) {
                    first_.set_value();
                  }
                },
            .on_error = [this](const Error& error) { *last_error_.lock() = error.message; }};
  }

  Result<void> wait_first(steeple::Duration timeout) {
    if (first_.get_future().wait_for(timeout) == std::future_status::ready) {
      return {};
    }
    std::string why = *last_error_.lock();
    return steeple::deadline_exceeded(
        fmt::format("no answer from the Workload API in time{}{}", why.empty() ? "" : ": ", why));
  }

  const steeple::Watch<T>& values() const { return values_; }

 private:
  steeple::Watch<T> values_;
  std::promise<void> first_;
  bool first_told_ = false;  // on the client's thread only
  steeple::Guarded<std::string> last_error_;
};

}  // namespace

SvidPicker pick_hint(std::string hint) {
  return [hint = std::move(hint)](const std::vector<X509Svid>& svids) -> const X509Svid* {
    for (const X509Svid& svid : svids) {
      if (svid.hint() == hint) {
        return &svid;
      }
    }
    return nullptr;
  };
}

// --- X509Source ---

// Members in the order of use: the watch is destroyed first, then what it feeds.
class X509Source::Core {
 public:
  Core(std::shared_ptr<Client> client, SvidPicker picker)
      : picker(std::move(picker)), client_(std::move(client)) {
    watch_ = client_->watch_x509_context(contexts.watcher());
  }
  SvidPicker picker;
  Newest<X509Context> contexts;

 private:
  std::shared_ptr<Client> client_;
  std::unique_ptr<WatchHandle> watch_;
};

X509Source::X509Source(std::shared_ptr<Core> core) : core_(std::move(core)) {}
X509Source::~X509Source() = default;

Result<std::shared_ptr<X509Source>> X509Source::make(SourceOptions options) {
  auto core = std::make_shared<Core>(TRY(client_of(options)), std::move(options.picker));
  TRY(core->contexts.wait_first(options.start_timeout));
  return std::make_shared<X509Source>(std::move(core));
}

std::shared_ptr<const X509Context> X509Source::context() const {
  return core_->contexts.values().get();
}

Result<X509Svid> X509Source::svid() const {
  auto now = context();
  if (!core_->picker) {
    return now->default_svid();
  }
  const X509Svid* picked = core_->picker(now->svids);
  if (picked == nullptr) {
    return steeple::not_found("none of the workload's identities was picked");
  }
  return *picked;
}

std::shared_ptr<const Bundle> X509Source::bundle(const TrustDomain& domain) const {
  return context()->bundles.find(domain);
}

const steeple::Watch<X509Context>& X509Source::updates() const { return core_->contexts.values(); }

// --- BundleSource ---

class BundleSource::Core {
 public:
  explicit Core(std::shared_ptr<Client> client) : client_(std::move(client)) {
    x509_watch_ = client_->watch_x509_bundles(x509.watcher());
    jwt_watch_ = client_->watch_jwt_bundles(jwt.watcher());
  }
  Newest<BundleSet> x509;
  Newest<BundleSet> jwt;

 private:
  std::shared_ptr<Client> client_;
  std::unique_ptr<WatchHandle> x509_watch_;
  std::unique_ptr<WatchHandle> jwt_watch_;
};

BundleSource::BundleSource(std::shared_ptr<Core> core) : core_(std::move(core)) {}
BundleSource::~BundleSource() = default;

Result<std::shared_ptr<BundleSource>> BundleSource::make(SourceOptions options) {
  auto core = std::make_shared<Core>(TRY(client_of(options)));
  TRY(core->x509.wait_first(options.start_timeout));
  TRY(core->jwt.wait_first(options.start_timeout));
  return std::make_shared<BundleSource>(std::move(core));
}

std::shared_ptr<const BundleSet> BundleSource::x509_bundles() const {
  return core_->x509.values().get();
}
std::shared_ptr<const BundleSet> BundleSource::jwt_bundles() const {
  return core_->jwt.values().get();
}
std::shared_ptr<const Bundle> BundleSource::x509_bundle(const TrustDomain& domain) const {
  return x509_bundles()->find(domain);
}
std::shared_ptr<const Bundle> BundleSource::jwt_bundle(const TrustDomain& domain) const {
  return jwt_bundles()->find(domain);
}

// --- JwtSource ---

class JwtSource::Core {
 public:
  explicit Core(std::shared_ptr<Client> client) : client(std::move(client)) {
    watch_ = this->client->watch_jwt_bundles(bundles.watcher());
  }
  std::shared_ptr<Client> client;
  Newest<BundleSet> bundles;

 private:
  std::unique_ptr<WatchHandle> watch_;
};

JwtSource::JwtSource(std::shared_ptr<Core> core) : core_(std::move(core)) {}
JwtSource::~JwtSource() = default;

Result<std::shared_ptr<JwtSource>> JwtSource::make(SourceOptions options) {
  auto core = std::make_shared<Core>(TRY(client_of(options)));
  TRY(core->bundles.wait_first(options.start_timeout));
  return std::make_shared<JwtSource>(std::move(core));
}

Result<JwtSvid> JwtSource::fetch(const JwtParams& params, steeple::Duration timeout) const {
  auto svids = TRY(core_->client->fetch_jwt_svids(params, timeout));
  return std::move(svids.front());
}

Result<JwtSvid> JwtSource::verify(std::string_view token,
                                  const std::vector<std::string>& audiences) const {
  return JwtSvid::verify(token, *bundles(), audiences, steeple::system_clock().now());
}

std::shared_ptr<const BundleSet> JwtSource::bundles() const {
  return core_->bundles.values().get();
}

}  // namespace spiffe
