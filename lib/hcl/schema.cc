// SPDX-License-Identifier: Apache-2.0

#include "lib/hcl/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace steeple::hcl {
namespace detail {

void report_bad(const Value& value, Context& context, std::string message) {
  context.report.error(value.at, context.path, std::move(message));
}

void report_missing(Context& context, const std::string& key, Position at) {
  std::string path = context.path.empty() ? key : context.path + "." + key;
  context.report.error(at, path, "must be configured");
}

void report_deprecated(Context& context, const SchemaBase::Field& field, const Value& value) {
  context.report.warn(value.at, context.path,
                      fmt::format("is deprecated: {}", field.options.deprecated));
}

namespace {

// Lists of objects, however deep, are the objects; null is nothing.
template <class Each>
void each_object(const Value& value, Context& context, const Each& each) {
  if (value.is_object()) {
    each(value);
  } else if (value.kind == Kind::kList) {
    for (const Value& item : value.items) {
      each_object(item, context, each);
    }
  } else if (value.kind != Kind::kNull) {
    report_bad(value, context, fmt::format("is a {}, not a block", kind_name(value.kind)));
  }
}

}  // namespace

std::vector<const Value*> block_objects(const std::vector<const Value*>& values, Context& context) {
  std::vector<const Value*> objects;
  for (const Value* value : values) {
    each_object(*value, context, [&](const Value& object) { objects.push_back(&object); });
  }
  return objects;
}

std::vector<std::pair<std::string, std::vector<const Value*>>> labelled_objects(
    const std::vector<const Value*>& values, Context& context) {
  std::vector<std::pair<std::string, std::vector<const Value*>>> out;
  for (const Value* object : block_objects(values, context)) {
    for (const Member& member : object->members) {
      auto slot = std::find_if(out.begin(), out.end(),
                               [&](const auto& pair) { return pair.first == member.key; });
      if (slot == out.end()) {
        slot = out.insert(out.end(), {member.key, {}});
      }
      Context inner{context.report, context.path + "[\"" + member.key + "\"]"};
      for (const Value* body : block_objects({&member.value}, inner)) {
        slot->second.push_back(body);
      }
    }
  }
  return out;
}

}  // namespace detail

void SchemaBase::decode_into(void* target, const std::vector<const Value*>& objects,
                             Context& context) const {
  std::vector<std::vector<const Value*>> given(fields_.size());
  UnknownKeys unknown{section_, {}, {}};
  for (const Value* object : objects) {
    for (const Member& member : object->members) {
      auto field = std::find_if(fields_.begin(), fields_.end(), [&](const Field& candidate) {
        return same_key(candidate.key, member.key);
      });
      if (field != fields_.end()) {
        if (member.value.kind != Kind::kNull) {
          given[static_cast<std::size_t>(field - fields_.begin())].push_back(&member.value);
        }
      } else if (!unknown_allowed_) {
        unknown.keys.push_back(member.key);
        std::string path = context.path.empty() ? member.key : context.path + "." + member.key;
        unknown.places.push_back({member.at, path, "unknown key"});
      }
    }
  }
  if (!unknown.keys.empty()) {
    std::set<std::string> sorted(unknown.keys.begin(), unknown.keys.end());
    unknown.keys.assign(sorted.begin(), sorted.end());
    context.report.unknown.push_back(std::move(unknown));
  }
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    const Field& field = fields_[i];
    Context inner{context.report,
                  context.path.empty() ? field.key : context.path + "." + field.key};
    if (!given[i].empty()) {
      if (!field.options.deprecated.empty()) {
        detail::report_deprecated(inner, field, *given[i].back());
      }
      field.decode(target, given[i], inner);
      continue;
    }
    if (field.options.required) {
      detail::report_missing(context, field.key,
                             objects.empty() ? Position() : objects.front()->at);
    }
    if (field.absent) {
      field.absent(target, inner);
    }
  }
}

namespace {

std::string cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    out += c == '|' ? std::string("\\|") : c == '\n' ? std::string(" ") : std::string(1, c);
  }
  return out;
}

std::string bounds(const KeyOptions& options, bool duration) {
  auto number = [&](std::int64_t value) {
    return duration ? format_go_duration(Duration(value)) : std::to_string(value);
  };
  std::string out;
  if (!options.one_of.empty()) {
    out = fmt::format("one of `{}`", fmt::join(options.one_of, "`, `"));
  } else if (options.min && options.max) {
    out = fmt::format("{} to {}", number(*options.min), number(*options.max));
  } else if (options.min) {
    out = fmt::format("at least {}", number(*options.min));
  } else if (options.max) {
    out = fmt::format("at most {}", number(*options.max));
  }
  return out;
}

std::string meaning(const SchemaBase::Field& field) {
  std::string out = field.help;
  auto add = [&out](const std::string& text) {
    if (!text.empty()) {
      out += (out.empty() ? "" : "; ") + text;
    }
  };
  add(bounds(field.options, field.type == "duration"));
  add(field.options.required ? "required" : "");
  add(field.options.secret ? "secret" : "");
  add(field.options.deprecated.empty() ? "" : "deprecated: " + field.options.deprecated);
  return out;
}

void write_block(const SchemaBase& schema, const std::string& title, int level, std::string& out) {
  out += fmt::format("{} {}\n\n", std::string(static_cast<std::size_t>(std::min(level, 6)), '#'),
                     title);
  if (!schema.help().empty()) {
    out += schema.help() + "\n\n";
  }
  if (schema.fields().empty()) {
    out += "No settings.\n\n";
    return;
  }
  out += "| Key | Type | Default | Meaning |\n|---|---|---|---|\n";
  for (const SchemaBase::Field& field : schema.fields()) {
    std::string shown = field.default_text.empty() ? "" : "`" + cell(field.default_text) + "`";
    out += fmt::format("| `{}` | {} | {} | {} |\n", field.key, field.type, shown,
                       cell(meaning(field)));
  }
  out += '\n';
  for (const SchemaBase::Field& field : schema.fields()) {
    if (field.block != nullptr) {
      write_block(*field.block, title + "." + field.key, level + 1, out);
    }
  }
}

}  // namespace

std::string markdown(const SchemaBase& schema, std::string_view title) {
  std::string out;
  write_block(schema, std::string(title), 2, out);
  out.pop_back();
  return out;
}

}  // namespace steeple::hcl
