// SPDX-License-Identifier: Apache-2.0

// Tokens and trees of the template language, for the files of this layer.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/gotemplate/template.h"

namespace steeple::gotemplate {

enum class TokenKind : std::uint8_t {
  kError,  // the text is the message
  kBool,
  kChar,  // any other printable ASCII character, such as a comma
  kCharConstant,
  kComplex,
  kAssign,
  kDeclare,
  kEof,
  kField,
  kIdentifier,
  kLeftDelimiter,
  kLeftParenthesis,
  kNumber,
  kPipe,
  kRawString,
  kRightDelimiter,
  kRightParenthesis,
  kSpace,
  kString,
  kText,
  kVariable,
  kKeyword,  // only a border: all below are keywords
  kBlock,
  kBreak,
  kContinue,
  kDot,
  kDefine,
  kElse,
  kEnd,
  kIf,
  kNil,
  kRange,
  kTemplate,
  kWith,
};

struct Token {
  TokenKind kind = TokenKind::kError;
  std::size_t position = 0;
  std::string_view text = {};
  std::size_t line = 0;
  std::string error = {};

  std::string describe() const;  // as error texts show it
};

// All tokens up to the end or the first error, which is the last token. A name of `functions` is no
// keyword (break, continue).
std::vector<Token> scan(std::string_view text, const Functions& functions);

enum class NodeKind : std::uint8_t {
  kText,
  kAction,
  kBool,
  kBreak,
  kChain,
  kCommand,
  kContinue,
  kDot,
  kElse,
  kEnd,
  kField,
  kIdentifier,
  kIf,
  kList,
  kNil,
  kNumber,
  kPipe,
  kRange,
  kString,
  kTemplate,
  kVariable,
  kWith,
};

struct Node;
using NodePtr = std::unique_ptr<Node>;

struct Node {
  NodeKind kind = NodeKind::kList;
  std::size_t position = 0;
  // kText, kString (unquoted), kIdentifier, kTemplate (its name), kNumber (as written).
  std::string text = {};
  std::string quoted = {};              // kString as written
  std::vector<std::string> names = {};  // kField, kVariable, kChain: the parts between dots
  // kList: items; kPipe: commands; kCommand: words; kChain: the term.
  std::vector<NodePtr> children = {};
  NodePtr pipe = nullptr;               // kAction, kIf, kRange, kWith, kTemplate (may be null)
  NodePtr list = nullptr;               // kIf, kRange, kWith
  NodePtr else_list = nullptr;          // null if absent
  std::vector<NodePtr> variables = {};  // kPipe: what it declares or assigns
  bool assigns = false;                 // kPipe: = and not :=
  bool truth = false;                   // kBool
  bool is_int = false;                  // kNumber, and which types can hold it
  bool is_uint = false;
  bool is_float = false;
  std::int64_t integer = 0;
  std::uint64_t unsigned_integer = 0;
  double floating = 0;

  void write_to(std::string& out) const;
  std::string str() const;
};

struct Program {
  std::string name;
  std::string text;
  Functions functions;
  Options options;
  std::map<std::string, NodePtr, std::less<>> trees;
  References references;
  bool writes = false;

  const Function* function(std::string_view function_name) const;
  bool has_function(std::string_view function_name) const;
};

// Fills `program.trees` from its text.
Result<void> parse_program(Program& program);
// The paths that the trees may read.
References find_references(const Program& program);
Result<std::string> run_program(const Program& program, const Value& data);

}  // namespace steeple::gotemplate
