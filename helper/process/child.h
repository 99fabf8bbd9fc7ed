// SPDX-License-Identifier: Apache-2.0

// The command that uses the files: started once they are written, told of each change by a signal,
// started again with the next change after it ended. Its end is heard of through a pidfd, so that
// no signal can reach another process that got its pid, and no zombie stays. On the loop.

#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/io/asio_loop.h"
#include "lib/io/file_descriptor.h"

namespace steeple::helper {

class Child {
 public:
  // How it ended: "exited with code 3", "was ended by signal SIGTERM".
  using OnExit = std::function<void(pid_t pid, const std::string& how)>;

  Child(io::AsioLoop& loop, std::string program, std::vector<std::string> arguments,
        OnExit on_exit);
  ~Child();  // leaves it running
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Looked up in PATH; standard streams are ours; signals as at the start of a program.
  Result<void> start();
  bool running() const { return watch_ != nullptr; }
  pid_t pid() const { return pid_; }  // 0: none runs
  Result<void> signal(int number);

 private:
  void exited();

  io::AsioLoop& loop_;
  const std::string program_;
  const std::vector<std::string> arguments_;
  const OnExit on_exit_;
  pid_t pid_ = 0;
  io::FileDescriptor pidfd_;
  std::unique_ptr<io::FdWatch> watch_;
};

// As the first process of a container we inherit orphans: takes those that ended, but for `child`.
void reap_orphans(pid_t child);

// Sends the signal to the process whose pid the file holds. Blocks for a small file.
Result<pid_t> signal_pid_file(const std::string& path, int number);

}  // namespace steeple::helper
