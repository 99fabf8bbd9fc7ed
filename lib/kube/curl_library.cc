// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/curl_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace steeple::kube {
namespace {

template <class F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(::dlsym(library, name));
  return function != nullptr;
}

Result<CurlLibrary> load() {
  void* library = ::dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return unavailable(fmt::format("HTTPS client is not installed: {}", ::dlerror()));
  }
  CurlLibrary curl;
  bool complete = find(library, "curl_global_init", curl.global_init) &&
                  find(library, "curl_easy_init", curl.easy_init) &&
                  find(library, "curl_easy_setopt", curl.easy_setopt) &&
                  find(library, "curl_easy_getinfo", curl.easy_getinfo) &&
                  find(library, "curl_easy_cleanup", curl.easy_cleanup) &&
                  find(library, "curl_easy_strerror", curl.easy_strerror) &&
                  find(library, "curl_slist_append", curl.slist_append) &&
                  find(library, "curl_slist_free_all", curl.slist_free_all) &&
                  find(library, "curl_multi_init", curl.multi_init) &&
                  find(library, "curl_multi_setopt", curl.multi_setopt) &&
                  find(library, "curl_multi_add_handle", curl.multi_add_handle) &&
                  find(library, "curl_multi_remove_handle", curl.multi_remove_handle) &&
                  find(library, "curl_multi_socket_action", curl.multi_socket_action) &&
                  find(library, "curl_multi_info_read", curl.multi_info_read) &&
                  find(library, "curl_multi_cleanup", curl.multi_cleanup);
  if (!complete || curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return unavailable("libcurl.so.4 is not usable");
  }
  return curl;
}

}  // namespace

const Result<CurlLibrary>& curl_library() {
  static const Result<CurlLibrary> library = load();
  return library;
}

}  // namespace steeple::kube
