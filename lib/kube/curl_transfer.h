// SPDX-License-Identifier: Apache-2.0

// Inside lib/kube: one exchange of the curl transport, its handle and what arrived and is not told
// yet. libcurl forbids starting and ending exchanges from inside its callbacks, so these only put
// aside what comes, and `tell` hands it on afterwards. On the loop.

#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "lib/kube/curl_library.h"
#include "lib/kube/transport.h"

namespace steeple::kube {

class CurlTransfer {
 public:
  CurlTransfer(const CurlLibrary& curl, HttpRequest request, HttpEvents events,
               std::function<void(CurlTransfer&)> on_news);
  ~CurlTransfer();
  CurlTransfer(const CurlTransfer&) = delete;
  CurlTransfer& operator=(const CurlTransfer&) = delete;

  // Sets every option. An error means that the exchange cannot begin.
  Result<void> prepare();
  CURL* handle() const { return handle_; }
  // How it went, told by the multi handle.
  void ended(CURLcode code);
  void ended(Error error);
  // Calls the user with all that came. The user may cancel meanwhile.
  void tell();
  void cancel() { cancelled_ = true; }
  bool cancelled() const { return cancelled_; }

 private:
  template <class V>
  void set(CURLoption option, V value);
  void add_header(curl_slist*& list, const std::string& line);
  Result<void> set_address();
  void set_tls();
  void set_method_and_body();
  void set_callbacks();
  void take_header(std::string_view line);

  const CurlLibrary& curl_;
  HttpRequest request_;
  HttpEvents events_;
  const std::function<void(CurlTransfer&)> on_news_;
  CURL* handle_ = nullptr;
  curl_slist* headers_ = nullptr;
  curl_slist* connect_to_ = nullptr;
  std::array<char, CURL_ERROR_SIZE> why_{};
  bool good_ = true;
  HttpHead head_;
  std::size_t head_bytes_ = 0;
  bool head_complete_ = false;
  bool head_told_ = false;
  Bytes body_;  // not yet told
  bool over_ = false;
  Result<void> how_;
  bool cancelled_ = false;
};

}  // namespace steeple::kube
