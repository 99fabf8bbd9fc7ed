// SPDX-License-Identifier: Apache-2.0

// One schema per component declares each setting once: key, where it lives in the plain struct,
// help, bounds, whether it is secret or deprecated. The default is the struct's own initialiser.
// From it come the decoder, the unknown-key report, `validate` and the documentation.
//   struct ServerConfig { std::string bind_address = "0.0.0.0"; int bind_port = 8081; };
//   const Schema<ServerConfig>& schema() {
//     static const auto schema = Schema<ServerConfig>("server", "The server's own settings.")
//         .key("bind_address", &ServerConfig::bind_address, "address of the TCP endpoint")
//         .key("bind_port", &ServerConfig::bind_port, "its port", {.min = 1, .max = 65535});
//     return schema;
//   }
//
// Typing is weak, as in the reference: string, number and bool stand for each other, a one-element
// list for a block, a scalar for a one-element list; repeated scalars: the last wins, lists append,
// blocks merge; null means unset. Immutable: any thread.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/base/secret_bytes.h"
#include "lib/hcl/report.h"
#include "lib/hcl/value.h"

namespace steeple::hcl {

struct KeyOptions {
  std::string default_text = {};         // for the documentation, when the struct cannot say it
  std::optional<std::int64_t> min = {};  // numbers; durations in nanoseconds
  std::optional<std::int64_t> max = {};
  std::vector<std::string> one_of = {};  // strings: the only values, without regard to case
  bool required = false;
  bool secret = false;          // never shown in a message
  std::string deprecated = {};  // what to use instead; a set key warns
};

// Where decoding stands.
struct Context {
  Report& report;
  std::string path;
};

class SchemaBase {
 public:
  struct Field {
    std::string key;
    std::string type;  // "string", "list of strings", "duration", "block", ...
    std::string help;
    std::string default_text;
    KeyOptions options;
    const SchemaBase* block = nullptr;  // the schema of a block, for the documentation
    // Gets every value given for the key, in order of appearance.
    std::function<void(void* target, const std::vector<const Value*>& values, Context& context)>
        decode = {};
    std::function<void(void* target, Context& context)> absent = {};  // may be empty
  };

  const std::string& section() const { return section_; }
  const std::string& help() const { return help_; }
  const std::vector<Field>& fields() const { return fields_; }
  bool unknown_allowed() const { return unknown_allowed_; }

  // Decodes the members of the objects into the struct at `target`.
  void decode_into(void* target, const std::vector<const Value*>& objects, Context& context) const;

 protected:
  SchemaBase(std::string section, std::string help)
      : section_(std::move(section)), help_(std::move(help)) {}

  std::string section_;
  std::string help_;
  std::vector<Field> fields_;
  bool unknown_allowed_ = false;
};

namespace detail {

// Scalar readers with the weak typing above. `read` reports and leaves the target alone on error.
template <class M>
struct Reader;  // string, bool, int, int64, uint64, double, Duration, list of strings, SecretBytes,
                // map of strings, Value; specialised in reader.h

// Blocks: an object, or a list of objects, become the list of objects. Reports anything else.
std::vector<const Value*> block_objects(const std::vector<const Value*>& values, Context& context);
// Labelled blocks: (label, objects of that label) in order of first appearance.
std::vector<std::pair<std::string, std::vector<const Value*>>> labelled_objects(
    const std::vector<const Value*>& values, Context& context);
void report_missing(Context& context, const std::string& key, Position at);
void report_deprecated(Context& context, const SchemaBase::Field& field, const Value& value);
std::optional<std::string> read_string(const Value& value, Context& context);
void report_bad(const Value& value, Context& context, std::string message);

}  // namespace detail
}  // namespace steeple::hcl

#include "lib/hcl/reader.h"

namespace steeple::hcl {

template <class T>
class Schema final : public SchemaBase {
 public:
  using Struct = T;

  // `section` is the name that SPIRE's unknown-key report uses ("server", "health check").
  explicit Schema(std::string section, std::string help = {})
      : SchemaBase(std::move(section), std::move(help)) {}

  // A value: std::string, bool, int, std::int64_t, std::uint64_t, double, Duration (Go duration
  // text), std::vector<std::string>, std::map<std::string, std::string>, SecretBytes, Value (the
  // subtree as it stands), or std::optional of one of them (told apart from "not set").
  template <class M>
  Schema&& key(std::string name, M T::* member, std::string help,
               const KeyOptions& options = {}) && {
    Field field = make(std::move(name), detail::Reader<M>::kType, std::move(help), options);
    if (field.default_text.empty()) {
      field.default_text = detail::Reader<M>::text(T{}.*member);
    }
    field.decode = [member, options](void* target, const std::vector<const Value*>& values,
                                     Context& context) {
      detail::Reader<M>::read(static_cast<T*>(target)->*member, values, options, context);
    };
    return add(std::move(field));
  }

