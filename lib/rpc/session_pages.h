// SPDX-License-Identifier: Apache-2.0

// Where an idle HTTP/2 session's two big blocks live. nghttp2 allocates a table of streams (4 KiB,
// of which one stream uses 16 bytes) and a frame buffer (16 KiB, of which headers use a hundred
// bytes) for every session. Among other allocations they cost whole pages each; here they lie so
// that what an idle session touches of both is one page, and the rest is never made resident.
// Everything else, and whatever does not look like these two, comes from the heap as ever.
// Belongs to one loop.

#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace steeple::rpc {

class SessionPages {
 public:
  SessionPages() = default;
  ~SessionPages();
  SessionPages(const SessionPages&) = delete;
  SessionPages& operator=(const SessionPages&) = delete;

  // The memory functions of one session; lives longer than it, and not longer than the pages.
  class Slot {
   public:
    // Null: all from the heap, for those who have one session and not thousands.
    explicit Slot(SessionPages* pages);
    ~Slot();
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    nghttp2_mem* mem() { return &mem_; }
    bool both_taken() const { return table_taken_ && buffer_taken_; }

   private:
    friend class SessionPages;
    void* allocate(std::size_t bytes);
    void* allocate_zeroed(std::size_t bytes);
    void* reallocate(void* old, std::size_t bytes);
    void release(void* pointer);

    SessionPages* pages_;
    char* base_ = nullptr;  // null when there is no page to be had
    bool used_before_ = false;
    bool table_taken_ = false;
    bool buffer_taken_ = false;
    nghttp2_mem mem_{};
  };

  // Gives the pages of slots that nobody uses back to the system.
  void trim();
  std::size_t slots_in_use() const { return made_ - free_.size(); }

 private:
  struct Free {
    char* base;
    bool used_before;
  };
  bool grow();

  std::vector<void*> regions_;
  std::vector<Free> free_;
  std::size_t made_ = 0;
};

}  // namespace steeple::rpc
