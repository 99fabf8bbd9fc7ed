// SPDX-License-Identifier: Apache-2.0

// The plugins{} section of the server: which ones are built in and how many of each are allowed.
// Names that are not built are refused, never ignored.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lib/hcl/schema.h"
#include "lib/io/directory.h"
#include "server/bundlepublisher/catalog.h"
#include "server/nodeattestor/catalog.h"
#include "server/notifier/catalog.h"
#include "server/server.h"
#include "server/upstreamauthority/catalog.h"

namespace steeple::server {
namespace {

struct SqlConfig {
  std::string database_type;
  std::string connection_string;
  std::string ro_connection_string;
  std::string root_ca_path;
  std::string client_cert_path;
  std::string client_key_path;
  std::optional<int> max_open_conns;
  std::optional<int> max_idle_conns;
  std::optional<std::string> conn_max_lifetime;
  bool disable_migration = false;
};

const hcl::Schema<SqlConfig>& sql_schema() {
  static const auto schema =
      hcl::Schema<SqlConfig>("sql", "The datastore.")
          .key("database_type", &SqlConfig::database_type, "sqlite3")
          .key("connection_string", &SqlConfig::connection_string, "path of the database file",
               {.secret = true})
          .key("ro_connection_string", &SqlConfig::ro_connection_string, "ignored with sqlite3",
               {.secret = true})
          .key("root_ca_path", &SqlConfig::root_ca_path, "mysql only")
          .key("client_cert_path", &SqlConfig::client_cert_path, "mysql only")
          .key("client_key_path", &SqlConfig::client_key_path, "mysql only")
          .key("max_open_conns", &SqlConfig::max_open_conns, "without effect with sqlite3")
          .key("max_idle_conns", &SqlConfig::max_idle_conns, "without effect with sqlite3")
          .key("conn_max_lifetime", &SqlConfig::conn_max_lifetime, "without effect with sqlite3")
          .key("disable_migration", &SqlConfig::disable_migration,
               "refuse to start on a database of an older schema");
  return schema;
}

struct DiskKeysConfig {
  std::string keys_path;
};

const hcl::Schema<DiskKeysConfig>& disk_keys_schema() {
  static const auto schema =
      hcl::Schema<DiskKeysConfig>("disk", "Keys in a file.")
          .key("keys_path", &DiskKeysConfig::keys_path, "path of keys.json", {.required = true});
  return schema;
}

// The only plugin of a type that must be there exactly once.
Result<const hcl::PluginConfig*> exactly_one(const ServerConfig& config, std::string_view type) {
  auto plugins = hcl::enabled_plugins(config.plugins, type);
  if (plugins.size() != 1) {
    return invalid_argument(
        fmt::format("expected exactly 1 {} plugin, got {}", type, plugins.size()));
  }
  return plugins.front();
}

Error external_not_built(const hcl::PluginConfig& plugin) {
  return unimplemented(
      fmt::format("{} \"{}\": external plugins are not built yet", plugin.type, plugin.name));
}

Result<SqlConfig> sql_config(const ServerConfig& config) {
  const hcl::PluginConfig* plugin = TRY(exactly_one(config, "DataStore"));
  if (plugin->external()) {
    return invalid_argument(
        "pluggability for the DataStore is deprecated; only the built-in SQL "
        "plugin is supported");
  }
  if (plugin->name != "sql") {
    return invalid_argument(
        fmt::format("no built-in plugin \"{}\" for type \"DataStore\"", plugin->name));
  }
  SqlConfig sql = TRY(sql_schema().decode(TRY(hcl::load_plugin_data(*plugin))));
  if (sql.database_type.empty()) {
    return invalid_argument("datastore-sql: database_type must be set");
  }
  if (sql.connection_string.empty()) {
    return invalid_argument("datastore-sql: connection_string must be set");
  }
  if (sql.database_type != "sqlite3") {
    return unimplemented(
        fmt::format("datastore-sql: database_type \"{}\" is not built yet; use \"sqlite3\"",
                    sql.database_type));
  }
  return sql;
}

// Empty path: keys in memory.
Result<std::string> keys_path(const ServerConfig& config) {
  const hcl::PluginConfig* plugin = TRY(exactly_one(config, "KeyManager"));
  if (plugin->external()) {
    return external_not_built(*plugin);
  }
  if (plugin->name == "memory") {
    return std::string();
  }
  if (plugin->name == "disk") {
    auto disk = disk_keys_schema().decode(TRY(hcl::load_plugin_data(*plugin)));
    return std::move(TRY(std::move(disk).during("keymanager(disk)")).keys_path);
  }
  for (std::string_view known : {"aws_kms", "gcp_kms", "azure_key_vault", "hashicorp_vault"}) {
    if (plugin->name == known) {
      return unimplemented(fmt::format("KeyManager \"{}\" is not built yet", plugin->name));
    }
  }
  return invalid_argument(
      fmt::format("no built-in plugin \"{}\" for type \"KeyManager\"", plugin->name));
}

}  // namespace

Result<void> check_plugins(const ServerConfig& config) {
  TRY(sql_config(config));
  TRY(keys_path(config));
  for (const hcl::PluginConfig& plugin : config.plugins) {
    if (!plugin.enabled || plugin.type == "DataStore" || plugin.type == "KeyManager") {
      continue;
    }
    if (plugin.type == "NodeAttestor") {
      TRY(check_node_attestor(plugin));
    } else if (plugin.type == "UpstreamAuthority") {
      TRY(check_upstream_authority(plugin));
    } else if (plugin.type == "BundlePublisher") {
      TRY(check_bundle_publisher(plugin));
    } else if (plugin.type == "Notifier") {
      TRY(check_notifier(plugin));
    } else {
      TRY(refuse_unbuilt_plugin(plugin));
      return invalid_argument(fmt::format("unsupported plugin type \"{}\"", plugin.type));
    }
  }
  if (hcl::enabled_plugins(config.plugins, "UpstreamAuthority").size() > 1) {
    return invalid_argument("expected at most 1 UpstreamAuthority plugin");
  }
  return {};
}

Result<Stores> open_stores(const ServerConfig& config) {
  Stores stores;
  SqlConfig sql = TRY(sql_config(config));
  stores.disable_migration = sql.disable_migration;
  stores.database = TRY(sql::open_database(
      {.database_type = sql.database_type, .connection_string = sql.connection_string}));
  std::string path = TRY(keys_path(config));
  if (path.empty()) {
    stores.keys = keymanager::memory_key_manager();
    return stores;
  }
  std::size_t slash = path.rfind('/');
  std::string folder =
      slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  std::string file = slash == std::string::npos ? path : path.substr(slash + 1);
  std::shared_ptr<io::Directory> directory =
      TRY(io::open_directory(folder).during("keymanager(disk)"));
  stores.keys = TRY(keymanager::disk_key_manager(std::move(directory), std::move(file)));
  return stores;
}

}  // namespace steeple::server
