// SPDX-License-Identifier: Apache-2.0

// An API server in memory behind the transport seam: lists with pages, watches with bookmarks and
// versions, merge patches of objects and of status, creation of events and leases. Enough of one
// for whole controllers on simulated time; the real one judges in tests/kubernetes.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/io/loop.h"
#include "lib/kube/transport.h"

namespace steeple::controller {

class FakeApiServer {
 public:
  using json = nlohmann::json;

  explicit FakeApiServer(Clock& clock) : clock_(clock) {}
  FakeApiServer(const FakeApiServer&) = delete;
  FakeApiServer& operator=(const FakeApiServer&) = delete;

  // The way to it for clients of this loop. Must not outlive the server.
  std::unique_ptr<kube::Transport> transport(io::Loop& loop);

  // `collection` is a path without name and name space: "/api/v1/pods". Creates or replaces; a
  // changed spec counts up the generation.
  void put(const std::string& collection, json object);
  void remove(const std::string& collection, const std::string& name_space,
              const std::string& name);
  json get(const std::string& collection, const std::string& name_space,
           const std::string& name) const;
  std::vector<json> all(const std::string& collection) const;

  // All watches end, as when the server restarts.
  void cut_watches();
  // Requests of this method whose path begins so.
  int count(const std::string& method, const std::string& path) const;
  // Asked before each request; a status other than 0 is answered instead.
  std::function<int(const std::string& method, const std::string& path)> refuse;

 private:
  struct Exchange;
  class Handle;
  class Way;
  struct Place {
    std::string collection;
    std::string name_space;
    std::string name;
    std::string subresource;
  };

  static Place parse_path(std::string path);
  static std::string query_value(const std::string& query, const std::string& name);
  void serve(const std::shared_ptr<Exchange>& exchange);
  void answer(const std::shared_ptr<Exchange>& exchange, int status, const json& body);
  void list(const std::shared_ptr<Exchange>& exchange, const Place& place,
            const std::string& query);
  void watch(const std::shared_ptr<Exchange>& exchange, const Place& place,
             const std::string& query);
  void write(const std::shared_ptr<Exchange>& exchange, const Place& place);
  void changed(const char* type, const std::string& collection, const json& object);
  static bool wanted(const json& object, const Place& place, const std::string& query);

  Clock& clock_;
  std::uint64_t version_ = 100;
  std::map<std::string, std::map<std::string, json>> objects_;  // collection, "ns/name"
  struct Change {
    std::uint64_t version;
    std::string type;
    std::string collection;
    json object;
  };
  std::vector<Change> history_;
  std::vector<std::shared_ptr<Exchange>> watches_;
  std::map<std::string, int> counts_;
};

}  // namespace steeple::controller
