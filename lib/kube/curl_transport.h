// SPDX-License-Identifier: Apache-2.0

// The real Transport: libcurl's multi socket interface on an AsioLoop (any other Loop is a bug).
// HTTP/1.1: a watch has a connection of its own, requests one after the other share one. (HTTP/2 of
// libcurl 7.88 stalls, see curl_transfer.cc.) libcurl is loaded when the first request starts; a
// dead peer is noticed by TCP within kDeadPeerTimeout. Redirects are not followed, proxies not
// used.

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
