// SPDX-License-Identifier: Apache-2.0

// The REST client of one API server. Everything on one loop; answers come as callbacks and the
// returned call cancels when it goes. A 401 makes it read the credentials anew and try once more;
// other refusals are the caller's (api_error.h). Objects are nlohmann::json: callers include
// <nlohmann/json.hpp> in their .cc.
//
//   call_ = client.get({kube::kNodes, "", "node1"}, [](Result<kube::ObjectPtr> node) { ... });

#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/io/loop.h"
#include "lib/kube/access.h"
#include "lib/kube/api_error.h"
#include "lib/kube/call.h"
#include "lib/kube/json.h"
#include "lib/kube/resource.h"
#include "lib/kube/transport.h"

namespace steeple::kube {

inline constexpr std::size_t kListPage = 500;

struct ClientOptions {
  std::string user_agent = "steeple";
  Duration timeout = std::chrono::seconds(30);  // of each request but watches
};

struct ListOptions {
  std::string label_selector = {};
  std::string field_selector = {};
  std::size_t page = kListPage;  // 0: everything in one answer
  // True: objects with metadata only (as PartialObjectMetadata), a fraction of the bytes.
  bool metadata_only = false;
};

struct WatchOptions {
  std::string label_selector = {};
  std::string field_selector = {};
  std::string resource_version = {};  // empty: begins with every object as ADDED
  Duration timeout = std::chrono::minutes(5);
  bool metadata_only = false;
};

struct WriteOptions {
  std::string field_manager = {};
  bool dry_run = false;
};

enum class PatchType : std::uint8_t { kMerge, kJson, kStrategic, kApply };

struct PatchOptions {
  PatchType type = PatchType::kMerge;
  std::string field_manager = {};  // required for kApply
  bool force = false;              // kApply: take fields over from other managers
  bool dry_run = false;
};

struct DeleteOptions {
  std::string uid = {};               // preconditions
  std::string resource_version = {};  //
  std::optional<int> grace_period_seconds = {};
  std::string propagation_policy = {};  // "Background", "Foreground", "Orphan"
};

enum class WatchEvent : std::uint8_t { kAdded, kModified, kDeleted, kBookmark };

using ObjectHandler = std::move_only_function<void(Result<ObjectPtr>)>;

struct ListHandlers {
  std::function<void(const nlohmann::json& object)> on_item;
  // The continue token expired: the list begins anew, what came so far must be forgotten.
  std::function<void()> on_restart;
  // Once, last: the resourceVersion to watch from.
  std::move_only_function<void(Result<std::string>)> on_done;
};

struct WatchHandlers {
  std::function<void(WatchEvent, const nlohmann::json& object)> on_event;
  // Once, last. Success: the server ended the stream in good order. is_gone: list again.
  std::move_only_function<void(Result<void>)> on_done;
};

class Client {
 public:
  struct Deps {
    io::Loop& loop;
    Transport& transport;
    Access& access;
  };

  // What is borrowed outlives the client, and the client its calls.
  Client(Deps deps, ClientOptions options);
  explicit Client(Deps deps) : Client(deps, ClientOptions{}) {}
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] CallPtr get(const Target& target, ObjectHandler handler);
  // POST to the collection of the target, or to its subresource.
  [[nodiscard]] CallPtr create(const Target& target, const nlohmann::json& object,
                               const WriteOptions& options, ObjectHandler handler);
  // PUT; the object's metadata.resourceVersion guards against lost updates.
  [[nodiscard]] CallPtr update(const Target& target, const nlohmann::json& object,
                               const WriteOptions& options, ObjectHandler handler);
  [[nodiscard]] CallPtr patch(const Target& target, const nlohmann::json& patch,
                              const PatchOptions& options, ObjectHandler handler);
  // The answer is the object, or a Status of success.
  [[nodiscard]] CallPtr remove(const Target& target, const DeleteOptions& options,
                               ObjectHandler handler);
  // Page by page, object by object. on_item must not destroy the call's owner's client.
  [[nodiscard]] CallPtr list(const Target& collection, ListOptions options, ListHandlers handlers);
  // The target may also be a single object by field selector. Bookmarks are asked for.
  [[nodiscard]] CallPtr watch(const Target& collection, const WatchOptions& options,
                              WatchHandlers handlers);
  // Any path of the server ("/readyz", "/version"): the body as it is.
  [[nodiscard]] CallPtr raw(std::string method, std::string path, Bytes body,
                            std::move_only_function<void(Result<Bytes>)> handler);

  // The same for what is long or endless, piece by piece; an error of `on_data` ends it. With an
  // ArrayReader: the kubelet's "/pods".
  [[nodiscard]] CallPtr stream(std::string path, std::function<Result<void>(ByteView)> on_data,
                               std::move_only_function<void(Result<void>)> on_done);

  io::Loop& loop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace steeple::kube
