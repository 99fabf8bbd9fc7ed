// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/curl_transfer.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "lib/base/limits.h"
#include "lib/kube/curl_transport.h"

namespace steeple::kube {
namespace {

constexpr long kConnectTimeoutMs = 10'000;
constexpr long kKeepaliveIdleSeconds = 15;
constexpr long kKeepaliveIntervalSeconds = 5;
constexpr long kReceiveBufferBytes = 32L << 10;
constexpr std::size_t kHeadBytesMax = std::size_t{64} << 10;

long in_ms(Duration time) {
  constexpr auto kMost = std::chrono::hours(24);
  auto count =
      std::chrono::ceil<std::chrono::milliseconds>(std::min<Duration>(time, kMost)).count();
  return std::max<long>(count, 1);
}

// Without this a peer that vanished in the middle of our request would hold it until its timeout.
int set_user_timeout(void*, curl_socket_t fd, curlsocktype) {
  unsigned ms = static_cast<unsigned>(in_ms(kDeadPeerTimeout));
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
  return CURL_SOCKOPT_OK;
}

bool is_clean(std::string_view text) {
  return std::ranges::none_of(text, [](char c) {
    return static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) == 0x7f;
  });
}

}  // namespace

CurlTransfer::CurlTransfer(const CurlLibrary& curl, HttpRequest request, HttpEvents events,
                           std::function<void(CurlTransfer&)> on_news)
    : curl_(curl),
      request_(std::move(request)),
      events_(std::move(events)),
      on_news_(std::move(on_news)),
      handle_(curl.easy_init()) {}

CurlTransfer::~CurlTransfer() {
  if (handle_ != nullptr) {
    curl_.easy_cleanup(handle_);
  }
  curl_.slist_free_all(headers_);
  curl_.slist_free_all(connect_to_);
}

template <class V>
void CurlTransfer::set(CURLoption option, V value) {
  good_ = good_ && curl_.easy_setopt(handle_, option, value) == CURLE_OK;
}

void CurlTransfer::add_header(curl_slist*& list, const std::string& line) {
  curl_slist* longer = curl_.slist_append(list, line.c_str());
  good_ = good_ && longer != nullptr;
  list = longer == nullptr ? list : longer;
}

Result<void> CurlTransfer::prepare() {
  if (handle_ == nullptr) {
    return resource_exhausted("libcurl has no memory");
  }
  TRY(set_address());
  set_tls();
  set_method_and_body();
  for (const HttpHeader& header : request_.headers) {
    if (!is_clean(header.name) || !is_clean(header.value)) {
      return invalid_argument(fmt::format("header \"{}\" has control characters", header.name));
    }
    add_header(headers_, fmt::format("{}: {}", header.name, header.value));
  }
  add_header(headers_, "expect:");
  set(CURLOPT_HTTPHEADER, headers_);
  set_callbacks();
  return good_ ? Result<void>() : internal("libcurl refuses an option");
}

Result<void> CurlTransfer::set_address() {
  constexpr std::string_view kScheme = "https://";
  std::string url = request_.url;
  const bool plain = request_.tls && request_.tls->plain_http && url.starts_with("http://");
  if (!plain && !url.starts_with(kScheme)) {
    return invalid_argument(fmt::format("URL \"{}\" must start with https://", url));
  }
  if (!is_clean(url) || url.find(' ') != std::string::npos) {
    return invalid_argument("URL has blanks or control characters");
  }
  if (!plain && request_.tls && !request_.tls->server_name.empty()) {
    std::size_t end = std::min(url.find('/', kScheme.size()), url.size());
    std::string authority = url.substr(kScheme.size(), end - kScheme.size());
    std::size_t colon = authority.rfind(':');
    bool has_port = colon != std::string::npos && authority.find(']', colon) == std::string::npos;
    std::string port = has_port ? authority.substr(colon + 1) : "443";
    std::string host = has_port ? authority.substr(0, colon) : authority;
    url = fmt::format("{}{}:{}{}", kScheme, request_.tls->server_name, port, url.substr(end));
    add_header(connect_to_, fmt::format("::{}:{}", host, port));
    set(CURLOPT_CONNECT_TO, connect_to_);
  }
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
  set(CURLOPT_PROXY, "");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TIMEOUT_MS, in_ms(request_.timeout));
  set(CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_TCP_KEEPIDLE, kKeepaliveIdleSeconds);
  set(CURLOPT_TCP_KEEPINTVL, kKeepaliveIntervalSeconds);
  set(CURLOPT_SOCKOPTFUNCTION, &set_user_timeout);
  set(CURLOPT_BUFFERSIZE, kReceiveBufferBytes);
  // Not HTTP/2: with several streams on one connection libcurl 7.88 now and then leaves the end of
  // a large answer in its buffers and wakes nobody for it, neither for a list nor for a watch.
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  return {};
}

