// SPDX-License-Identifier: Apache-2.0

// Goal: sessions get usable, zeroed memory that they do not share, and nghttp2's two big blocks are
// recognised. Method: the functions as nghttp2 calls them, and a real session.

#include "lib/rpc/session_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

namespace steeple::rpc {
namespace {

constexpr std::size_t kTable = 4096;
constexpr std::size_t kBuffer = 16394;

bool all_zero(const void* memory, std::size_t bytes) {
  const char* at = static_cast<const char*>(memory);
  return std::all_of(at, at + bytes, [](char c) { return c == 0; });
}

TEST(SessionPages, TablesAreZeroedAlsoInASlotThatWasUsed) {
  SessionPages pages;
  for (int round = 0; round < 3; ++round) {
    SessionPages::Slot slot(&pages);
    nghttp2_mem* mem = slot.mem();
    void* table = mem->calloc(256, 16, mem->mem_user_data);
    ASSERT_TRUE(all_zero(table, kTable));
    std::memset(table, 0xAA, kTable);
    mem->free(table, mem->mem_user_data);
    table = mem->calloc(256, 16, mem->mem_user_data);
    EXPECT_TRUE(all_zero(table, kTable));
    std::memset(table, 0xAA, kTable);
    mem->free(table, mem->mem_user_data);
  }
}

TEST(SessionPages, TwoOfAKindAndOtherSizesComeFromTheHeap) {
  SessionPages pages;
  SessionPages::Slot slot(&pages);
  nghttp2_mem* mem = slot.mem();
  std::vector<char*> all;
  for (int i = 0; i < 3; ++i) {
    for (std::size_t bytes : {std::size_t{1}, kTable, kBuffer, kBuffer * 4}) {
      all.push_back(static_cast<char*>(mem->malloc(bytes, mem->mem_user_data)));
      std::memset(all.back(), static_cast<int>(all.size()), bytes);
    }
    all.push_back(static_cast<char*>(mem->calloc(256, 16, mem->mem_user_data)));
    std::memset(all.back(), static_cast<int>(all.size()), kTable);
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i][0], static_cast<char>(i + 1));
    mem->free(all[i], mem->mem_user_data);
  }
}

TEST(SessionPages, ABlockThatGrowsKeepsItsContent) {
  SessionPages pages;
  SessionPages::Slot slot(&pages);
  nghttp2_mem* mem = slot.mem();
  auto* block = static_cast<char*>(mem->realloc(nullptr, kBuffer, mem->mem_user_data));
  std::memset(block, 'x', kBuffer);
  block = static_cast<char*>(mem->realloc(block, kBuffer * 3, mem->mem_user_data));
  EXPECT_EQ(std::count(block, block + kBuffer, 'x'), static_cast<std::ptrdiff_t>(kBuffer));
  mem->free(block, mem->mem_user_data);
}

TEST(SessionPages, SlotsAreUsedAgain) {
  SessionPages pages;
  std::deque<SessionPages::Slot> slots;
  for (int i = 0; i < 200; ++i) {
    slots.emplace_back(&pages);
  }
  EXPECT_EQ(pages.slots_in_use(), 200U);
  slots.clear();
  EXPECT_EQ(pages.slots_in_use(), 0U);
  pages.trim();
}

// If nghttp2's blocks had other sizes this would tell: the saving would be gone, silently.
TEST(SessionPages, ARealSessionTakesBothBlocksAndGivesThemBack) {
  SessionPages pages;
  nghttp2_session_callbacks* callbacks = nullptr;
  ASSERT_EQ(nghttp2_session_callbacks_new(&callbacks), 0);
  {
    SessionPages::Slot slot(&pages);
    nghttp2_session* session = nullptr;
    ASSERT_EQ(nghttp2_session_server_new3(&session, callbacks, nullptr, nullptr, slot.mem()), 0);
    EXPECT_TRUE(slot.both_taken());
    nghttp2_session_del(session);
    EXPECT_FALSE(slot.both_taken());
  }
  nghttp2_session_callbacks_del(callbacks);
}

}  // namespace
}  // namespace steeple::rpc
