// SPDX-License-Identifier: Apache-2.0

// SlotTable: a hash multimap from text to slot numbers that stores neither text nor pointers: 8
// bytes a cell, open addressing, linear probing. The owner compares texts. Internal to
// server/registration; one thread at a time.

#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "lib/base/check.h"

namespace steeple::server {

class SlotTable {
 public:
  static std::uint32_t hash_of(std::string_view text) {
    return static_cast<std::uint32_t>(std::hash<std::string_view>()(text));
  }

  void insert(std::uint32_t hash, std::uint32_t slot) {
    if ((used_ + 1) * 4 > cells_.size() * 3) {
      rebuild();
    }
    std::size_t at = hash & mask();
    while (cells_[at].slot < kGone) {
      at = (at + 1) & mask();
    }
    used_ += cells_[at].slot == kEmpty ? 1 : 0;
    cells_[at] = {hash, slot};
    ++size_;
  }

  void erase(std::uint32_t hash, std::uint32_t slot) {
    std::size_t at = hash & mask();
    while (cells_[at].slot != slot) {
      CHECK(cells_[at].slot != kEmpty);
      at = (at + 1) & mask();
    }
    cells_[at].slot = kGone;
    --size_;
  }

  // Calls `visit(slot)` for each slot with this hash until it returns true; true if it did.
  template <class Visit>
  bool find(std::uint32_t hash, Visit visit) const {
    if (cells_.empty()) {
      return false;
    }
    for (std::size_t at = hash & mask(); cells_[at].slot != kEmpty; at = (at + 1) & mask()) {
      if (cells_[at].slot != kGone && cells_[at].hash == hash && visit(cells_[at].slot)) {
        return true;
      }
    }
    return false;
  }

  std::size_t size() const { return size_; }
  std::size_t memory_bytes() const { return cells_.capacity() * sizeof(Cell); }

 private:
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFF;
  static constexpr std::uint32_t kGone = 0xFFFFFFFE;
  static constexpr std::size_t kCellsMin = 16;
  struct Cell {
    std::uint32_t hash = 0;
    std::uint32_t slot = kEmpty;
  };

  std::size_t mask() const { return cells_.size() - 1; }
  // Drops the gone cells; grows when it is really full.
  void rebuild() {
    std::size_t size = cells_.empty() ? kCellsMin : cells_.size();
    while ((size_ + 1) * 2 > size) {
      size *= 2;
    }
    std::vector<Cell> old(size);
    old.swap(cells_);
    size_ = 0;
    used_ = 0;
    for (const Cell& cell : old) {
      if (cell.slot < kGone) {
        insert(cell.hash, cell.slot);
      }
    }
  }

  std::vector<Cell> cells_;
  std::size_t size_ = 0;
  std::size_t used_ = 0;  // with the gone ones
};

}  // namespace steeple::server
