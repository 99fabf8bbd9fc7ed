// SPDX-License-Identifier: Apache-2.0

#include "lib/hcl/plugins.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/limits.h"
#include "lib/hcl/schema.h"
#include "lib/io/directory.h"

namespace steeple::hcl {
namespace {

struct Body {
  std::string command;
  std::vector<std::string> args;
  std::string checksum;
  bool enabled = true;
  std::optional<Value> data;
  std::optional<std::string> data_file;
};

// SPIRE does not look for unknown keys here, so a file that has some is accepted.
const Schema<Body>& body_schema() {
  static const auto schema =
      Schema<Body>("plugin", "A plugin: `Type \"name\" { ... }`.")
          .key("plugin_cmd", &Body::command, "path of an external plugin's program")
          .key("plugin_args", &Body::args, "its arguments")
          .key("plugin_checksum", &Body::checksum, "sha256 of the program, hex")
          .key("enabled", &Body::enabled, "whether the plugin is used")
          .key("plugin_data", &Body::data, "the plugin's own settings")
          .key("plugin_data_file", &Body::data_file,
               "file with the plugin's own settings, read again on SIGUSR1")
          .allow_unknown();
  return schema;
}

// A list of one block is the block: how JSON writes it.
void unwrap(std::optional<Value>& data) {
  while (data && data->kind == Kind::kList && data->items.size() == 1) {
    Value inner = std::move(data->items[0]);
    data = std::move(inner);
  }
}

void decode_one(const std::string& type, const Member& named, Context context,
                std::vector<PluginConfig>& out) {
  context.path = fmt::format("plugins.{}[\"{}\"]", type, named.key);
  bool duplicate = std::any_of(out.begin(), out.end(), [&](const PluginConfig& other) {
    return other.type == type && other.name == named.key;
  });
  if (duplicate) {
    context.report.error(
        named.at, context.path,
        fmt::format("plugin \"{}\"/\"{}\" declared more than once", type, named.key));
    return;
  }
  Body body;
  body_schema().decode_into(&body, detail::block_objects({&named.value}, context), context);
  unwrap(body.data);
  if (body.data && body.data_file) {
    context.report.error(named.at, context.path,
                         "only one of [plugin_data, plugin_data_file] can be used");
  }
  if (body.data && !body.data->is_object()) {
    context.report.error(body.data->at, context.path + ".plugin_data",
                         fmt::format("is a {}, not a block", kind_name(body.data->kind)));
    body.data.reset();
  }
  out.push_back({.type = type,
                 .name = named.key,
                 .command = std::move(body.command),
                 .args = std::move(body.args),
                 .checksum = std::move(body.checksum),
                 .enabled = body.enabled,
                 .data = std::move(body.data),
                 .data_file = body.data_file.value_or(""),
                 .at = named.at});
}

}  // namespace

std::vector<PluginConfig> decode_plugins(const Value& plugins, Report& report) {
  std::vector<PluginConfig> out;
  Context context{report, "plugins"};
  for (const Value* section : detail::block_objects({&plugins}, context)) {
    for (const Member& type : section->members) {
      Context inner{report, "plugins." + type.key};
      for (const Value* names : detail::block_objects({&type.value}, inner)) {
        for (const Member& named : names->members) {
          decode_one(type.key, named, inner, out);
        }
      }
    }
  }
  return out;
}

Result<Value> load_plugin_data(const PluginConfig& plugin) {
  if (plugin.data) {
    return *plugin.data;
  }
  if (plugin.data_file.empty()) {
    return make_object();
  }
  auto content = io::read_file(plugin.data_file, limits::kConfigBytesMax);
  if (!content.ok()) {
    return std::move(content).error().during("failed to read plugin configuration");
  }
  return parse(*content).during(
      fmt::format("failed to parse plugin configuration \"{}\"", plugin.data_file));
}

std::vector<const PluginConfig*> enabled_plugins(const std::vector<PluginConfig>& plugins,
                                                 std::string_view type) {
  std::vector<const PluginConfig*> out;
  for (const PluginConfig& plugin : plugins) {
    if (plugin.enabled && plugin.type == type) {
      out.push_back(&plugin);
    }
  }
  return out;
}

}  // namespace steeple::hcl
