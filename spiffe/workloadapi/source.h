// SPDX-License-Identifier: Apache-2.0

// Sources: the newest identity and bundles of this workload, kept fresh in the background. Making
// one waits until the Workload API has answered, up to a start-up timeout. A source never loses a
// value because of a failure: what it has stays until something newer comes. Any thread.
//
// X509Source: identity and X.509 bundles.  JwtSource: tokens and JWT bundles.
// BundleSource: bundles alone, for verifiers that have no identity of their own.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/base/watch.h"
#include "spiffe/workloadapi/client.h"

namespace spiffe {

// Picks the identity of a workload that has several. The default takes the first.
using SvidPicker = std::function<const X509Svid*(const std::vector<X509Svid>&)>;
SvidPicker pick_hint(std::string hint);

struct SourceOptions {
  std::shared_ptr<Client> client = {};  // null: a new one with `client_options`
  ClientOptions client_options = {};
  steeple::Duration start_timeout = std::chrono::seconds(30);
  SvidPicker picker = {};
};

class X509Source {
 public:
  // kDeadlineExceeded with the last error of the Workload API when no identity came in time.
  static steeple::Result<std::shared_ptr<X509Source>> make(SourceOptions options = {});
  class Core;
  explicit X509Source(std::shared_ptr<Core> core);  // for `make`
  ~X509Source();

  // Never null.
  std::shared_ptr<const X509Context> context() const;
  // kNotFound when the picker finds none among those of today.
  steeple::Result<X509Svid> svid() const;
  // Null when there is no bundle for the domain.
  std::shared_ptr<const Bundle> bundle(const TrustDomain& domain) const;
  // Tells of every new context, on the client's thread: hand the news on, do not block.
  const steeple::Watch<X509Context>& updates() const;

 private:
  std::shared_ptr<Core> core_;
};

class BundleSource {
 public:
  static steeple::Result<std::shared_ptr<BundleSource>> make(SourceOptions options = {});
  class Core;
  explicit BundleSource(std::shared_ptr<Core> core);  // for `make`
  ~BundleSource();

  std::shared_ptr<const BundleSet> x509_bundles() const;
  std::shared_ptr<const BundleSet> jwt_bundles() const;
  // JWT or X.509 authorities of one domain; null when there is no bundle.
  std::shared_ptr<const Bundle> x509_bundle(const TrustDomain& domain) const;
  std::shared_ptr<const Bundle> jwt_bundle(const TrustDomain& domain) const;

 private:
  std::shared_ptr<Core> core_;
};

class JwtSource {
 public:
  static steeple::Result<std::shared_ptr<JwtSource>> make(SourceOptions options = {});
  class Core;
  explicit JwtSource(std::shared_ptr<Core> core);  // for `make`
  ~JwtSource();

  // A token for this audience; the agent caches, so ask each time.
  steeple::Result<JwtSvid> fetch(const JwtParams& params,
                                 steeple::Duration timeout = std::chrono::seconds(10)) const;
  // Verifies a foreign token with the bundles at hand, without a call.
  steeple::Result<JwtSvid> verify(std::string_view token,
                                  const std::vector<std::string>& audiences) const;
  std::shared_ptr<const BundleSet> bundles() const;

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace spiffe
