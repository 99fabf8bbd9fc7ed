// SPDX-License-Identifier: Apache-2.0

#include "lib/cli/printer.h"

#include <fmt/format.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>
#include <ostream>

namespace steeple::cli {
namespace {

void remove_nulls(nlohmann::json& value) {
  if (value.is_object()) {
    for (auto it = value.begin(); it != value.end();) {
      if (it->is_null()) {
        it = value.erase(it);
      } else {
        remove_nulls(*it);
        ++it;
      }
    }
  } else if (value.is_array()) {
    value.erase(std::remove_if(value.begin(), value.end(),
                               [](const nlohmann::json& item) { return item.is_null(); }),
                value.end());
    for (nlohmann::json& item : value) {
      remove_nulls(item);
    }
  }
}

// As encoding/json: these appear in strings only.
std::string escape_html(const std::string& json) {
  std::string out;
  out.reserve(json.size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    std::string_view rest = std::string_view(json).substr(i);
    if (c == '<' || c == '>' || c == '&') {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else if (rest.starts_with("\xE2\x80\xA8") || rest.starts_with("\xE2\x80\xA9")) {
      out += rest.starts_with("\xE2\x80\xA8") ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      out += c;
    }
  }
  return out;
}

Result<nlohmann::json> parse_clean(const std::string& text) {
  try {
    auto value = nlohmann::json::parse(text);
    remove_nulls(value);
    return value;
  } catch (const std::exception& problem) {
    return internal(problem.what());
  }
}

Result<std::string> dump(const nlohmann::json& value) {
  try {
    return escape_html(value.dump());
  } catch (const std::exception& problem) {
    return internal(problem.what());
  }
}

// The reference tells the marshalling error on stdout, as JSON, and fails.
Error print_json_error(Environment& environment, Error error) {
  if (auto text = dump(nlohmann::json{{"error", error.message}}); text.ok()) {
    environment.out << *text << '\n';
  }
  return error;
}

Result<void> print_line(Environment& environment, Result<std::string> json) {
  if (!json.ok()) {
    return print_json_error(environment, std::move(json).error());
  }
  if (!json->empty()) {
    environment.out << *json << '\n';
  }
  return {};
}

}  // namespace

void add_output_flag(FlagSet& flags, Output& output) {
  flags.add_value(
      "output",
      [&output](const std::string& text) -> Result<void> {
        std::string lower(text);
        std::transform(lower.begin(), lower.end(), lower.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
        std::string_view present = output.json() ? "json" : "pretty";
        if (output.given && present != text) {
          return invalid_argument(
              fmt::format("the output format has already been set to \"{}\"", present));
        }
        if (lower == "json") {
          output.format = OutputFormat::kJson;
        } else if (lower == "pretty" || lower == "prettyprint") {
          output.format = OutputFormat::kPretty;
        } else {
          return invalid_argument(
              fmt::format("bad formatter flag: unknown format option: \"{}\"", text));
        }
        output.given = true;
        return {};
      },
      "Desired output format (pretty, json); default: pretty.");
}

Result<std::string> normalize_json(const std::string& text) { return dump(TRY(parse_clean(text))); }

Result<std::string> to_json(const std::vector<const google::protobuf::Message*>& messages) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  auto all = nlohmann::json::array();
  for (const google::protobuf::Message* message : messages) {
    std::string text;
    auto status = google::protobuf::util::MessageToJsonString(*message, &text, options);
    if (!status.ok()) {
      return internal(status.ToString());
    }
    all.push_back(TRY(parse_clean(text)));
  }
  if (all.empty()) {
    return std::string();
  }
  return dump(all.size() == 1 ? all[0] : all);
}

Result<void> print(const Output& output, Environment& environment,
                   const std::vector<const google::protobuf::Message*>& messages,
                   const std::function<Result<void>(Environment&)>& pretty) {
  return output.json() ? print_line(environment, to_json(messages)) : pretty(environment);
}

Result<void> print_json_text(const Output& output, Environment& environment,
                             const std::string& json,
                             const std::function<Result<void>(Environment&)>& pretty) {
  return output.json() ? print_line(environment, normalize_json(json)) : pretty(environment);
}

}  // namespace steeple::cli
