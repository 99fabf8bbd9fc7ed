// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/leader_election.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/kube/micro_time.h"

namespace steeple::kube {

using nlohmann::json;

namespace {

constexpr double kRetryJitter = 0.2;
// A lease of a client with a broken configuration must not lock us out for ever.
constexpr std::int64_t kForeignLeaseSecondsMax = 24 * 3600;

}  // namespace

struct LeaderElection::State {
  enum class Phase : std::uint8_t { kIdle, kAsking, kFollowing, kLeading, kReleasing, kStopped };

  State(Deps deps, LeaderElectionOptions with, LeaderElectionHandlers told)
      : client(deps.client),
        random(deps.random),
        options(std::move(with)),
        handlers(std::move(told)),
        target{kLeases, options.name_space, options.name},
        step(deps.client.loop()),
        deadline(deps.client.loop()) {}

  SteadyTime now() const { return client.loop().clock().steady(); }
  std::string wall() const { return micro_time(client.loop().clock().now()); }
  bool ours() const { return view_at(lease, {"spec", "holderIdentity"}) == options.identity; }

  // --- the record ---------------------------------------------------------------------------

  // Takes over what the server has. Whoever holds it may hold it for its duration from the moment
  // that we saw the record change: clocks of others are not trusted.
  void observe(const json& object) {
    if (lease.is_null() || find(lease, {"spec"}) == nullptr || find(object, {"spec"}) == nullptr ||
        lease["spec"] != object["spec"]) {
      observed_at = now();
    }
    lease = object;
    std::string holder = string_at(lease, {"spec", "holderIdentity"});
    if (holder != leader) {
      leader = std::move(holder);
      if (handlers.on_leader && !leader.empty()) {
        handlers.on_leader(leader);
      }
    }
  }

  // How long the present holder may still be leading.
  Duration held_for() const {
    if (leader.empty() || leader == options.identity) {
      return Duration::zero();
    }
    std::int64_t seconds =
        integer_at(lease, {"spec", "leaseDurationSeconds"},
                   std::chrono::ceil<std::chrono::seconds>(options.lease_duration).count());
    seconds = std::clamp<std::int64_t>(seconds, 0, kForeignLeaseSecondsMax);
    return std::max<Duration>(observed_at + std::chrono::seconds(seconds) - now(),
                              Duration::zero());
  }

  json claimed() const {
    json out = lease;
    if (out.is_null()) {
      out = {{"apiVersion", kLeases.api_version()},
             {"kind", kLeases.kind},
             {"metadata", {{"name", options.name}, {"namespace", options.name_space}}}};
    }
    std::int64_t transitions = integer_at(out, {"spec", "leaseTransitions"}, -1);
    if (!out["spec"].is_object()) {
      out["spec"] = json::object();
    }
    json& spec = out["spec"];
    if (!ours()) {
      spec["acquireTime"] = wall();
      spec["leaseTransitions"] = std::min<std::int64_t>(transitions + 1, INT32_MAX);
    }
    spec["holderIdentity"] = options.identity;
    spec["leaseDurationSeconds"] =
        std::chrono::ceil<std::chrono::seconds>(options.lease_duration).count();
    spec["renewTime"] = wall();
    return out;
  }

  // --- candidate ----------------------------------------------------------------------------

  void ask() {
    phase = Phase::kAsking;
    step.cancel();
    expect_answer();
    call = client.get(target, [this](Result<ObjectPtr> answer) {
      if (answer.ok()) {
        observe(**answer);
        decide();
      } else if (answer.error().code == Code::kNotFound) {
        lease = nullptr;
        leader.clear();
        claim();
      } else {
        ask_later(answer.error());
      }
    });
  }

  // An API server that accepts and says nothing must not hold us.
  void expect_answer() {
    deadline.start(options.renew_deadline, [this] {
      call.reset();
      ask_later(deadline_exceeded("the API server did not answer in time"));
    });
  }

  void decide() {
    if (held_for() == Duration::zero()) {
      claim();
    } else {
      follow();
    }
  }

  void claim() {
    phase = Phase::kAsking;
    expect_answer();
    SteadyTime sent = now();
    auto taken = [this, sent](Result<ObjectPtr> answer) {
      if (answer.ok()) {
        observe(**answer);
        lead(sent);
      } else if (is_conflict(answer.error()) || answer.error().code == Code::kAlreadyExists ||
                 answer.error().code == Code::kNotFound) {
        ask_later();  // another was quicker
      } else {
        ask_later(answer.error());
      }
    };
    call = lease.is_null() ? client.create(target, claimed(), {}, std::move(taken))
                           : client.update(target, claimed(), {}, std::move(taken));
  }

  void ask_later() {
    phase = Phase::kAsking;
    deadline.cancel();
    step.start(random.jitter(options.retry_period, kRetryJitter), [this] { ask(); });
  }
  void ask_later(const Error& error) {
    trouble(error);
    ask_later();
  }

