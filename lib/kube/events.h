// SPDX-License-Identifier: Apache-2.0

// Events about objects, for `kubectl describe`: core/v1 Events, which every role that may write
// events at all allows. Equal events become one with a count; many that differ only in their text
// become one "combined" event; one object that causes a storm is cut off, as client-go does. Never
// an error to the caller: events are told, or dropped and counted. On the loop.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "lib/base/random.h"
#include "lib/kube/client.h"

namespace steeple::kube {

struct ObjectReference {
  std::string api_version;
  std::string kind;
  std::string name_space = {};  // empty: the event stands in "default"
  std::string name;
  std::string uid = {};
  std::string resource_version = {};
};

enum class EventType : std::uint8_t { kNormal, kWarning };

struct Event {
  ObjectReference about;
  EventType type = EventType::kNormal;
  std::string reason;   // UpperCamelCase, for machines
  std::string message;  // for people; cut at 1024 bytes
};

struct EventOptions {
  std::string component;      // "spire-controller-manager"
  std::string instance = {};  // of this process, such as the pod's name
  std::size_t remembered_max = 4096;
  std::size_t queue_max = 256;  // waiting to be sent
  // client-go's: an object may cause this many at once, then one per interval.
  std::size_t burst = 25;
  Duration refill = std::chrono::minutes(5);
  // More than this many that differ in text only, within the interval, are combined.
  std::size_t similar_max = 10;
  Duration similar_interval = std::chrono::minutes(10);
};

class EventRecorder {
 public:
  struct Deps {
    Client& client;
    Random& random;
  };
  // `on_trouble` hears of events that the server refused or that could not be sent.
  EventRecorder(Deps deps, EventOptions options, std::function<void(const Error&)> on_trouble = {});
  ~EventRecorder();  // what is not sent is dropped
  EventRecorder(const EventRecorder&) = delete;
  EventRecorder& operator=(const EventRecorder&) = delete;

  void record(Event event);
  std::uint64_t sent() const;
  std::uint64_t dropped() const;
  bool idle() const;  // nothing waits and nothing is under way

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace steeple::kube
