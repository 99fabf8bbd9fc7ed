// SPDX-License-Identifier: Apache-2.0

// The parser: tokens to trees, with Go's error texts. Each define and block has a parser of its own
// over the same tokens, as in Go, since variables, loops and look-ahead end at its border.

#include <fmt/format.h>

#include "lib/gotemplate/number.h"
#include "lib/gotemplate/syntax.h"
#include "lib/gotemplate/unicode.h"

namespace steeple::gotemplate {

namespace {

using enum TokenKind;

struct Source {
  Program& program;
  std::vector<Token> tokens;
  std::size_t next = 0;
  int nesting = 0;

  Token take() {
    const Token& token = tokens[next];
    next += next + 1 < tokens.size() ? 1 : 0;
    return token;
  }
};

bool empty_tree(const Node& node) {
  if (node.kind == NodeKind::kText) {
    return node.text.find_first_not_of(" \t\r\n\v\f") == std::string::npos;
  }
  return node.kind == NodeKind::kList &&
         std::all_of(node.children.begin(), node.children.end(),
                     [](const NodePtr& child) { return empty_tree(*child); });
}

NodePtr make(NodeKind kind, std::size_t position) {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  node->position = position;
  return node;
}

std::vector<std::string> split_names(std::string_view text) {
  std::vector<std::string> names;
  for (std::size_t at = 0; at <= text.size();) {
    std::size_t dot = std::min(text.find('.', at), text.size());
    names.emplace_back(text.substr(at, dot - at));
    at = dot + 1;
  }
  return names;
}

// Counts one level of blocks or parentheses for as long as it lives.
class Level {
 public:
  explicit Level(Source& source) : source_(source) { ++source_.nesting; }
  ~Level() { --source_.nesting; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;
  bool too_deep() const { return source_.nesting > kNestingMax; }

 private:
  Source& source_;
};

class Parser {
 public:
  explicit Parser(Source& source) : source_(source) {}

  Result<void> parse_all();

 private:
  Token next() {
    if (peeked_ > 0) {
      --peeked_;
    } else {
      buffer_[0] = source_.take();
    }
    return buffer_[peeked_];
  }
  void back() { ++peeked_; }
  void back2(Token token) {
    buffer_[1] = std::move(token);
    peeked_ = 2;
  }
  void back3(Token second, Token first) {
    buffer_[1] = std::move(first);
    buffer_[2] = std::move(second);
    peeked_ = 3;
  }
  const Token& peek() {
    if (peeked_ == 0) {
      peeked_ = 1;
      buffer_[0] = source_.take();
    }
    return buffer_[peeked_ - 1];
  }
  Token next_word() {
    Token token = next();
    while (token.kind == kSpace) {
      token = next();
    }
    return token;
  }
  Token peek_word() {
    Token token = next_word();
    back();
    return token;
  }

  Error error(std::string_view message) const {
    return invalid_argument(
        fmt::format("template: {}:{}: {}", source_.program.name, buffer_[0].line, message));
  }
  Error unexpected(const Token& token, std::string_view context) const;
  Result<Token> expect(TokenKind kind, std::string_view context);
  Result<void> add(std::string name, NodePtr root);

  Result<void> parse_definition();
  Result<NodePtr> item_list(NodePtr* list);  // gives the else or end that ended it
  Result<NodePtr> text_or_action();
  Result<NodePtr> action();
  Result<NodePtr> loop_exit(NodeKind kind, std::size_t position, std::string_view word);
  Result<NodePtr> pipeline(std::string_view context, TokenKind end);
  Result<bool> declaration(Node& pipe, std::string_view context);
  Result<void> check_pipeline(const Node& pipe, std::string_view context);
  Result<NodePtr> control(NodeKind kind, std::string_view context);
  Result<NodePtr> else_branch(NodeKind kind, const Node& mark);
  Result<NodePtr> else_mark();
  Result<NodePtr> block();
  Result<NodePtr> template_call();
  Result<std::string> template_name(const Token& token, std::string_view context);
  Result<NodePtr> command();
  Result<NodePtr> operand();
  Result<NodePtr> term();
  Result<NodePtr> number(const Token& token);
  Result<NodePtr> variable(const Token& token);

