// SPDX-License-Identifier: Apache-2.0

#include "lib/hcl/scanner.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace steeple::hcl {
namespace {

bool is_decimal(char c) { return c >= '0' && c <= '9'; }

int digit_value(char c) {
  if (is_decimal(c)) {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  if (c >= 'A' && c <= 'F') {
    return c - 'A' + 10;
  }
  return 16;
}

// Code points that look like blanks and would make an invisible key.
bool is_strange_blank(std::string_view text) {
  return text.starts_with("\xC2\xA0") || text.starts_with("\xE2\x80") ||
         text.starts_with("\xE3\x80\x80") || text.starts_with("\xEF\xBB\xBF");
}

void append_utf8(std::uint32_t point, std::string& out) {
  if (point >= 0xD800 && point <= 0xDFFF) {
    point = 0xFFFD;
  }
  auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0 | (point >> 6));
    put(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    put(0xE0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  } else {
    put(0xF0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3F));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  }
}

// `<<-` takes the terminator's indentation off every line, if every line has it.
std::string unindent(const std::vector<std::string_view>& lines, std::string_view indent) {
  bool indented = std::all_of(lines.begin(), lines.end(),
                              [&](std::string_view line) { return line.starts_with(indent); });
  std::string out;
  for (std::string_view line : lines) {
    out += indented ? line.substr(indent.size()) : line;
    out += '\n';
  }
  return out;
}

}  // namespace

std::string_view token_name(TokenKind kind) {
  switch (kind) {
    case TokenKind::kEnd:
      return "EOF";
    case TokenKind::kIdentifier:
      return "IDENT";
    case TokenKind::kNumber:
      return "NUMBER";
    case TokenKind::kFloat:
      return "FLOAT";
    case TokenKind::kBool:
      return "BOOL";
    case TokenKind::kString:
      return "STRING";
    case TokenKind::kHeredoc:
      return "HEREDOC";
    case TokenKind::kLeftBrace:
      return "LBRACE";
    case TokenKind::kRightBrace:
      return "RBRACE";
    case TokenKind::kLeftBracket:
      return "LBRACK";
    case TokenKind::kRightBracket:
      return "RBRACK";
    case TokenKind::kComma:
      return "COMMA";
    case TokenKind::kAssign:
      return "ASSIGN";
  }
  return "ILLEGAL";
}

Error Scanner::error(Position at, std::string_view what) const {
  return invalid_argument(fmt::format("{}: {}", at.text(), what));
}

void Scanner::advance() {
  if (text_[offset_] == '\n') {
    ++at_.line;
    at_.column = 1;
  } else if (offset_ + 1 >= text_.size() || (text_[offset_ + 1] & 0xC0) != 0x80) {
    ++at_.column;  // at the last byte of a character
  }
  ++offset_;
}

bool Scanner::at_identifier() const {
  char c = peek();
  if (static_cast<unsigned char>(c) >= 0x80) {
    return !is_strange_blank(text_.substr(offset_));
  }
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

Result<void> Scanner::skip_block_comment() {
  Position start = at_;
  advance();
  advance();
  while (!at_end()) {
    if (peek() == '*' && peek(1) == '/') {
      advance();
      advance();
      return {};
    }
    advance();
  }
  return error(start, "comment not terminated");
}

Result<void> Scanner::skip_blanks() {
  while (!at_end()) {
    char c = peek();
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      advance();
    } else if (c == '#' || (c == '/' && peek(1) == '/')) {
      while (!at_end() && peek() != '\n') {
        advance();
      }
    } else if (c == '/' && peek(1) == '*') {
      TRY(skip_block_comment());
    } else if (c == '/') {
      return error(at_, "expected '/' for comment");
    } else {
      break;
    }
  }
  return {};
}

Result<Token> Scanner::next() {
  TRY(skip_blanks());
  Token token{TokenKind::kEnd, {}, at_};
  if (at_end()) {
    return token;
  }
  std::size_t start = offset_;
  char c = peek();
  if (at_identifier()) {
    while (!at_end() && (at_identifier() || is_decimal(peek()) || peek() == '-' || peek() == '.')) {
      advance();
    }
    token.text = text_.substr(start, offset_ - start);
    token.kind =
        token.text == "true" || token.text == "false" ? TokenKind::kBool : TokenKind::kIdentifier;
    return token;
  }
  if (is_decimal(c) || ((c == '-' || c == '.') && is_decimal(peek(1)))) {
    return scan_number(std::move(token));
  }
  if (c == '"') {
    return scan_string(std::move(token));
  }
  if (c == '<') {
    return scan_heredoc(std::move(token));
  }
  static constexpr std::string_view kMarks = "{}[],=";
  static constexpr std::array<TokenKind, 6> kKinds = {
      TokenKind::kLeftBrace,    TokenKind::kRightBrace, TokenKind::kLeftBracket,
      TokenKind::kRightBracket, TokenKind::kComma,      TokenKind::kAssign};
  std::size_t mark = kMarks.find(c);
  if (mark == std::string_view::npos) {
    return error(at_, "illegal char");
  }
  advance();
  token.kind = kKinds[mark];
  token.text = c;
  return token;
}

