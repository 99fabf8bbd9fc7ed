// SPDX-License-Identifier: Apache-2.0

// Guarded<T>: shared mutable state that cannot be reached without its mutex.
//   auto state = guarded.lock();  state->count++;
// Hold the lock for as long as the guard lives and call nothing foreign under it.

#pragma once

#include <mutex>
#include <utility>

namespace steeple {

template <class T>
class Guarded {
 public:
  class Lock {
   public:
    T* operator->() const { return value_; }
    T& operator*() const { return *value_; }
    // For condition variables in lib/base and lib/io.
    std::unique_lock<std::mutex>& mutex() { return lock_; }

   private:
    friend class Guarded;
    Lock(std::mutex& mutex, T* value) : lock_(mutex), value_(value) {}
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  Lock lock() { return Lock(mutex_, &value_); }

 private:
  std::mutex mutex_;
  T value_{};
};

}  // namespace steeple
