// SPDX-License-Identifier: Apache-2.0

#include "lib/http/fetch.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

namespace steeple::http {
namespace {

// The functions of libcurl that are used, from the library that is loaded on first use and stays.
struct Curl {
  decltype(&::curl_global_init) global_init = nullptr;
  decltype(&::curl_easy_init) easy_init = nullptr;
  CURLcode (*easy_setopt)(CURL*, CURLoption, ...) = nullptr;
  decltype(&::curl_easy_perform) easy_perform = nullptr;
  CURLcode (*easy_getinfo)(CURL*, CURLINFO, ...) = nullptr;
  decltype(&::curl_easy_cleanup) easy_cleanup = nullptr;
  decltype(&::curl_easy_strerror) easy_strerror = nullptr;
};

template <class F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(::dlsym(library, name));
  return function != nullptr;
}

Result<Curl> load() {
  void* library = ::dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return unavailable(fmt::format("HTTPS client is not installed: {}", ::dlerror()));
  }
  Curl curl;
  bool complete = find(library, "curl_global_init", curl.global_init) &&
                  find(library, "curl_easy_init", curl.easy_init) &&
                  find(library, "curl_easy_setopt", curl.easy_setopt) &&
                  find(library, "curl_easy_perform", curl.easy_perform) &&
                  find(library, "curl_easy_getinfo", curl.easy_getinfo) &&
                  find(library, "curl_easy_cleanup", curl.easy_cleanup) &&
                  find(library, "curl_easy_strerror", curl.easy_strerror);
  if (!complete || curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return unavailable("libcurl.so.4 is not usable");
  }
  return curl;
}

const Result<Curl>& curl_library() {
  static const Result<Curl> curl = load();
  return curl;
}

// libcurl itself does not read what OpenSSL's and Go's programs read.
std::string variable(const char* name) {
  const char* value = ::secure_getenv(name);
  return value == nullptr ? "" : value;
}

struct Sink {
  Bytes body;
  std::size_t bytes_max = 0;
  bool too_large = false;
};

std::size_t take_body(const char* data, std::size_t, std::size_t size, void* target) {
  auto* sink = static_cast<Sink*>(target);
  if (sink->body.size() + size > sink->bytes_max) {
    sink->too_large = true;
    return 0;  // ends the transfer
  }
  sink->body.append(data, size);
  return size;
}

bool has_scheme(std::string_view url, std::string_view scheme) {
  return url.size() >= scheme.size() &&
         std::equal(scheme.begin(), scheme.end(), url.begin(), [](char want, char got) {
           return want == (got >= 'A' && got <= 'Z' ? static_cast<char>(got + 32) : got);
         });
}

Result<void> check(const FetchRequest& request) {
  bool local = !request.unix_socket.empty();
  if (!has_scheme(request.url, "https://") && !(local && has_scheme(request.url, "http://"))) {
    return invalid_argument(fmt::format("URL \"{}\" must start with https://", request.url));
  }
  if (request.url.find_first_of(std::string_view(" \t\r\n\0", 5)) != std::string::npos) {
    return invalid_argument("URL has blanks or control characters");
  }
  return {};
}

}  // namespace

Result<FetchResponse> fetch(const FetchRequest& request) {
  TRY(check(request));
  const Result<Curl>& loaded = curl_library();
  if (!loaded.ok()) {
    return loaded.error();
  }
  const Curl& curl = *loaded;
  std::unique_ptr<CURL, decltype(curl.easy_cleanup)> handle(curl.easy_init(), curl.easy_cleanup);
  if (!handle) {
    return internal("libcurl has no memory");
  }
  Sink sink{{}, request.body_bytes_max, false};
  std::array<char, CURL_ERROR_SIZE> why{};
  bool good = true;
  auto set = [&](CURLoption option, auto value) {
    good = good && curl.easy_setopt(handle.get(), option, value) == CURLE_OK;
  };
  auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(request.timeout).count();
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, request.unix_socket.empty() ? "https" : "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TIMEOUT_MS, std::max<long>(milliseconds, 1));
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_USERAGENT, "steeple");
  set(CURLOPT_ERRORBUFFER, why.data());
  set(CURLOPT_WRITEFUNCTION, take_body);
  set(CURLOPT_WRITEDATA, &sink);
  // Without variables the library's own defaults, which are the system's roots.
  std::string ca_file = request.ca_file.empty() ? variable("SSL_CERT_FILE") : request.ca_file;
  std::string ca_folder = request.ca_file.empty() ? variable("SSL_CERT_DIR") : "";
  if (!ca_file.empty()) {
    set(CURLOPT_CAINFO, ca_file.c_str());
  }
  if (!ca_folder.empty()) {
    set(CURLOPT_CAPATH, ca_folder.c_str());
  }
  if (!request.unix_socket.empty()) {
    set(CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
    set(CURLOPT_PROXY, "");
  }
  if (!good) {
    return internal("libcurl refuses an option");
  }
  CURLcode code = curl.easy_perform(handle.get());
  if (sink.too_large) {
    return resource_exhausted(
        fmt::format("response is larger than {} bytes", request.body_bytes_max));
  }
  if (code != CURLE_OK) {
    std::string text = why[0] != '\0' ? why.data() : curl.easy_strerror(code);
    return code == CURLE_OPERATION_TIMEDOUT ? deadline_exceeded(text) : unavailable(text);
  }
  FetchResponse response;
  long status = 0;
  const char* type = nullptr;
  curl.easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
  curl.easy_getinfo(handle.get(), CURLINFO_CONTENT_TYPE, &type);
  response.status = static_cast<int>(status);
  response.content_type = type == nullptr ? "" : type;
  response.body = std::move(sink.body);
  return response;
}

}  // namespace steeple::http
