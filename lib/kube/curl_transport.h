// SPDX-License-Identifier: Apache-2.0

// The real Transport: libcurl's multi socket interface on an AsioLoop (any other Loop is a bug).
// One connection per server and TLS material carries requests and watches side by side where the
// server offers HTTP/2. libcurl is loaded when the first request starts; a dead peer is noticed by
// TCP within kDeadPeerTimeout. Redirects are not followed, proxies not used.

#pragma once

#include <memory>

#include "lib/io/loop.h"
#include "lib/kube/transport.h"

namespace steeple::kube {

inline constexpr auto kDeadPeerTimeout = std::chrono::seconds(30);

class CurlTransport final : public Transport {
 public:
  explicit CurlTransport(io::Loop& loop);
  ~CurlTransport() override;
  CurlTransport(const CurlTransport&) = delete;
  CurlTransport& operator=(const CurlTransport&) = delete;

  CallPtr start(HttpRequest request, HttpEvents events) override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace steeple::kube
