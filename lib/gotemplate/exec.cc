// SPDX-License-Identifier: Apache-2.0

// The evaluator: walks the trees of a Program over one piece of data. One Execution per call, on
// the stack of the caller's thread.

#include <fmt/format.h>

#include <utility>

#include "lib/gotemplate/print.h"
#include "lib/gotemplate/syntax.h"
#include "lib/gotemplate/unicode.h"

namespace steeple::gotemplate {

namespace {

constexpr int kWalksMax = 500;  // of nodes in one another, over all called templates

enum class Flow : std::uint8_t { kNext, kBreak, kContinue };

using Final = const Value*;  // what the command before in the pipeline gave; null: there was none

std::string_view parameter_type(Parameter parameter) {
  switch (parameter) {
    case Parameter::kAny:
      return "interface {}";
    case Parameter::kReflect:
      return "reflect.Value";
    case Parameter::kString:
      return "string";
    case Parameter::kInt:
      return "int";
    case Parameter::kBool:
      return "bool";
    case Parameter::kMap:
      return "map[string]interface {}";
  }
  return "";
}

class Execution {
 public:
  explicit Execution(const Program& program) : program_(program), template_(program.name) {}

  Result<std::string> run(const Value& data);

 private:
  struct Variable {
    std::string_view name;
    Value value;
  };

  void at(const Node& node) { node_ = &node; }
  Error error(std::string_view message) const;
  Error error(const Error& cause) const;
  Result<void> print(const Node& node, const Value& value);
  Result<void> write(std::string_view text);
  Result<void> set_variable(std::string_view name, Value value);

  Result<Flow> walk(const Value& dot, const Node& node);
  Result<Flow> walk_node(const Value& dot, const Node& node);
  Result<Flow> walk_list(const Value& dot, const Node& node);
  Result<Flow> walk_branch(const Value& dot, const Node& node);
  Result<Flow> walk_range(const Value& dot, const Node& node);
  Result<Flow> iterate(const Node& node, const Value& index, const Value& element);
  Result<void> walk_template(const Value& dot, const Node& node);

  Result<Value> pipeline(const Value& dot, const Node* pipe);
  Result<Value> command(const Value& dot, const Node& node, Final final);
  Result<void> not_a_function(const Node& command, Final final);
  Result<Value> number(const Node& node);
  Result<Value> variable(const Value& dot, const Node& node, const Node* command, Final final);
  Result<Value> chain(const Value& dot, const Node& node, const Node* command, Final final);
  Result<Value> fields(const Value& dot, Value receiver, const Node& node,
                       std::span<const std::string> names, const Node* command, Final final);
  Result<Value> field(const Value& dot, const std::string& name, const Node& node,
                      const Node* command, Final final, const Value& receiver);
  Result<Value> field_of_map(const Value& map, const std::string& name, bool has_arguments);
  Result<Value> method(const Value& dot, const Value& receiver, const Type::Method& method,
                       const Node& node, const Node* command, Final final);
  Result<Value> function(const Value& dot, const Node& identifier, const Node& node,
                         const Node* command, Final final);
  Result<Value> call(const Value& dot, const Node& node, const Node* command, Final final);
  Result<Value> logic(const Value& dot, bool is_or, const Node* command, Final final);
  Result<std::vector<Value>> arguments(const Value& dot, const Function& function,
                                       std::string_view name, const Node* command, Final final);
  Result<Value> argument(const Value& dot, Parameter parameter, const Node& node);
  Result<Value> literal(Parameter parameter, const Node& node);
  Result<Value> evaluate(const Value& dot, const Node& node);
  Result<Value> validate(const Value& value, Parameter parameter);