  Source& source_;
  std::array<Token, 3> buffer_;
  std::size_t peeked_ = 0;
  std::vector<std::string> variables_ = {"$"};
  std::size_t action_line_ = 0;
  int loops_ = 0;
};

Error Parser::unexpected(const Token& token, std::string_view context) const {
  if (token.kind != kError) {
    return error(fmt::format("unexpected {} in {}", token.describe(), context));
  }
  std::string extra;
  if (action_line_ != 0 && action_line_ != token.line) {
    bool names_action = token.error.ends_with(" action");
    extra = fmt::format("{} started at {}:{}", names_action ? "" : " in action",
                        source_.program.name, action_line_);
  }
  return error(token.error + extra);
}

Result<Token> Parser::expect(TokenKind kind, std::string_view context) {
  Token token = next_word();
  if (token.kind != kind) {
    return unexpected(token, context);
  }
  return token;
}

Result<void> Parser::add(std::string name, NodePtr root) {
  auto& trees = source_.program.trees;
  auto old = trees.find(name);
  if (old == trees.end() || empty_tree(*old->second)) {
    trees.insert_or_assign(std::move(name), std::move(root));
    return {};
  }
  if (!empty_tree(*root)) {
    return error(fmt::format("template: multiple definition of template {}", quote(name)));
  }
  return {};
}

Result<void> Parser::parse_all() {
  NodePtr root = make(NodeKind::kList, peek().position);
  while (peek().kind != kEof) {
    if (peek().kind == kLeftDelimiter) {
      Token delimiter = next();
      if (next_word().kind == kDefine) {
        TRY(Parser(source_).parse_definition());
        continue;
      }
      back2(delimiter);
    }
    NodePtr node = TRY(text_or_action());
    if (node->kind == NodeKind::kEnd || node->kind == NodeKind::kElse) {
      return error("unexpected " + node->str());
    }
    root->children.push_back(std::move(node));
  }
  return add(source_.program.name, std::move(root));
}

Result<void> Parser::parse_definition() {
  constexpr std::string_view kContext = "define clause";
  Token token = next_word();
  std::string name = TRY(template_name(token, kContext));
  TRY(expect(kRightDelimiter, kContext));
  NodePtr root;
  NodePtr end = TRY(item_list(&root));
  if (end->kind != NodeKind::kEnd) {
    return error(fmt::format("unexpected {} in {}", end->str(), kContext));
  }
  return add(std::move(name), std::move(root));
}

Result<NodePtr> Parser::item_list(NodePtr* list) {
  *list = make(NodeKind::kList, peek_word().position);
  while (peek_word().kind != kEof) {
    NodePtr node = TRY(text_or_action());
    if (node->kind == NodeKind::kEnd || node->kind == NodeKind::kElse) {
      return node;
    }
    (*list)->children.push_back(std::move(node));
  }
  return error("unexpected EOF");
}

Result<NodePtr> Parser::text_or_action() {
  Token token = next_word();
  if (token.kind == kText) {
    NodePtr node = make(NodeKind::kText, token.position);
    node->text = token.text;
    return node;
  }
  if (token.kind != kLeftDelimiter) {
    return unexpected(token, "input");
  }
  action_line_ = token.line;
  Result<NodePtr> node = action();
  action_line_ = 0;
  return node;
}

Result<NodePtr> Parser::action() {
  Level level(source_);
  if (level.too_deep()) {
    return error("too many blocks in one another");
  }
  Token token = next_word();
  switch (token.kind) {
    case kBlock:
      return block();
    case kBreak:
      return loop_exit(NodeKind::kBreak, token.position, "{{break}}");
    case kContinue:
      return loop_exit(NodeKind::kContinue, token.position, "{{continue}}");
    case kElse:
      return else_mark();
    case kEnd:
      return make(NodeKind::kEnd, TRY(expect(kRightDelimiter, "end")).position);
    case kIf:
      return control(NodeKind::kIf, "if");
    case kRange:
      return control(NodeKind::kRange, "range");
    case kTemplate:
      return template_call();
    case kWith:
      return control(NodeKind::kWith, "with");
    default:
      break;
  }
  back();
  NodePtr node = make(NodeKind::kAction, peek().position);
  node->pipe = TRY(pipeline("command", kRightDelimiter));
  return node;
}

Result<NodePtr> Parser::loop_exit(NodeKind kind, std::size_t position, std::string_view word) {
  if (Token token = next_word(); token.kind != kRightDelimiter) {
    return unexpected(token, word);
  }
  if (loops_ == 0) {
    return error(fmt::format("{} outside {{{{range}}}}", word));
  }
  return make(kind, position);
}

// One declared variable, if there is one; true if another one may follow.
Result<bool> Parser::declaration(Node& pipe, std::string_view context) {
  Token name = peek_word();
  if (name.kind != kVariable) {
    return false;
  }
  (void)next();
  Token after = peek();
  Token word = peek_word();
  bool sets = word.kind == kAssign || word.kind == kDeclare;
  bool comma = word.kind == kChar && word.text == ",";
  if (!sets && !comma) {
    if (after.kind == kSpace) {
      back3(name, after);
    } else {
      back2(name);
    }
    return false;
  }
  if (sets) {
    pipe.assigns = word.kind == kAssign;
  }
  (void)next_word();
  NodePtr variable_node = make(NodeKind::kVariable, name.position);
  variable_node->names = split_names(name.text);
  pipe.variables.push_back(std::move(variable_node));
  variables_.emplace_back(name.text);
  if (sets) {
    return false;
  }
  if (context == "range" && pipe.variables.size() < 2) {
    TokenKind kind = peek_word().kind;
    if (kind == kVariable || kind == kRightDelimiter || kind == kRightParenthesis) {
      return true;
    }
    return error("range can only initialize variables");
  }
  return error(fmt::format("too many declarations in {}", context));
}

Result<NodePtr> Parser::pipeline(std::string_view context, TokenKind end) {
  NodePtr pipe = make(NodeKind::kPipe, peek_word().position);
  while (TRY(declaration(*pipe, context))) {
  }
  while (true) {
    Token token = next_word();
    if (token.kind == end) {
      TRY(check_pipeline(*pipe, context));
      return pipe;
    }
    switch (token.kind) {
      case kBool:
      case kCharConstant:
      case kComplex:
      case kDot:
      case kField:
      case kIdentifier:
      case kNumber:
      case kNil:
      case kRawString:
      case kString:
      case kVariable:
      case kLeftParenthesis:
        back();
        pipe->children.push_back(TRY(command()));
        break;
      default:
        return unexpected(token, context);
    }
  }
}

Result<void> Parser::check_pipeline(const Node& pipe, std::string_view context) {
  if (pipe.children.empty()) {
    return error(fmt::format("missing value for {}", context));
  }
  for (std::size_t i = 1; i < pipe.children.size(); ++i) {
    switch (pipe.children[i]->children[0]->kind) {
      case NodeKind::kBool:
      case NodeKind::kDot:
      case NodeKind::kNil:
      case NodeKind::kNumber:
      case NodeKind::kString:
        return error(fmt::format("non executable command in pipeline stage {}", i + 1));
      default:
        break;
    }
  }
  return {};
}

Result<NodePtr> Parser::control(NodeKind kind, std::string_view context) {
  Level level(source_);
  if (level.too_deep()) {
    return error("too many blocks in one another");
  }
  std::size_t known = variables_.size();
  NodePtr pipe = TRY(pipeline(context, kRightDelimiter));
  loops_ += kind == NodeKind::kRange ? 1 : 0;
  NodePtr node = make(kind, pipe->position);
  node->pipe = std::move(pipe);
  NodePtr mark = TRY(item_list(&node->list));
  loops_ -= kind == NodeKind::kRange ? 1 : 0;
  if (mark->kind == NodeKind::kElse) {
    node->else_list = TRY(else_branch(kind, *mark));
  }
  variables_.resize(known);
  return node;
}

// "else if" in an if, and "else with" in a with, are a list of one more of the kind.
Result<NodePtr> Parser::else_branch(NodeKind kind, const Node& mark) {
  NodePtr list = make(NodeKind::kList, mark.position);
  if (kind == NodeKind::kIf && peek().kind == kIf) {
    (void)next();
    list->children.push_back(TRY(control(kind, "if")));
    return list;
  }
  if (kind == NodeKind::kWith && peek().kind == kWith) {
    (void)next();
    list->children.push_back(TRY(control(kind, "with")));
    return list;
  }
  NodePtr end = TRY(item_list(&list));
  if (end->kind != NodeKind::kEnd) {
    return error("expected end; found " + end->str());
  }
  return list;
}

Result<NodePtr> Parser::else_mark() {
  Token token = peek_word();
  if (token.kind != kIf && token.kind != kWith) {
    token = TRY(expect(kRightDelimiter, "else"));
  }
  return make(NodeKind::kElse, token.position);
}

Result<NodePtr> Parser::block() {
  constexpr std::string_view kContext = "block clause";
  Token token = next_word();
  NodePtr node = make(NodeKind::kTemplate, token.position);
  node->text = TRY(template_name(token, kContext));
  node->pipe = TRY(pipeline(kContext, kRightDelimiter));
  Parser inner(source_);
  NodePtr root;
  NodePtr end = TRY(inner.item_list(&root));
  if (end->kind != NodeKind::kEnd) {
    return error(fmt::format("unexpected {} in {}", end->str(), kContext));
  }
  TRY(inner.add(node->text, std::move(root)));
  return node;
}

Result<NodePtr> Parser::template_call() {
  constexpr std::string_view kContext = "template clause";
  Token token = next_word();
  NodePtr node = make(NodeKind::kTemplate, token.position);
  node->text = TRY(template_name(token, kContext));
  if (next_word().kind != kRightDelimiter) {
    back();
    node->pipe = TRY(pipeline(kContext, kRightDelimiter));
  }
  return node;
}

Result<std::string> Parser::template_name(const Token& token, std::string_view context) {
  if (token.kind != kString && token.kind != kRawString) {
    return unexpected(token, context);
  }
  Result<std::string> name = unquote(token.text);
  if (!name.ok()) {
    return error(name.error().message);
  }
  return name;
}

Result<NodePtr> Parser::command() {
  NodePtr node = make(NodeKind::kCommand, peek_word().position);
  while (true) {
    (void)peek_word();
    NodePtr word = TRY(operand());
    if (word != nullptr) {
      node->children.push_back(std::move(word));
    }
    Token token = next();
    if (token.kind == kSpace) {
      continue;
    }
    if (token.kind == kRightDelimiter || token.kind == kRightParenthesis) {
      back();
    } else if (token.kind != kPipe) {
      return unexpected(token, "operand");
    }
    break;
  }
  if (node->children.empty()) {
    return error("empty command");
  }
  return node;
}

Result<NodePtr> Parser::operand() {
  NodePtr node = TRY(term());
  if (node == nullptr || peek().kind != kField) {
    return node;
  }
  std::size_t position = peek().position;
  std::vector<std::string> fields;
  while (peek().kind == kField) {
    fields.emplace_back(next().text.substr(1));
  }
  switch (node->kind) {
    case NodeKind::kField:
    case NodeKind::kVariable:
      node->position = position;
      node->names.insert(node->names.end(), fields.begin(), fields.end());
      return node;
    case NodeKind::kBool:
    case NodeKind::kString:
    case NodeKind::kNumber:
    case NodeKind::kNil:
    case NodeKind::kDot:
      return error(fmt::format("unexpected . after term {}", quote(node->str())));
    default:
      break;
  }
  NodePtr chain = make(NodeKind::kChain, position);
  chain->children.push_back(std::move(node));
  chain->names = std::move(fields);
  return chain;
}

// Null when what comes next starts no term.
Result<NodePtr> Parser::term() {
  Token token = next_word();
  NodePtr node;
  switch (token.kind) {
    case kIdentifier:
      if (!source_.program.has_function(token.text)) {
        return error(fmt::format("function {} not defined", quote(token.text)));
      }
      node = make(NodeKind::kIdentifier, token.position);
      node->text = token.text;
      return node;
    case kDot:
      return make(NodeKind::kDot, token.position);
    case kNil:
      return make(NodeKind::kNil, token.position);
    case kVariable:
      return variable(token);
    case kField:
      node = make(NodeKind::kField, token.position);
      node->names = {std::string(token.text.substr(1))};
      return node;
    case kBool:
      node = make(NodeKind::kBool, token.position);
      node->truth = token.text == "true";
      return node;
    case kCharConstant:
    case kComplex:
    case kNumber:
      return number(token);
    case kLeftParenthesis: {
      Level level(source_);
      if (level.too_deep()) {
        return error("max expression depth exceeded");
      }
      return pipeline("parenthesized pipeline", kRightParenthesis);
    }
    case kString:
    case kRawString: {
      node = make(NodeKind::kString, token.position);
      node->text = TRY(template_name(token, ""));
      node->quoted = token.text;
      return node;
    }
    default:
      back();
      return node;
  }
}

Result<NodePtr> Parser::number(const Token& token) {
  NodePtr node = make(NodeKind::kNumber, token.position);
  node->text = token.text;
  if (token.kind == kComplex ||
      (token.text.ends_with('i') && parse_float(token.text.substr(0, token.text.size() - 1)))) {
    return error(fmt::format("complex numbers are not supported: {}", quote(token.text)));
  }
  Result<void> read = token.kind == kCharConstant ? read_character(*node) : read_number(*node);
  if (!read.ok()) {
    return error(read.error().message);
  }
  return node;
}

Result<NodePtr> Parser::variable(const Token& token) {
  NodePtr node = make(NodeKind::kVariable, token.position);
  node->names = split_names(token.text);
  if (std::find(variables_.begin(), variables_.end(), node->names[0]) == variables_.end()) {
    return error(fmt::format("undefined variable {}", quote(node->names[0])));
  }
  return node;
}

}  // namespace

Result<void> parse_program(Program& program) {
  Source source{program, scan(program.text, program.functions)};
  return Parser(source).parse_all();
}

}  // namespace steeple::gotemplate