  void follow() {
    phase = Phase::kFollowing;
    expect_expiry();
    call = client.watch(
        target,
        {.label_selector = {},
         .field_selector = "metadata.name=" + options.name,
         .resource_version = string_at(lease, {"metadata", "resourceVersion"}),
         .timeout = std::chrono::minutes(5)},
        {.on_event = [this](WatchEvent type, const json& object) { followed(type, object); },
         .on_done =
             [this](Result<void> how) {
               if (how.ok() || is_gone(how.error())) {
                 ask_later();
               } else {
                 ask_later(how.error());
               }
             }});
  }

  void expect_expiry() {
    deadline.start(held_for(), [this] { ask(); });
  }

  void followed(WatchEvent type, const json& object) {
    if (type == WatchEvent::kBookmark || phase != Phase::kFollowing) {
      return;
    }
    if (type == WatchEvent::kDeleted) {
      ask();
      return;
    }
    observe(object);
    if (held_for() == Duration::zero()) {
      claim();
    } else {
      expect_expiry();
    }
  }

  // --- leader -------------------------------------------------------------------------------

  void lead(SteadyTime sent) {
    renewed(sent);
    phase = Phase::kLeading;
    if (!std::exchange(leading, true)) {
      handlers.on_leading();
    }
  }

  void renewed(SteadyTime sent) {
    deadline.start(std::max<Duration>(sent + options.renew_deadline - now(), Duration::zero()),
                   [this] { lose(deadline_exceeded("the lease could not be renewed in time")); });
    step.start(options.retry_period, [this] { renew(); });
  }

  void renew() {
    SteadyTime sent = now();
    call = client.update(target, claimed(), {}, [this, sent](Result<ObjectPtr> answer) {
      if (answer.ok()) {
        observe(**answer);
        renewed(sent);
      } else if (is_conflict(answer.error()) || answer.error().code == Code::kNotFound) {
        look_again();
      } else {
        trouble(answer.error());
        step.start(random.jitter(options.retry_period, kRetryJitter), [this] { renew(); });
      }
    });
  }

  // Somebody wrote. If it was not our lease that went, we go on.
  void look_again() {
    call = client.get(target, [this](Result<ObjectPtr> answer) {
      if (!answer.ok()) {
        if (answer.error().code == Code::kNotFound) {
          lose(aborted_lease());
          return;
        }
        trouble(answer.error());
        step.start(random.jitter(options.retry_period, kRetryJitter), [this] { renew(); });
        return;
      }
      observe(**answer);
      if (ours()) {
        renew();
      } else {
        lose(aborted_lease());
      }
    });
  }
  static Error aborted_lease() { return {Code::kAborted, "another took the lease"}; }

  void lose(const Error& why) {
    call.reset();
    step.cancel();
    deadline.cancel();
    leading = false;
    phase = Phase::kIdle;
    trouble(why);
    handlers.on_lost();
    if (phase == Phase::kIdle) {
      ask_later();
    }
  }

  // --- the end ------------------------------------------------------------------------------

  void stop(io::Task task) {
    done = std::move(task);
    call.reset();
    step.cancel();
    deadline.cancel();
    if (!std::exchange(leading, false)) {
      finish();
      return;
    }
    phase = Phase::kReleasing;
    handlers.on_lost();
    deadline.start(options.renew_deadline, [this] { finish(); });
    release(true);
  }

  void release(bool again) {
    json out = lease;
    json& spec = out["spec"];
    spec["holderIdentity"] = "";
    spec["leaseDurationSeconds"] = 1;
    spec["renewTime"] = wall();
    spec["acquireTime"] = wall();
    call = client.update(target, out, {}, [this, again](Result<ObjectPtr> answer) {
      if (answer.ok() || !again || !is_conflict(answer.error())) {
        finish();
        return;
      }
      // A renewal that was under way came first.
      call = client.get(target, [this](Result<ObjectPtr> read) {
        if (read.ok() && view_at(**read, {"spec", "holderIdentity"}) == options.identity) {
          lease = **read;
          release(false);
        } else {
          finish();
        }
      });
    });
  }

  void finish() {
    phase = Phase::kStopped;
    deadline.cancel();
    leader.clear();
    if (done) {
      client.loop().post(std::move(done));
    }
  }

  void trouble(const Error& error) {
    if (handlers.on_trouble) {
      handlers.on_trouble(error);
    }
  }

  Client& client;
  Random& random;
  const LeaderElectionOptions options;
  const LeaderElectionHandlers handlers;
  const Target target;
  Phase phase = Phase::kIdle;
  json lease;  // as last seen; null: there is none
  std::string leader;
  SteadyTime observed_at{};
  bool leading = false;
  io::Task done;
  io::Timer step;      // to the next request
  io::Timer deadline;  // of what is under way: an answer, the others' lease, our own
  CallPtr call;
};

LeaderElection::LeaderElection(Deps deps, LeaderElectionOptions options,
                               LeaderElectionHandlers handlers)
    : state_(std::make_unique<State>(deps, std::move(options), std::move(handlers))) {}

LeaderElection::~LeaderElection() = default;

void LeaderElection::start() { state_->ask(); }
void LeaderElection::stop(io::Task done) { state_->stop(std::move(done)); }
bool LeaderElection::leading() const { return state_->leading; }
const std::string& LeaderElection::leader() const { return state_->leader; }

}  // namespace steeple::kube
