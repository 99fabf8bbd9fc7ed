// SPDX-License-Identifier: Apache-2.0

// The scripted twin of the transport: what is asked is kept in order, and the test answers, piece
// by piece. Callbacks run inside the answering call, as the test's own turn of the loop.

#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/kube/transport.h"

namespace steeple::kube {

class FakeExchange {
 public:
  HttpRequest request;

  // True while the client still waits for something.
  bool open() const;
  // A whole answer.
  void answer(int status, std::string_view body, std::vector<HttpHeader> headers = {});
  void head(int status, std::vector<HttpHeader> headers = {});
  void data(std::string_view bytes);
  void end(Result<void> how = {});
  void fail(Error error) { end(std::move(error)); }

  // The path with its query, without the server.
  std::string path() const;
  // The decoded value of a query parameter, or "<none>".
  std::string query(std::string_view name) const;
  std::string header(std::string_view name) const;

 private:
  friend class FakeTransport;
  struct Wire;
  std::shared_ptr<Wire> wire_;
};

class FakeTransport final : public Transport {
 public:
  CallPtr start(HttpRequest request, HttpEvents events) override;

  // All that were ever started, in order.
  std::size_t count() const { return exchanges_.size(); }
  FakeExchange& at(std::size_t index) { return exchanges_.at(index); }
  FakeExchange& last() { return exchanges_.back(); }
  std::size_t open() const;

 private:
  std::deque<FakeExchange> exchanges_;
};

}  // namespace steeple::kube
