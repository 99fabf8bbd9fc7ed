// SPDX-License-Identifier: Apache-2.0

// All that only the leader does, in one object that is made when this process leads and destroyed
// when it no longer does: feeds, engine, federation, status. On the loop.

#pragma once

#include <functional>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include "controller/config/controller_config.h"
#include "controller/reconcile/engine.h"
#include "controller/reconcile/federation_sync.h"
#include "controller/reconcile/kube_feed.h"
#include "controller/reconcile/static_manifests.h"
#include "controller/reconcile/status_writer.h"
#include "lib/io/workers.h"

namespace steeple::controller {

// ignoreNamespaces: a name is ignored when one of the expressions is found in it.
class IgnoredNamespaces {
 public:
  static Result<IgnoredNamespaces> compile(const std::vector<std::string>& expressions);
  bool contains(const std::string& name) const;

 private:
  std::vector<std::regex> expressions_;
};

class Reconciler {
 public:
  struct Deps {
    io::Loop& loop;
    io::Workers& workers;
    kube::Client* client;         // null in static mode
    kube::EventRecorder* events;  // null: none
    SpireApi& spire;
    Random& random;
    Logger log;
    Counters& counters;
    Environment environment;
  };
  struct Options {
    bool dry_run = false;
    // What events about the controller itself are about; no name: no such events.
    kube::ObjectReference self = {};
  };
  struct Hooks {
    std::function<void()> ready = {};
  };

  // An error when the configuration cannot be used.
  static Result<std::unique_ptr<Reconciler>> create(const ControllerConfig& config, Deps deps,
                                                    Options options, Hooks hooks);
  // `create` is the way to one: only it can make a Private.
  class Private {
    friend class Reconciler;
    Private() = default;
  };
  Reconciler(Private, ControllerConfig config, Deps deps, Options options, Hooks hooks);
  ~Reconciler();
  Reconciler(const Reconciler&) = delete;
  Reconciler& operator=(const Reconciler&) = delete;

  void start();
  // Everything is known, and differences are being written.
  bool ready() const;
  // All that can be done now is done.
  bool idle() const;
  // With dry_run, once everything is known; nothing before.
  std::optional<std::vector<std::string>> plan() const;
  const Engine& engine() const { return *engine_; }
  Engine& engine() { return *engine_; }

 private:
  bool entries_wanted() const;
  void make_engine(Renderer renderer, IgnoredNamespaces ignored);
  void make_federation();
  void make_kube_feed(Projection needs);
  void make_manifests();
  void follow_domains();
  void touched(const std::set<SourceName>& names);
  void refused(const std::string& text);

  const ControllerConfig config_;
  Deps deps_;
  const Options options_;
  const Hooks hooks_;
  std::unique_ptr<StatusWriter> status_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<FederationSync> federation_;
  std::unique_ptr<KubeFeed> feed_;
  std::unique_ptr<kube::Informer<FederatedPtr>> domains_;
  std::unique_ptr<StaticManifests> manifests_;
};

}  // namespace steeple::controller
