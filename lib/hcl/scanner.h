// SPDX-License-Identifier: Apache-2.0

// The tokens of HCL1. Comments and white space are skipped. Strings and heredocs come decoded.
// Used by parse.cc only.

#pragma once

#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/hcl/value.h"

namespace steeple::hcl {

enum class TokenKind : unsigned char {
  kEnd,
  kIdentifier,
  kNumber,
  kFloat,
  kBool,
  kString,
  kHeredoc,
  kLeftBrace,
  kRightBrace,
  kLeftBracket,
  kRightBracket,
  kComma,
  kAssign,
};

std::string_view token_name(TokenKind kind);  // "IDENT", "LBRACE", as the reference names them

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  // decoded for strings and heredocs, as written for the others
  Position at;
};

class Scanner {
 public:
  // The text must outlive the scanner, be UTF-8 and have '\n' line ends.
  explicit Scanner(std::string_view text) : text_(text) {}

  Result<Token> next();

 private:
  char peek(std::size_t ahead = 0) const {
    return offset_ + ahead < text_.size() ? text_[offset_ + ahead] : '\0';
  }
  bool at_end() const { return offset_ >= text_.size(); }
  void advance();
  Error error(Position at, std::string_view what) const;

  Result<void> skip_blanks();
  Result<void> skip_block_comment();
  Result<Token> scan_number(Token token);
  Result<Token> scan_string(Token token);
  Result<void> scan_escape(std::string& out);
  Result<std::uint32_t> scan_digits(int base, int count);
  Result<Token> scan_heredoc(Token token);
  bool at_identifier() const;

  std::string_view text_;
  std::size_t offset_ = 0;
  Position at_{1, 1};
};

}  // namespace steeple::hcl