Result<Token> Scanner::scan_number(Token token) {
  std::size_t start = offset_;
  auto digits = [this] {
    std::size_t before = offset_;
    while (is_decimal(peek())) {
      advance();
    }
    return offset_ > before;
  };
  token.kind = TokenKind::kNumber;
  if (peek() == '-') {
    advance();
  }
  if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X')) {
    advance();
    advance();
    if (digit_value(peek()) >= 16) {
      return error(token.at, "illegal hexadecimal number");
    }
    while (digit_value(peek()) < 16) {
      advance();
    }
    token.text = text_.substr(start, offset_ - start);
    return token;
  }
  std::size_t first = offset_;
  digits();
  std::string_view whole = text_.substr(first, offset_ - first);
  if (peek() == '.') {
    advance();
    digits();
    token.kind = TokenKind::kFloat;
  }
  if (peek() == 'e' || peek() == 'E') {
    advance();
    if (peek() == '+' || peek() == '-') {
      advance();
    }
    if (!digits()) {
      return error(token.at, "illegal exponent");
    }
    token.kind = TokenKind::kFloat;
  }
  if (token.kind == TokenKind::kNumber && whole.starts_with('0') &&
      whole.find_first_of("89") != std::string_view::npos) {
    return error(token.at, "illegal octal number");
  }
  token.text = text_.substr(start, offset_ - start);
  return token;
}

Result<std::uint32_t> Scanner::scan_digits(int base, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) {
    int digit = digit_value(peek());
    if (at_end() || digit >= base) {
      return error(at_, "illegal char escape");
    }
    value = value * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit);
    advance();
  }
  return value;
}

// After the backslash.
Result<void> Scanner::scan_escape(std::string& out) {
  static constexpr std::string_view kNames = "abfnrtv\\\"";
  static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\\"";
  char c = peek();
  if (std::size_t index = kNames.find(c); c != '\0' && index != std::string_view::npos) {
    advance();
    out += kValues[index];
    return {};
  }
  if (c >= '0' && c <= '7') {
    std::uint32_t value = TRY(scan_digits(8, 3));
    if (value > 255) {
      return error(at_, "illegal char escape");
    }
    out += static_cast<char>(value);
    return {};
  }
  if (c == 'x') {
    advance();
    out += static_cast<char>(TRY(scan_digits(16, 2)));
    return {};
  }
  if (c == 'u' || c == 'U') {
    advance();
    std::uint32_t value = TRY(scan_digits(16, c == 'u' ? 4 : 8));
    if (value > 0x10FFFF) {
      return error(at_, "illegal char escape");
    }
    append_utf8(value, out);
    return {};
  }
  return error(at_, "illegal char escape");
}

// Inside `${...}` nothing is decoded and quotes do not end the string.
Result<Token> Scanner::scan_string(Token token) {
  token.kind = TokenKind::kString;
  advance();
  int braces = 0;
  while (true) {
    if (at_end() || (peek() == '\n' && braces == 0)) {
      return error(token.at, "literal not terminated");
    }
    char c = peek();
    if (c == '"' && braces == 0) {
      advance();
      return token;
    }
    if (c == '\\') {
      std::size_t start = offset_;
      advance();
      std::string decoded;
      TRY(scan_escape(decoded));
      token.text += braces == 0 ? std::string_view(decoded) : text_.substr(start, offset_ - start);
      continue;
    }
    if (braces == 0 && c == '$' && peek(1) == '{') {
      token.text += c;
      advance();
      braces = 1;
    } else if (braces > 0 && c == '{') {
      ++braces;
    } else if (braces > 0 && c == '}') {
      --braces;
    }
    token.text += peek();
    advance();
  }
}

Result<Token> Scanner::scan_heredoc(Token token) {
  token.kind = TokenKind::kHeredoc;
  advance();
  if (peek() != '<') {
    return error(token.at, "heredoc expected second '<', didn't see it");
  }
  advance();
  bool indented = peek() == '-';
  if (indented) {
    advance();
  }
  std::size_t start = offset_;
  while (!at_end() && (at_identifier() || is_decimal(peek()))) {
    advance();
  }
  std::string_view anchor = text_.substr(start, offset_ - start);
  if (at_end()) {
    return error(token.at, "heredoc not terminated");
  }
  if (peek() != '\n') {
    return error(at_, "invalid characters in heredoc anchor");
  }
  if (anchor.empty()) {
    return error(token.at, "zero-length heredoc anchor");
  }
  advance();
  std::vector<std::string_view> lines;
  while (true) {
    std::size_t end = text_.find('\n', offset_);
    if (end == std::string_view::npos) {
      return error(token.at, "heredoc not terminated");
    }
    std::string_view line = text_.substr(offset_, end - offset_);
    while (offset_ <= end) {
      advance();
    }
    std::string_view word = line;
    while (word.ends_with('\r')) {
      word.remove_suffix(1);
    }
    if (word.ends_with(anchor)) {
      std::string_view indent = word.substr(0, word.size() - anchor.size());
      if (indent.find_first_not_of(" \t\r\v\f") == std::string_view::npos) {
        // Without the dash the terminator's own indentation belongs to the text.
        token.text = indented ? unindent(lines, indent) : unindent(lines, {}).append(indent);
        return token;
      }
    }
    lines.push_back(line);
  }
}

}  // namespace steeple::hcl
