// SPDX-License-Identifier: Apache-2.0

// The public face: parse, execute, references.

#include "lib/gotemplate/template.h"

#include <fmt/format.h>

#include "lib/gotemplate/syntax.h"

namespace steeple::gotemplate {

const Function* Program::function(std::string_view function_name) const {
  if (auto own = functions.find(function_name); own != functions.end()) {
    return &own->second;
  }
  auto builtin = builtins().find(function_name);
  return builtin == builtins().end() ? nullptr : &builtin->second;
}

bool Program::has_function(std::string_view function_name) const {
  return function_name == "and" || function_name == "or" || function_name == "call" ||
         function(function_name) != nullptr;
}

Budget::~Budget() {
  // First all contents, while every container is still held here: no recursion, no cycles.
  for (Value& value : kept_) {
    if (auto list = value.shared_items()) {
      Value::List().swap(*list);
    }
    if (auto map = value.shared_entries()) {
      map->clear();
    }
  }
}

Result<void> Budget::spend(std::size_t units) {
  used_ += units;
  if (used_ > kStepsMax) {
    return resource_exhausted(fmt::format("more than {} steps", kStepsMax));
  }
  return {};
}

Value Budget::keep(Value container) {
  kept_.push_back(container);
  return container;
}

namespace {

bool calls_writer(const Program& program, const Node& node) {
  if (node.kind == NodeKind::kIdentifier) {
    const Function* function = program.function(node.text);
    return function != nullptr && function->writes;
  }
  for (const Node* part : {node.pipe.get(), node.list.get(), node.else_list.get()}) {
    if (part != nullptr && calls_writer(program, *part)) {
      return true;
    }
  }
  return std::any_of(node.children.begin(), node.children.end(),
                     [&](const NodePtr& child) { return calls_writer(program, *child); });
}

}  // namespace

Result<Template> Template::parse(std::string_view name, std::string_view text, Functions functions,
                                 Options options) {
  if (text.size() > kTemplateBytesMax) {
    return invalid_argument(
        fmt::format("template: {}: more than {} bytes", name, kTemplateBytesMax));
  }
  auto program = std::make_shared<Program>();
  program->name = name;
  program->text = text;
  program->functions = std::move(functions);
  program->options = options;
  TRY(parse_program(*program));
  for (const auto& [tree_name, tree] : program->trees) {
    program->writes = program->writes || calls_writer(*program, *tree);
  }
  program->references = find_references(*program);
  return Template(std::move(program));
}

Result<std::string> Template::execute(const Value& data) const {
  return run_program(*program_, data);
}

const References& Template::references() const { return program_->references; }

bool Template::reads(const FieldPath& path) const {
  return std::any_of(references().begin(), references().end(), [&](const FieldPath& reference) {
    std::size_t common = std::min(reference.size(), path.size());
    return std::equal(reference.begin(), reference.begin() + static_cast<std::ptrdiff_t>(common),
                      path.begin());
  });
}

}  // namespace steeple::gotemplate
