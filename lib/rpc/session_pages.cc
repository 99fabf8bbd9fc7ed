// SPDX-License-Identifier: Apache-2.0

#include "lib/rpc/session_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "lib/base/check.h"

namespace steeple::rpc {
namespace {

// A slot is six pages; the table begins in the middle of the first one, so that the cell of stream
// 1 (at 2,528 bytes, by nghttp2's hash) and the beginning of the buffer stand in the second. Other
// streams and long headers touch more of it: that costs memory, nothing else.
constexpr std::size_t kSlotBytes = std::size_t{24} << 10;
constexpr std::size_t kTableAt = std::size_t{2} << 10;
constexpr std::size_t kTableBytes = std::size_t{4} << 10;
constexpr std::size_t kBufferAt = kTableAt + kTableBytes;
constexpr std::size_t kBufferBytesMin = std::size_t{16} << 10;
constexpr std::size_t kBufferBytesMax = kSlotBytes - kBufferAt;
constexpr std::size_t kSlotsPerRegion = 64;
constexpr std::size_t kRegionBytes = kSlotsPerRegion * kSlotBytes;

}  // namespace

SessionPages::~SessionPages() {
  CHECK(free_.size() == made_);
  for (void* region : regions_) {
    ::munmap(region, kRegionBytes);
  }
}

bool SessionPages::grow() {
  void* region = ::mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) {
    return false;
  }
  // A huge page would make resident what is never touched.
  ::madvise(region, kRegionBytes, MADV_NOHUGEPAGE);
  regions_.push_back(region);
  for (std::size_t i = kSlotsPerRegion; i > 0; --i) {
    free_.push_back({static_cast<char*>(region) + (i - 1) * kSlotBytes, false});
  }
  made_ += kSlotsPerRegion;
  return true;
}

void SessionPages::trim() {
  for (Free& slot : free_) {
    if (slot.used_before && ::madvise(slot.base, kSlotBytes, MADV_DONTNEED) == 0) {
      slot.used_before = false;
    }
  }
}

SessionPages::Slot::Slot(SessionPages* pages) : pages_(pages) {
  if (pages_ != nullptr && (!pages_->free_.empty() || pages_->grow())) {
    base_ = pages_->free_.back().base;
    used_before_ = pages_->free_.back().used_before;
    pages_->free_.pop_back();
  }
  mem_.mem_user_data = this;
  mem_.malloc = [](std::size_t bytes, void* self) {
    return static_cast<Slot*>(self)->allocate(bytes);
  };
  mem_.calloc = [](std::size_t count, std::size_t size, void* self) -> void* {
    std::size_t bytes = 0;
    return __builtin_mul_overflow(count, size, &bytes)
               ? nullptr
               : static_cast<Slot*>(self)->allocate_zeroed(bytes);
  };
  mem_.realloc = [](void* old, std::size_t bytes, void* self) {
    return static_cast<Slot*>(self)->reallocate(old, bytes);
  };
  mem_.free = [](void* pointer, void* self) { static_cast<Slot*>(self)->release(pointer); };
}

SessionPages::Slot::~Slot() {
  CHECK(!table_taken_ && !buffer_taken_);
  if (base_ != nullptr) {
    pages_->free_.push_back({base_, true});
  }
}

void* SessionPages::Slot::allocate(std::size_t bytes) {
  if (base_ != nullptr && !buffer_taken_ && bytes >= kBufferBytesMin && bytes <= kBufferBytesMax) {
    buffer_taken_ = true;
    return base_ + kBufferAt;
  }
  return std::malloc(bytes);
}

void* SessionPages::Slot::allocate_zeroed(std::size_t bytes) {
  if (base_ == nullptr || table_taken_ || bytes != kTableBytes) {
    return std::calloc(1, bytes);
  }
  table_taken_ = true;
  if (std::exchange(used_before_, true)) {
    std::memset(base_ + kTableAt, 0, kTableBytes);
  }
  return base_ + kTableAt;
}

void* SessionPages::Slot::reallocate(void* old, std::size_t bytes) {
  if (old == nullptr) {
    return allocate(bytes);
  }
  std::size_t held = 0;
  if (buffer_taken_ && old == base_ + kBufferAt) {
    held = kBufferBytesMax;
  } else if (table_taken_ && old == base_ + kTableAt) {
    held = kTableBytes;
  } else {
    return std::realloc(old, bytes);
  }
  void* grown = std::malloc(bytes);
  if (grown != nullptr) {
    std::memcpy(grown, old, std::min(held, bytes));
    release(old);
  }
  return grown;
}

void SessionPages::Slot::release(void* pointer) {
  if (buffer_taken_ && pointer == base_ + kBufferAt) {
    buffer_taken_ = false;
  } else if (table_taken_ && pointer == base_ + kTableAt) {
    table_taken_ = false;
  } else {
    std::free(pointer);
  }
}

}  // namespace steeple::rpc
