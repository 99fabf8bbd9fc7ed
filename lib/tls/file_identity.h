// SPDX-License-Identifier: Apache-2.0

// A certificate and its key from PEM files that change while a program serves with them. What works
// is never given up for what does not.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/io/loop.h"
#include "lib/io/workers.h"
#include "lib/tls/handshake.h"

namespace steeple::tls {

// A PEM chain, leaf first, and the key of the leaf. Blocks.
Result<std::shared_ptr<const Identity>> load_identity(const std::string& cert_path,
                                                      const std::string& key_path);

// The files are read again at an interval. Certificate and key are taken together or not at all, so
// that files which are just being replaced do no harm. On the loop.
class FileIdentity {
 public:
  struct Files {
    std::string cert_path, key_path;
    Duration interval;
  };
  // Told of each later reading that failed, or found another certificate.
  using Told = std::function<void(const Result<void>&)>;

  // Reads here and now: an error is one of the configuration.
  static Result<std::shared_ptr<FileIdentity>> start(Files files, io::Loop& loop,
                                                     io::Workers& workers, Told told);
  // For `start`.
  FileIdentity(Files files, std::shared_ptr<const Identity> first, io::Loop& loop,
               io::Workers& workers, Told told);
  FileIdentity(const FileIdentity&) = delete;
  FileIdentity& operator=(const FileIdentity&) = delete;

  std::shared_ptr<const Identity> get() const { return identity_; }

 private:
  void wait();
  void read_again();
  void taken(Result<std::shared_ptr<const Identity>> loaded);

  const Files files_;
  io::Loop& loop_;
  io::Workers& workers_;
  const Told told_;
  std::shared_ptr<const Identity> identity_;
  io::Timer timer_;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace steeple::tls