  // A string that becomes a checked type at once: trust domains, SPIFFE IDs, levels, enumerations.
  template <class M>
  Schema&& parsed(std::string name, M T::* member,
                  std::function<Result<M>(const std::string& text)> parse, std::string help,
                  const KeyOptions& options = {}) && {
    Field field = make(std::move(name), "string", std::move(help), options);
    field.decode = [member, parse = std::move(parse)](
                       void* target, const std::vector<const Value*>& values, Context& context) {
      for (const Value* value : values) {
        auto text = detail::read_string(*value, context);
        if (!text) {
          continue;
        }
        Result<M> result = parse(*text);
        if (result.ok()) {
          static_cast<T*>(target)->*member = std::move(result).take();
        } else {
          detail::report_bad(*value, context, result.error().message);
        }
      }
    };
    return add(std::move(field));
  }

  // A block that is always there, with defaults.
  template <class B>
  Schema&& block(std::string name, B T::* member, const Schema<B>& schema,
                 const KeyOptions& options = {}) && {
    Field field = make_block(std::move(name), "block", schema, options);
    field.decode = [member, &schema](void* target, const std::vector<const Value*>& values,
                                     Context& context) {
      schema.decode_into(&(static_cast<T*>(target)->*member),
                         detail::block_objects(values, context), context);
    };
    field.absent = [member, &schema](void* target, Context& context) {
      schema.decode_into(&(static_cast<T*>(target)->*member), {}, context);
    };
    return add(std::move(field));
  }

  // A block that may be missing.
  template <class B>
  Schema&& block(std::string name, std::optional<B> T::* member, const Schema<B>& schema,
                 const KeyOptions& options = {}) && {
    Field field = make_block(std::move(name), "block", schema, options);
    field.decode = [member, &schema](void* target, const std::vector<const Value*>& values,
                                     Context& context) {
      auto& slot = static_cast<T*>(target)->*member;
      slot.emplace();
      schema.decode_into(&*slot, detail::block_objects(values, context), context);
    };
    return add(std::move(field));
  }

  // Repeated blocks, or a list of objects, each its own element.
  template <class B>
  Schema&& blocks(std::string name, std::vector<B> T::* member, const Schema<B>& schema,
                  const KeyOptions& options = {}) && {
    Field field = make_block(std::move(name), "list of blocks", schema, options);
    field.decode = [member, &schema](void* target, const std::vector<const Value*>& values,
                                     Context& context) {
      for (const Value* object : detail::block_objects(values, context)) {
        schema.decode_into(&(static_cast<T*>(target)->*member).emplace_back(), {object}, context);
      }
    };
    return add(std::move(field));
  }

  // `name "label" { ... }`: one element per label, in order of appearance.
  template <class B>
  Schema&& labelled(std::string name, std::vector<std::pair<std::string, B>> T::* member,
                    const Schema<B>& schema, const KeyOptions& options = {}) && {
    Field field = make_block(std::move(name), "labelled blocks", schema, options);
    field.decode = [member, &schema](void* target, const std::vector<const Value*>& values,
                                     Context& context) {
      for (auto& [label, objects] : detail::labelled_objects(values, context)) {
        auto& slot = (static_cast<T*>(target)->*member).emplace_back();
        slot.first = label;
        Context inner{context.report, context.path + "[\"" + label + "\"]"};
        schema.decode_into(&slot.second, objects, inner);
      }
    };
    return add(std::move(field));
  }

  // The keys of another schema at this level: settings that components share (log_level, ...).
  template <class B>
  Schema&& include(B T::* member, const Schema<B>& schema) && {
    for (const Field& other : schema.fields()) {
      Field field = other;
      field.decode = [member, decode = other.decode](
                         void* target, const std::vector<const Value*>& values, Context& context) {
        decode(&(static_cast<T*>(target)->*member), values, context);
      };
      if (other.absent) {
        field.absent = [member, absent = other.absent](void* target, Context& context) {
          absent(&(static_cast<T*>(target)->*member), context);
        };
      }
      add(std::move(field));
    }
    return std::move(*this);
  }

  // Keys that no one knows pass silently here, as in the blocks that SPIRE does not check.
  Schema&& allow_unknown() && {
    unknown_allowed_ = true;
    return std::move(*this);
  }

  // Decodes a whole document or block. Always gives a struct; what was wrong is in the report.
  T decode(const Value& object, Report& report) const {
    T out{};
    Context context{report, {}};
    decode_into(&out, detail::block_objects({&object}, context), context);
    return out;
  }
  // The same, any mistake or unknown key being an error that names them all.
  Result<T> decode(const Value& object) const {
    Report report;
    T out = decode(object, report);
    TRY(report.result());
    return out;
  }

 private:
  static Field make(std::string name, std::string_view type, std::string help,
                    const KeyOptions& options) {
    return {.key = std::move(name),
            .type = std::string(type),
            .help = std::move(help),
            .default_text = options.default_text,
            .options = options};
  }
  static Field make_block(std::string name, std::string_view type, const SchemaBase& schema,
                          const KeyOptions& options) {
    Field field = make(std::move(name), type, schema.help(), options);
    field.block = &schema;
    return field;
  }
  Schema&& add(Field field) {
    fields_.push_back(std::move(field));
    return std::move(*this);
  }
};

// The settings as Markdown: a heading and a table per block (key, type, default, meaning).
std::string markdown(const SchemaBase& schema, std::string_view title);

}  // namespace steeple::hcl