void CurlTransfer::set_tls() {
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  const TlsMaterial trusting_system;
  const TlsMaterial& tls = request_.tls ? *request_.tls : trusting_system;
  set(CURLOPT_SSL_VERIFYPEER, tls.verify_chain ? 1L : 0L);
  set(CURLOPT_SSL_VERIFYHOST, tls.verify_chain && tls.verify_name ? 2L : 0L);
  auto set_pem = [this](CURLoption option, const std::string& pem) {
    if (!pem.empty()) {
      curl_blob blob{const_cast<char*>(pem.data()), pem.size(), CURL_BLOB_COPY};
      set(option, &blob);
    }
  };
  set_pem(CURLOPT_CAINFO_BLOB, tls.ca_pem);
  set_pem(CURLOPT_SSLCERT_BLOB, tls.cert_pem);
  set_pem(CURLOPT_SSLKEY_BLOB, tls.key_pem);
}

void CurlTransfer::set_method_and_body() {
  if (request_.method == "GET" && request_.body.empty()) {
    set(CURLOPT_HTTPGET, 1L);
    return;
  }
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
  set(CURLOPT_POSTFIELDS, request_.body.data());
  set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
}

void CurlTransfer::set_callbacks() {
  using Taker = std::size_t (*)(char*, std::size_t, std::size_t, void*);
  Taker take_body = [](char* data, std::size_t, std::size_t size, void* target) {
    auto* self = static_cast<CurlTransfer*>(target);
    self->body_.append(data, size);
    self->on_news_(*self);
    return size;
  };
  Taker take_head = [](char* data, std::size_t, std::size_t size, void* target) {
    auto* self = static_cast<CurlTransfer*>(target);
    self->head_bytes_ += size;
    if (self->head_bytes_ > kHeadBytesMax) {
      return std::size_t{0};
    }
    self->take_header({data, size});
    return size;
  };
  set(CURLOPT_WRITEFUNCTION, take_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_HEADERFUNCTION, take_head);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_ERRORBUFFER, why_.data());
  set(CURLOPT_PRIVATE, this);
}

// Status lines, headers, the blank line, and trailers after the body, which nobody needs.
void CurlTransfer::take_header(std::string_view line) {
  if (head_complete_) {
    return;
  }
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) {
    line.remove_suffix(1);
  }
  if (line.starts_with("HTTP/")) {
    head_ = {};
    std::size_t space = std::min(line.find(' '), line.size() - 1);
    std::from_chars(line.data() + space + 1, line.data() + line.size(), head_.status);
  } else if (line.empty()) {
    head_complete_ = head_.status >= 200;
    on_news_(*this);
  } else if (std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    HttpHeader header{std::string(line.substr(0, colon)), {}};
    std::ranges::transform(header.name, header.name.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    });
    line.remove_prefix(colon + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    header.value = line.substr(0, line.find_last_not_of(" \t") + 1);
    head_.headers.push_back(std::move(header));
  }
}

void CurlTransfer::ended(CURLcode code) {
  if (code == CURLE_OK) {
    over_ = true;
    if (!head_complete_) {
      how_ = unavailable("the server's answer has no head");
    }
    return;
  }
  std::string text = why_[0] != '\0' ? why_.data() : curl_.easy_strerror(code);
  ended(code == CURLE_OPERATION_TIMEDOUT ? deadline_exceeded(text) : unavailable(text));
}

void CurlTransfer::ended(Error error) {
  over_ = true;
  how_ = std::move(error);
}

void CurlTransfer::tell() {
  if (!cancelled_ && head_complete_ && !std::exchange(head_told_, true)) {
    events_.on_head(head_);
  }
  if (!cancelled_ && !body_.empty()) {
    Bytes body = std::exchange(body_, {});
    events_.on_data(body);
  }
  if (!cancelled_ && over_) {
    cancelled_ = true;  // nothing follows
    auto on_end = std::move(events_.on_end);
    on_end(std::move(how_));
  }
}

}  // namespace steeple::kube
