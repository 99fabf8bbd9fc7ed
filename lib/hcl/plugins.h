// SPDX-License-Identifier: Apache-2.0

// The plugins{} section: `Type "name" { plugin_cmd, plugin_args, plugin_checksum, enabled,
// plugin_data{} | plugin_data_file }`, in HCL or JSON, in the order of declaration (credential
// composers run in that order). plugin_data stays a subtree that the plugin's own schema decodes.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/hcl/parse.h"
#include "lib/hcl/report.h"
#include "lib/hcl/value.h"

namespace steeple::hcl {

struct PluginConfig {
  std::string type;     // "KeyManager"
  std::string name;     // "disk"
  std::string command;  // plugin_cmd: set for external plugins only
  std::vector<std::string> args;
  std::string checksum;  // sha256, hex
  bool enabled = true;
  std::optional<Value> data;  // plugin_data
  std::string data_file;      // plugin_data_file: read again on SIGUSR1
  Position at;

  bool external() const { return !command.empty(); }
};

// Decodes the value of `plugins`. Mistakes go to the report; so do plugins declared twice.
std::vector<PluginConfig> decode_plugins(const Value& plugins, Report& report);

// The configuration of a plugin: its plugin_data, the parsed plugin_data_file, or an empty object.
// Blocks when there is a file. SPIRE's words: "failed to read plugin configuration: open F: ...".
Result<Value> load_plugin_data(const PluginConfig& plugin);

// Those of a type, declaration order kept; disabled ones are left out.
std::vector<const PluginConfig*> enabled_plugins(const std::vector<PluginConfig>& plugins,
                                                 std::string_view type);

}  // namespace steeple::hcl
