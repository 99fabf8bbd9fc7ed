// SPDX-License-Identifier: Apache-2.0

#include "server/ca/rotation.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

namespace steeple::server {

namespace {

WallTime before_end(WallTime issued_at, WallTime not_after, int divisor, Duration cap) {
  return not_after - std::min<Duration>((not_after - issued_at) / divisor, cap);
}

std::string other_slot(const std::string& id) { return id == "A" ? "B" : "A"; }

std::string_view status_name(SlotStatus status) {
  switch (status) {
    case SlotStatus::kPrepared:
      return "PREPARED";
    case SlotStatus::kActive:
      return "ACTIVE";
    case SlotStatus::kOld:
      return "OLD";
    case SlotStatus::kUnknown:
      break;
  }
  return "UNKNOWN";
}

void retire(Slot& slot) {
  slot.x509.reset();
  slot.jwt.reset();
  if (!slot.authority_id.empty()) {
    slot.status = SlotStatus::kOld;
  }
}

}  // namespace

WallTime preparation_time(WallTime issued_at, WallTime not_after) {
  return before_end(issued_at, not_after, kPreparationDivisor, kPreparationCap);
}

WallTime activation_time(WallTime issued_at, WallTime not_after) {
  return before_end(issued_at, not_after, kActivationDivisor, kActivationCap);
}

Rotation::Rotation(Deps deps) : deps_(std::move(deps)) {}

// Can sign, and what it signs now is valid. A certificate of the future (the clock went back) is
// no better than an expired one: nobody accepts its chain.
bool Rotation::usable(const Slot& slot) const {
  const WallTime now = deps_.clock.now();
  return !slot.empty() && slot.not_before <= now && now < slot.not_after;
}

Result<std::optional<Slot>> Rotation::load(const JournalEntry& entry, const jose::Bundle* bundle) {
  auto slot = deps_.kind.load(entry, bundle);
  if (slot.ok()) {
    return std::optional<Slot>(std::move(slot).take());
  }
  const bool unusable = slot.error().code == Code::kNotFound;
  Logger log = deps_.log.with({"slot", entry.slot_id})
                   .with({"issued_at", format_go_utc(from_unix_seconds(entry.issued_at))})
                   .with({"status", status_name(entry.status)})
                   .with({"local_authority_id", entry.authority_id});
  if (deps_.kind.names().upstream_field) {
    log = log.with({"upstream_authority_id", entry.upstream_authority_id});
  }
  if (unusable) {
    LOG_WARN(log, fmt::format("{} slot unusable", deps_.kind.names().slot_noun),
             {"error", slot.error()});
    return std::optional<Slot>();
  }
  LOG_ERROR(log, fmt::format("{} slot failed to load", deps_.kind.names().slot_noun),
            {"error", slot.error()});
  return std::move(slot).error();
}

Result<void> Rotation::restore(const jose::Bundle* bundle) {
  std::optional<Slot> active;
  std::optional<Slot> other;  // the newest that is not active
  // Newest first: a prepared entry always stands behind the old ones.
  for (const JournalEntry& entry :
       std::views::reverse(deps_.journal.entries(deps_.kind.names().kind))) {
    std::optional<Slot> slot = TRY(load(entry, bundle));
    if (slot && slot->status == SlotStatus::kActive && !active) {
      active = std::move(slot);
    } else if (slot && slot->status != SlotStatus::kActive && !other) {
      other = std::move(slot);
    }
    if (active && other) {
      break;
    }
  }
  if (other && other->status == SlotStatus::kOld) {
    retire(*other);
  }
  if (active) {
    current_ = std::move(*active);
    next_ =
        other && other->id != current_.id ? std::move(*other) : Slot{.id = other_slot(current_.id)};
  } else if (other) {
    // Prepared and never activated, or of a time without statuses; an old one is empty.
    current_ = std::move(*other);
    next_ = Slot{.id = other_slot(current_.id)};
  }
  if (usable(current_)) {
    activate_current({});
  }
  return {};
}

Result<void> Rotation::tick() {
  if (!usable(current_)) {
    if (!usable(next_)) {
      Slot& slot = current_.empty() ? current_ : next_;
      TRY(prepare_into(slot));
    }
    if (usable(next_)) {
      TRY(activate_prepared());
    } else {
      activate_current({});
    }
  }
  const WallTime now = deps_.clock.now();
  Result<void> prepared;
  if (!usable(next_) && now > preparation_time(current_.issued_at, current_.not_after)) {
    prepared = prepare_into(next_);
  }
  if (usable(next_) && now > activation_time(current_.issued_at, current_.not_after)) {
    TRY(activate_prepared());
  }
  return prepared;
}

Result<void> Rotation::prepare() { return prepare_into(current_.empty() ? current_ : next_); }

Result<void> Rotation::prepare_into(Slot& slot) {
  const auto& names = deps_.kind.names();
  Logger log = deps_.log.with({"slot", slot.id});
  LOG_DEBUG(log, fmt::format("Preparing {}", names.noun));
  CallCounter call(deps_.metrics, deps_.clock, names.prepare_metric);
  // The key of this slot is replaced now: whatever it held cannot sign after a restart.
  retire(slot);
  auto made = deps_.kind.make(slot.id);
  call.done(made);
  slot = TRY(std::move(made));
  slot.status = SlotStatus::kPrepared;
  auto stored = deps_.journal.append(names.kind, deps_.kind.to_entry(slot));
  if (!stored.ok()) {
    LOG_ERROR(log, fmt::format("Unable to append {} to journal", names.noun),
              {"error", stored.error()});
  }
  log = log.with({"issued_at", format_go_utc(slot.issued_at)})
            .with({"expiration", format_go_utc(slot.not_after)})
            .with({"local_authority_id", slot.authority_id});
  if (names.upstream_field) {
    log = log.with({"self_signed", slot.x509 && slot.x509->upstream_chain.empty()})
              .with({"upstream_authority_id", slot.upstream_authority_id});
  }
  LOG_INFO(log, fmt::format("{} prepared", names.noun));
  return {};
}

Result<void> Rotation::activate_prepared() {
  if (next_.empty() || next_.status != SlotStatus::kPrepared) {
    return failed_precondition(fmt::format("no {} is prepared", deps_.kind.names().noun));
  }
  std::swap(current_, next_);
  retire(next_);
  activate_current(next_.authority_id);
  return {};
}

void Rotation::activate_current(const std::string& old_id) {
  const auto& names = deps_.kind.names();
  Logger log = deps_.log.with({"slot", current_.id})
                   .with({"issued_at", format_go_utc(current_.issued_at)})
                   .with({"expiration", format_go_utc(current_.not_after)})
                   .with({"local_authority_id", current_.authority_id});
  if (names.upstream_field) {
    log = log.with({"upstream_authority_id", current_.upstream_authority_id});
  }
  LOG_INFO(log, fmt::format("{} activated", names.noun));
  deps_.metrics.count(names.activate_metric);
  current_.status = SlotStatus::kActive;
  auto stored = deps_.journal.activate(names.kind, current_.authority_id, old_id);
  if (!stored.ok()) {
    // It signs all the same: its authority is in the bundle. `Journal::save` tries again.
    LOG_ERROR(
        log,
        fmt::format("Failed to update to activated status on {} journal entry", names.slot_noun),
        {"error", stored.error()});
  }
  deps_.kind.activate(current_);
}

}  // namespace steeple::server
