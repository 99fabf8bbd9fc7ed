// SPDX-License-Identifier: Apache-2.0

#include "lib/tls/connection_bio.h"

#include <memory>

namespace steeple::tls {
namespace {

io::Connection& connection_of(BIO* bio) { return *static_cast<io::Connection*>(BIO_get_data(bio)); }

// OpenSSL's convention: 1 with bytes done, or 0 with the retry flag when it would have blocked.
int settle(BIO* bio, const io::IoResult& result, std::size_t* done, int retry_flag) {
  BIO_clear_retry_flags(bio);
  *done = 0;
  switch (result.status) {
    case io::IoStatus::kOk:
      *done = result.bytes;
      return 1;
    case io::IoStatus::kWouldBlock:
      BIO_set_flags(bio, retry_flag | BIO_FLAGS_SHOULD_RETRY);
      return 0;
    case io::IoStatus::kEof:
      BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
      return 0;
    case io::IoStatus::kError:
      break;
  }
  return 0;
}

int read_some(BIO* bio, char* into, std::size_t size, std::size_t* done) {
  return settle(bio, connection_of(bio).read({into, size}), done, BIO_FLAGS_READ);
}

int write_some(BIO* bio, const char* from, std::size_t size, std::size_t* done) {
  return settle(bio, connection_of(bio).write({from, size}), done, BIO_FLAGS_WRITE);
}

long control(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  switch (command) {
    case BIO_CTRL_FLUSH:
      return 1;  // nothing is buffered
    case BIO_CTRL_EOF:
      return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    default:
      return 0;
  }
}

struct FreeMethod {
  void operator()(BIO_METHOD* method) const { BIO_meth_free(method); }
};

BIO_METHOD* method() {
  static const std::unique_ptr<BIO_METHOD, FreeMethod> shared = [] {
    std::unique_ptr<BIO_METHOD, FreeMethod> made(
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "steeple connection"));
    BIO_meth_set_read_ex(made.get(), read_some);
    BIO_meth_set_write_ex(made.get(), write_some);
    BIO_meth_set_ctrl(made.get(), control);
    return made;
  }();
  return shared.get();
}

}  // namespace

BIO* connection_bio(io::Connection& connection) {
  BIO* bio = BIO_new(method());
  if (bio != nullptr) {
    BIO_set_data(bio, &connection);
    BIO_set_init(bio, 1);
  }
  return bio;
}

}  // namespace steeple::tls
