// SPDX-License-Identifier: Apache-2.0

// The reading half of EntrySync: the first load, the cheap question whether something changed
// behind our back, and the full list that heals it.

#include <algorithm>
#include <utility>

#include "controller/reconcile/entry_sync.h"

namespace steeple::controller {

namespace entry_v1 = ::spire::api::server::entry::v1;

void EntrySync::start() {
  list();
  start_gc_timer();
}

void EntrySync::compare() {
  list_wanted_ = true;
  if (!reading_) {
    list();
  }
}

void EntrySync::list() {
  gc_timer_.cancel();
  list_wanted_ = false;
  list_found_something_ = false;
  ++deps_.counters.full_lists;
  actual_.list_began();
  list_page("");
}

void EntrySync::list_page(const std::string& token) {
  page_token_ = token;
  reading_ = true;
  entry_v1::ListEntriesRequest request;
  request.set_page_size(page_size_);
  request.set_page_token(token);
  read_call_ = deps_.spire.call<ListResponse>(
      method::kListEntries, request,
      [this](Result<ListResponse> page) { listed(std::move(page)); });
}

void EntrySync::listed(Result<ListResponse> page) {
  if (!page.ok() && page.error().code == Code::kResourceExhausted && page_size_ > 1) {
    page_size_ /= 2;  // the page was larger than a message may be
    gc_timer_.start(Duration::zero(), [this] { list_page(page_token_); });
    return;
  }
  if (!page.ok()) {
    ++deps_.counters.rpc_failures;
    Duration wait = read_backoff_.next();
    LOG_ERROR(deps_.log, "Failed to list SPIRE entries", {"error", page.error()},
              {"retry_in", format_go_duration(wait)});
    gc_timer_.start(wait, [this] { list(); });
    return;
  }
  for (const Entry& entry : page->entries()) {
    if (std::optional<EntryKey> key = actual_.listed(entry)) {
      list_found_something_ = true;
      dirty_.insert(*key);
      dirty_.insert(entry_key(entry));
    }
  }
  if (!page->next_page_token().empty()) {
    // Not from inside the answer of the call that this replaces.
    gc_timer_.start(Duration::zero(),
                    [this, token = page->next_page_token()] { list_page(token); });
    return;
  }
  list_done();
}

void EntrySync::list_done() {
  reading_ = false;
  read_backoff_.reset();
  last_list_ = deps_.loop.clock().steady();
  for (const EntryKey& key : actual_.list_ended()) {
    list_found_something_ = true;
    dirty_.insert(key);
  }
  // Somebody else's entries come and go on the same server: no reason to list all the time.
  bool in_vain = std::exchange(list_by_count_, false) && !list_found_something_;
  hint_wait_ =
      in_vain ? std::min<Duration>(hint_wait_ * 2, kFullCompareInterval) : options_.gc_interval;
  start_gc_timer();
  if (!std::exchange(loaded_, true)) {
    LOG_DEBUG(deps_.log, "SPIRE entries loaded", {"entries", actual_.total()});
    if (hooks_.loaded) {
      hooks_.loaded();
    }
  }
  poke();
}

void EntrySync::start_gc_timer() {
  if (!reading_) {
    gc_timer_.start(options_.gc_interval, [this] { gc(); });
  }
}

void EntrySync::gc() {
  if (list_wanted_ || deps_.loop.clock().steady() - last_list_ >= kFullCompareInterval) {
    list();
    return;
  }
  if (writing_) {
    start_gc_timer();  // the count is on the move
    return;
  }
  read_call_ = deps_.spire.call<CountResponse>(
      method::kCountEntries, entry_v1::CountEntriesRequest(),
      [this](Result<CountResponse> count) { counted(std::move(count)); });
}

void EntrySync::counted(Result<CountResponse> count) {
  bool moved = !count.ok();
  if (!count.ok()) {
    ++deps_.counters.rpc_failures;
    LOG_WARN(deps_.log, "Failed to count SPIRE entries", {"error", count.error()});
    list_wanted_ = true;  // whoever comes back may be another, or the same with an older database
  } else {
    moved = static_cast<std::size_t>(std::max(count->count(), 0)) != actual_.total() && !writing_;
  }
  bool soon = deps_.loop.clock().steady() - last_list_ >= hint_wait_;
  list_by_count_ = count.ok() && moved && soon && !list_wanted_;
  list_wanted_ = list_wanted_ || (moved && soon);
  if (count.ok() && list_wanted_) {
    gc_timer_.start(Duration::zero(), [this] { list(); });
  } else {
    start_gc_timer();
  }
}

}  // namespace steeple::controller