  const Program& program_;
  std::string_view template_;  // the one that runs, for error texts
  const Node* node_ = nullptr;
  std::vector<Variable> variables_;
  std::string out_;
  Budget budget_;
  int depth_ = 0;
  int nesting_ = 0;
};

Error Execution::error(std::string_view message) const {
  if (node_ == nullptr) {
    return invalid_argument(fmt::format("template: {}: {}", template_, message));
  }
  std::string_view before = std::string_view(program_.text).substr(0, node_->position);
  std::size_t newline = before.rfind('\n');
  std::size_t column =
      newline == std::string_view::npos ? before.size() : before.size() - newline - 1;
  auto line = 1 + std::count(before.begin(), before.end(), '\n');
  return invalid_argument(fmt::format("template: {}:{}:{}: executing {} at <{}>: {}", program_.name,
                                      line, column, quote(template_), node_->str(), message));
}

// A limit stays recognisable by its code.
Error Execution::error(const Error& cause) const {
  Error result = error(cause.message);
  result.code = cause.code == Code::kResourceExhausted ? cause.code : Code::kInvalidArgument;
  return result;
}

Result<void> Execution::write(std::string_view text) {
  if (out_.size() + text.size() > kOutputBytesMax) {
    return error(resource_exhausted("output of more than 1 MiB"));
  }
  if (auto spent = budget_.spend_bytes(text.size()); !spent.ok()) {
    return error(spent.error());
  }
  out_ += text;
  return {};
}

Result<void> Execution::print(const Node& node, const Value& value) {
  at(node);
  bool nil = false;
  Value printable = value.kind() == Kind::kPointer ? indirect(value, &nil) : value;
  if (!printable.valid()) {
    return write("<no value>");
  }
  Result<std::string> text = print_value(printable);
  if (!text.ok()) {
    return error(text.error());
  }
  return write(*text);
}

Result<void> Execution::set_variable(std::string_view name, Value value) {
  for (std::size_t i = variables_.size(); i-- > 0;) {
    if (variables_[i].name == name) {
      variables_[i].value = std::move(value);
      return {};
    }
  }
  return error(fmt::format("undefined variable: {}", name));
}

Result<std::string> Execution::run(const Value& data) {
  variables_.push_back({"$", data});
  auto root = program_.trees.find(program_.name);
  CHECK(root != program_.trees.end());
  TRY(walk(data, *root->second));
  return std::move(out_);
}

Result<Flow> Execution::walk(const Value& dot, const Node& node) {
  at(node);
  if (auto spent = budget_.spend(1); !spent.ok()) {
    return error(spent.error());
  }
  if (nesting_ == kWalksMax) {
    return error(resource_exhausted("too many blocks and templates in one another"));
  }
  ++nesting_;
  Result<Flow> flow = walk_node(dot, node);
  --nesting_;
  return flow;
}

Result<Flow> Execution::walk_node(const Value& dot, const Node& node) {
  switch (node.kind) {
    case NodeKind::kText:
      TRY(write(node.text));
      return Flow::kNext;
    case NodeKind::kAction: {
      Value value = TRY(pipeline(dot, node.pipe.get()));
      if (node.pipe->variables.empty()) {
        TRY(print(node, value));
      }
      return Flow::kNext;
    }
    case NodeKind::kBreak:
      return Flow::kBreak;
    case NodeKind::kContinue:
      return Flow::kContinue;
    case NodeKind::kIf:
    case NodeKind::kWith:
      return walk_branch(dot, node);
    case NodeKind::kList:
      return walk_list(dot, node);
    case NodeKind::kRange:
      return walk_range(dot, node);
    case NodeKind::kTemplate:
      TRY(walk_template(dot, node));
      return Flow::kNext;
    default:
      return error(internal("unknown node"));
  }
}

Result<Flow> Execution::walk_list(const Value& dot, const Node& node) {
  for (const NodePtr& child : node.children) {
    Flow flow = TRY(walk(dot, *child));
    if (flow != Flow::kNext) {
      return flow;
    }
  }
  return Flow::kNext;
}

Result<Flow> Execution::walk_branch(const Value& dot, const Node& node) {
  std::size_t mark = variables_.size();
  Value value = TRY(pipeline(dot, node.pipe.get()));
  Flow flow = Flow::kNext;
  if (is_true(value)) {
    flow = TRY(walk(node.kind == NodeKind::kWith ? value : dot, *node.list));
  } else if (node.else_list != nullptr) {
    flow = TRY(walk(dot, *node.else_list));
  }
  variables_.resize(mark);
  return flow;
}

Result<Flow> Execution::iterate(const Node& node, const Value& index, const Value& element) {
  const auto& names = node.pipe->variables;
  bool both = names.size() > 1;
  if (node.pipe->assigns && !names.empty()) {
    TRY(set_variable(names[0]->names[0], both ? index : element));
    if (both) {
      TRY(set_variable(names[1]->names[0], element));
    }
  } else if (!names.empty()) {
    variables_.back().value = element;
    if (both) {
      variables_[variables_.size() - 2].value = index;
    }
  }
  if (auto spent = budget_.spend(1); !spent.ok()) {
    return error(spent.error());
  }
  std::size_t mark = variables_.size();
  Flow flow = TRY(walk(element, *node.list));
  variables_.resize(mark);
  return flow;
}

Result<Flow> Execution::walk_range(const Value& dot, const Node& node) {
  at(node);
  std::size_t mark = variables_.size();
  bool nil = false;
  Value value = indirect(TRY(pipeline(dot, node.pipe.get())), &nil);
  bool some = false;
  Flow flow = Flow::kNext;
  // True to go on.
  auto visit = [&](const Value& index, const Value& element) -> Result<bool> {
    some = true;
    flow = TRY(iterate(node, index, element));
    return flow != Flow::kBreak;
  };
  switch (value.kind()) {
    case Kind::kInt:
    case Kind::kUint: {
      if (node.pipe->variables.size() > 1) {
        return error(fmt::format("can't use {} to iterate over more than one variable",
                                 TRY(print_value(value))));
      }
      bool is_signed = value.kind() == Kind::kInt;
      std::uint64_t count =
          is_signed ? static_cast<std::uint64_t>(std::max<std::int64_t>(value.integer(), 0))
                    : value.unsigned_integer();
      for (std::uint64_t i = 0; i < count; ++i) {
        Value element = is_signed ? Value::of(value.type(), static_cast<std::int64_t>(i))
                                  : Value::of(value.type(), i);
        if (!TRY(visit(Value(), element))) {
          break;
        }
      }
      break;
    }
    case Kind::kList: {
      // A copy of the handle: the body may assign to what held the list.
      for (std::size_t i = 0; i < value.items().size(); ++i) {
        Value element = value.items()[i];
        if (!TRY(visit(Value::of(types::integer(), static_cast<std::int64_t>(i)), element))) {
          break;
        }
      }
      break;
    }
    case Kind::kMap: {
      const Value::Map entries = value.entries();  // the body may write to it
      for (const auto& [key, entry] : entries) {
        if (!TRY(visit(Value(key), entry))) {
          break;
        }
      }
      break;
    }
    case Kind::kInvalid:
      break;
    default: {
      Result<std::string> text = print_value(value);
      return error("range can't iterate over " + (text.ok() ? *text : std::string("it")));
    }
  }
  variables_.resize(std::min(variables_.size(), mark + node.pipe->variables.size()));
  flow = Flow::kNext;
  if (!some && node.else_list != nullptr) {
    flow = TRY(walk(dot, *node.else_list));
  }
  variables_.resize(std::min(variables_.size(), mark));
  return flow;
}

Result<void> Execution::walk_template(const Value& dot, const Node& node) {
  at(node);
  auto tree = program_.trees.find(node.text);
  if (tree == program_.trees.end()) {
    return error(fmt::format("template {} not defined", quote(node.text)));
  }
  if (depth_ == kTemplateDepthMax) {
    return error(
        resource_exhausted(fmt::format("exceeded maximum template depth ({})", kTemplateDepthMax)));
  }
  Value data = TRY(pipeline(dot, node.pipe.get()));
  std::vector<Variable> variables = {{"$", data}};
  variables.swap(variables_);
  std::string_view name = std::exchange(template_, tree->first);
  ++depth_;
  Result<Flow> flow = walk(data, *tree->second);
  --depth_;
  template_ = name;
  variables.swap(variables_);
  if (!flow.ok()) {
    return std::move(flow).error();
  }
  at(node);
  return {};
}

Result<Value> Execution::pipeline(const Value& dot, const Node* pipe) {
  if (pipe == nullptr) {
    return Value();
  }
  at(*pipe);
  Value value;
  Final final = nullptr;
  for (const NodePtr& each : pipe->children) {
    Value next = TRY(command(dot, *each, final));
    value = next.from_interface();
    final = &value;
  }
  for (const NodePtr& each : pipe->variables) {
    if (pipe->assigns) {
      TRY(set_variable(each->names[0], value));
    } else {
      variables_.push_back({each->names[0], value});
    }
  }
  return value;
}

Result<void> Execution::not_a_function(const Node& command, Final final) {
  if (command.children.size() > 1 || final != nullptr) {
    return error("can't give argument to non-function " + command.children[0]->str());
  }
  return {};
}

Result<Value> Execution::command(const Value& dot, const Node& node, Final final) {
  if (auto spent = budget_.spend(1); !spent.ok()) {
    return error(spent.error());
  }
  const Node& word = *node.children[0];
  switch (word.kind) {
    case NodeKind::kField:
      at(word);
      return fields(dot, dot, word, word.names, &node, final);
    case NodeKind::kChain:
      return chain(dot, word, &node, final);
    case NodeKind::kIdentifier:
      return function(dot, word, node, &node, final);
    case NodeKind::kPipe:
      TRY(not_a_function(node, final));
      return pipeline(dot, &word);
    case NodeKind::kVariable:
      return variable(dot, word, &node, final);
    default:
      break;
  }
  at(word);
  TRY(not_a_function(node, final));
  if (word.kind == NodeKind::kNil) {
    return error("nil is not a command");
  }
  return evaluate(dot, word);
}

Result<Value> Execution::number(const Node& node) {
  at(node);
  const std::string& text = node.text;
  bool hex = text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X') &&
             text.find_first_of("pP") == std::string::npos;
  bool rune = text[0] == '\'';
  if (node.is_float && !hex && !rune && text.find_first_of(".eEpP") != std::string::npos) {
    return Value(node.floating);
  }
  if (node.is_int) {
    return Value::of(types::integer(), node.integer);
  }
  return error(text + " overflows int");
}

Result<Value> Execution::variable(const Value& dot, const Node& node, const Node* command,
                                  Final final) {
  at(node);
  const Value* value = nullptr;
  for (std::size_t i = variables_.size(); i-- > 0 && value == nullptr;) {
    value = variables_[i].name == node.names[0] ? &variables_[i].value : nullptr;
  }
  if (value == nullptr) {
    return error("undefined variable: " + node.names[0]);
  }
  if (node.names.size() == 1) {
    if (command != nullptr) {
      TRY(not_a_function(*command, final));
    }
    return *value;
  }
  return fields(dot, *value, node, std::span(node.names).subspan(1), command, final);
}

Result<Value> Execution::chain(const Value& dot, const Node& node, const Node* command,
                               Final final) {
  at(node);
  const Node& term = *node.children[0];
  at(term);
  Value receiver = TRY(evaluate(dot, term));
  return fields(dot, std::move(receiver), node, node.names, command, final);
}

Result<Value> Execution::fields(const Value& dot, Value receiver, const Node& node,
                                std::span<const std::string> names, const Node* command,
                                Final final) {
  for (std::size_t i = 0; i + 1 < names.size(); ++i) {
    receiver = TRY(field(dot, names[i], node, nullptr, nullptr, receiver));
  }
  return field(dot, names.back(), node, command, final, receiver);
}

// The value of a field, also of one of an embedded struct; null if there is none.
const Value* find_field(const Value& object, std::string_view name) {
  std::size_t index = 0;
  if (object.type()->field(name, &index) != nullptr) {
    return &object.items()[index];
  }
  for (std::size_t i = 0; i < object.type()->fields.size(); ++i) {
    const Value& inner = object.items()[i];
    if (object.type()->fields[i].embedded && inner.dynamic_kind() == Kind::kStruct) {
      if (const Value* found = find_field(inner, name)) {
        return found;
      }
    }
  }
  return nullptr;
}

Result<Value> Execution::field_of_map(const Value& map, const std::string& name,
                                      bool has_arguments) {
  if (has_arguments) {
    return error(fmt::format("{} is not a method but has arguments", name));
  }
  auto entry = map.entries().find(name);
  if (entry != map.entries().end()) {
    return entry->second;
  }
  switch (program_.options.missing_key) {
    case MissingKey::kNoValue:
      break;
    case MissingKey::kZero:
      return Value::zero_of(map.type()->element);
    case MissingKey::kError:
      return error(fmt::format("map has no entry for key {}", quote(name)));
  }
  return Value();
}

Result<Value> Execution::field(const Value& dot, const std::string& name, const Node& node,
                               const Node* command, Final final, const Value& receiver) {
  if (!receiver.valid()) {
    if (program_.options.missing_key == MissingKey::kError) {
      return error(fmt::format("nil data; no entry for key {}", quote(name)));
    }
    return Value();
  }
  std::string type(receiver.type_name());
  bool nil = false;
  Value object = indirect(receiver, &nil);
  if (nil && object.kind() == Kind::kInterface) {
    return error(fmt::format("nil pointer evaluating {}.{}", type, name));
  }
  const TypeRef& owner = nil ? object.type()->element : object.type();
  if (owner != nullptr) {
    if (const Type::Method* found = owner->method(name)) {
      if (nil) {
        return error(
            fmt::format("error calling {}: runtime error: invalid memory address or nil "
                        "pointer dereference",
                        name));
      }
      return method(dot, object, *found, node, command, final);
    }
  }
  bool has_arguments = (command != nullptr && command->children.size() > 1) || final != nullptr;
  if (object.kind() == Kind::kStruct) {
    if (const Value* found = find_field(object, name)) {
      if (has_arguments) {
        return error(name + " has arguments but cannot be invoked as function");
      }
      return *found;
    }
  } else if (object.kind() == Kind::kMap && object.type()->string_keys) {
    return field_of_map(object, name, has_arguments);
  } else if (nil) {
    std::size_t index = 0;
    if (owner == nullptr || owner->kind != Kind::kStruct || owner->field(name, &index) != nullptr) {
      return error(fmt::format("nil pointer evaluating {}.{}", type, name));
    }
  }
  return error(fmt::format("can't evaluate field {} in type {}", name, type));
}

Result<Value> Execution::method(const Value& dot, const Value& receiver, const Type::Method& method,
                                const Node& node, const Node* command, Final final) {
  Function shape;
  shape.parameters.assign(method.arity, Parameter::kString);
  std::vector<Value> values = TRY(arguments(dot, shape, method.name, command, final));
  Result<Value> result = method.call(receiver, values);
  if (!result.ok()) {
    at(node);
    return error(fmt::format("error calling {}: {}", method.name, result.error().message));
  }
  return result;
}

Result<Value> Execution::function(const Value& dot, const Node& identifier, const Node& node,
                                  const Node* command, Final final) {
  at(identifier);
  const std::string& name = identifier.text;
  const Function* found = program_.function(name);
  if (found == nullptr) {
    if (name == "call") {
      return call(dot, node, command, final);
    }
    CHECK(name == "and" || name == "or");
    return logic(dot, name == "or", command, final);
  }
  std::vector<Value> values = TRY(arguments(dot, *found, name, command, final));
  Result<Value> result = found->call(values, budget_);
  if (!result.ok()) {
    at(node);
    Error cause = std::move(result).error();
    cause.message = fmt::format("error calling {}: {}", name, cause.message);
    return error(cause);
  }
  if (result->dynamic_kind() == Kind::kString) {
    if (auto spent = budget_.spend_bytes(result->text().size()); !spent.ok()) {
      return error(spent.error());
    }
  }
  return result;
}

// There are no function values, so it can only fail.
Result<Value> Execution::call(const Value& dot, const Node& node, const Node* command,
                              Final final) {
  Function shape;
  shape.parameters = {Parameter::kReflect, Parameter::kReflect};
  shape.variadic = true;
  std::vector<Value> values = TRY(arguments(dot, shape, "call", command, final));
  at(node);
  Value callee = values[0].from_interface();
  if (!callee.valid()) {
    return error("error calling call: call of nil");
  }
  bool named = command != nullptr && command->children.size() > 1;
  bool string = callee.kind() == Kind::kString;
  std::string callee_name = named    ? command->children[1]->str()
                            : string ? callee.text()
                                     : fmt::format("<{} Value>", callee.type_name());
  return error(fmt::format("error calling call: non-function {} of type {}", callee_name,
                           callee.type_name()));
}

Result<Value> Execution::logic(const Value& dot, bool is_or, const Node* command, Final final) {
  std::size_t count = command == nullptr ? 0 : command->children.size() - 1;
  if (count + (final != nullptr ? 1 : 0) < 1) {
    return error(
        fmt::format("wrong number of args for {}: want at least 1 got 0", is_or ? "or" : "and"));
  }
  Value value;
  for (std::size_t i = 1; i <= count; ++i) {
    value = TRY(argument(dot, Parameter::kReflect, *command->children[i]));
    if (is_true(value) == is_or) {
      return value;
    }
  }
  return final != nullptr ? *final : value;
}

Result<std::vector<Value>> Execution::arguments(const Value& dot, const Function& function,
                                                std::string_view name, const Node* command,
                                                Final final) {
  std::size_t given = command == nullptr ? 0 : command->children.size() - 1;
  std::size_t total = given + (final != nullptr ? 1 : 0);
  std::size_t declared = function.parameters.size();
  if (function.variadic && total + 1 < declared) {
    return error(fmt::format("wrong number of args for {}: want at least {} got {}", name,
                             declared - 1, given));
  }
  if (!function.variadic && total != declared) {
    return error(fmt::format("wrong number of args for {}: want {} got {}", name, declared, total));
  }
  std::vector<Value> values;
  values.reserve(total);
  for (std::size_t i = 0; i < given; ++i) {
    Parameter parameter = function.parameters[std::min(i, declared - 1)];
    values.push_back(TRY(argument(dot, parameter, *command->children[i + 1])));
  }
  if (final != nullptr) {
    values.push_back(TRY(validate(*final, function.parameters[std::min(given, declared - 1)])));
  }
  return values;
}

Result<Value> Execution::argument(const Value& dot, Parameter parameter, const Node& node) {
  at(node);
  switch (node.kind) {
    case NodeKind::kDot:
    case NodeKind::kField:
    case NodeKind::kVariable:
    case NodeKind::kPipe:
    case NodeKind::kIdentifier:
    case NodeKind::kChain:
      return validate(TRY(evaluate(dot, node)), parameter);
    case NodeKind::kNil:
      switch (parameter) {
        case Parameter::kAny:
        case Parameter::kReflect:
          return Value();
        case Parameter::kMap:
          return Value::nil_of(types::map_of_any());
        default:
          return error(fmt::format("cannot assign nil to {}", parameter_type(parameter)));
      }
    default:
      return literal(parameter, node);
  }
}

Result<Value> Execution::literal(Parameter parameter, const Node& node) {
  switch (parameter) {
    case Parameter::kAny:
    case Parameter::kReflect:
      return evaluate(Value(), node);
    case Parameter::kString:
      if (node.kind == NodeKind::kString) {
        return Value(node.text);
      }
      return error("expected string; found " + node.str());
    case Parameter::kInt:
      if (node.kind == NodeKind::kNumber && node.is_int) {
        return Value::of(types::integer(), node.integer);
      }
      return error("expected integer; found " + node.str());
    case Parameter::kBool:
      if (node.kind == NodeKind::kBool) {
        return Value(node.truth);
      }
      return error("expected bool; found " + node.str());
    case Parameter::kMap:
      break;
  }
  return error(
      fmt::format("can't handle {} for arg of type {}", node.str(), parameter_type(parameter)));
}

// Any operand but nil, without arguments.
Result<Value> Execution::evaluate(const Value& dot, const Node& node) {
  switch (node.kind) {
    case NodeKind::kBool:
      return Value(node.truth);
    case NodeKind::kDot:
      return dot;
    case NodeKind::kNumber:
      return number(node);
    case NodeKind::kString:
      return Value(node.text);
    case NodeKind::kField:
      return fields(dot, dot, node, node.names, nullptr, nullptr);
    case NodeKind::kVariable:
      return variable(dot, node, nullptr, nullptr);
    case NodeKind::kPipe:
      return pipeline(dot, &node);
    case NodeKind::kIdentifier:
      return function(dot, node, node, nullptr, nullptr);
    case NodeKind::kChain:
      return chain(dot, node, nullptr, nullptr);
    default:
      return error(fmt::format("can't evaluate command {}", quote(node.str())));
  }
}

Result<Value> Execution::validate(const Value& value, Parameter parameter) {
  if (parameter == Parameter::kReflect) {
    return value;
  }
  if (parameter == Parameter::kAny) {
    return value.from_interface();
  }
  std::string_view wanted = parameter_type(parameter);
  if (!value.valid()) {
    if (parameter == Parameter::kMap) {
      return Value::nil_of(types::map_of_any());
    }
    return error(fmt::format("invalid value; expected {}", wanted));
  }
  Value inner = value.from_interface();
  if (inner.valid()) {
    if (inner.type_name() == wanted) {
      return inner;
    }
    if (inner.kind() == Kind::kPointer && inner.type()->element != nullptr &&
        inner.type()->element->name == wanted) {
      if (inner.is_nil()) {
        return error(fmt::format("dereference of nil pointer of type {}", wanted));
      }
      return inner.target();
    }
  }
  return error(fmt::format("wrong type for value; expected {}; got {}", wanted,
                           inner.valid() ? inner.type_name() : value.type_name()));
}

}  // namespace

Result<std::string> run_program(const Program& program, const Value& data) {
  return Execution(program).run(program.writes ? data.deep_copy() : data);
}

}  // namespace steeple::gotemplate
