// SPDX-License-Identifier: Apache-2.0

// The one rotation. A kind of authority (X.509 CA, JWT key) has two slots, A and B: one active, the
// other prepared before the active one's end, then activated, whereupon the first is old. What
// differs between the kinds is behind AuthorityKind. A failing preparation leaves the active
// authority in place. Used by one thread at a time; calls block.
//
//   lifetime   |------------------|--------------|-------|
//              issued             prepare next   activate next   not_after
//              prepare  at not_after - min(lifetime / 2, 30 days)
//              activate at not_after - min(lifetime / 6,  7 days)

#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/jose/bundle.h"
#include "lib/telemetry/log.h"
#include "lib/telemetry/metrics.h"
#include "server/ca/authority.h"
#include "server/ca/journal.h"

namespace steeple::server {

inline constexpr int kPreparationDivisor = 2;
inline constexpr auto kPreparationCap = std::chrono::hours(30 * 24);
inline constexpr int kActivationDivisor = 6;
inline constexpr auto kActivationCap = std::chrono::hours(7 * 24);

WallTime preparation_time(WallTime issued_at, WallTime not_after);
WallTime activation_time(WallTime issued_at, WallTime not_after);

// What X.509 and JWT differ in.
class AuthorityKind {
 public:
  struct Names {
    JournalKind kind;
    std::string_view noun;             // "X509 CA": in "X509 CA prepared"
    std::string_view slot_noun;        // "X509CA": in "X509CA slot unusable"
    bool upstream_field;               // log lines name the upstream authority
    std::string_view prepare_metric;   // "ca.manager.x509_ca.prepare"
    std::string_view activate_metric;  // "ca.manager.x509_ca.activate"
  };
  virtual ~AuthorityKind() = default;
  virtual const Names& names() const = 0;
  // Generates the key of that slot, makes the authority and puts it into the bundle: when this
  // returns OK, everybody may learn to trust it, and nothing was signed with it yet.
  virtual Result<Slot> make(const std::string& slot_id) = 0;
  // A slot from the journal; kNotFound with the reason ("slot expired") when it cannot be used.
  // `bundle` is the stored one, null when there is none.
  virtual Result<Slot> load(const JournalEntry& entry, const jose::Bundle* bundle) = 0;
  virtual JournalEntry to_entry(const Slot& slot) const = 0;
  // From now on it signs.
  virtual void activate(const Slot& slot) = 0;
};

class Rotation {
 public:
  struct Deps {
    Clock& clock;
    AuthorityKind& kind;
    Journal& journal;
    Logger log;
    Metrics& metrics;
  };

  explicit Rotation(Deps deps);
  Rotation(const Rotation&) = delete;
  Rotation& operator=(const Rotation&) = delete;

  // Takes over what the journal knows, and signs with it again if it is still valid.
  Result<void> restore(const jose::Bundle* bundle);
  // Prepares and activates what is due.
  Result<void> tick();
  // Now, whatever the time: an operator, or a tainted upstream. Replaces an authority that was
  // prepared but never used.
  Result<void> prepare();
  // The prepared authority becomes the active one. kFailedPrecondition when there is none.
  Result<void> activate_prepared();

  const Slot& current() const { return current_; }
  const Slot& next() const { return next_; }

 private:
  Result<std::optional<Slot>> load(const JournalEntry& entry, const jose::Bundle* bundle);
  bool usable(const Slot& slot) const;
  Result<void> prepare_into(Slot& slot);
  void activate_current(const std::string& old_id);

  Deps deps_;
  Slot current_{.id = "A"};
  Slot next_{.id = "B"};
};

}  // namespace steeple::server
