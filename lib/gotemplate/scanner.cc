// SPDX-License-Identifier: Apache-2.0

// The scanner: text outside of actions whole, tokens inside of them.

#include <fmt/format.h>

#include "lib/gotemplate/syntax.h"
#include "lib/gotemplate/unicode.h"

namespace steeple::gotemplate {

namespace {

constexpr std::string_view kLeft = "{{";
constexpr std::string_view kRight = "}}";
constexpr std::string_view kSpaces = " \t\r\n";
constexpr Rune kEnd = -1;

bool blank(Rune rune) { return rune == ' ' || rune == '\t' || rune == '\r' || rune == '\n'; }
bool word_rune(Rune rune) { return rune == '_' || is_letter(rune) || is_digit(rune); }

bool left_trim_marker(std::string_view text) {
  return text.size() >= 2 && text[0] == '-' && blank(text[1]);
}
bool right_trim_marker(std::string_view text) {
  return text.size() >= 2 && blank(text[0]) && text[1] == '-';
}

// %#U: U+0040 '@'
std::string describe_rune(Rune rune) {
  if (rune < 0) {
    return "U+FFFFFFFFFFFFFFFF";
  }
  std::string out = fmt::format("U+{:04X}", rune);
  if (is_print(rune)) {
    out += " '";
    append_rune(out, rune);
    out += '\'';
  }
  return out;
}

const std::map<std::string_view, TokenKind>& keywords() {
  static const std::map<std::string_view, TokenKind> table = {{"block", TokenKind::kBlock},
                                                              {"break", TokenKind::kBreak},
                                                              {"continue", TokenKind::kContinue},
                                                              {"define", TokenKind::kDefine},
                                                              {"else", TokenKind::kElse},
                                                              {"end", TokenKind::kEnd},
                                                              {"if", TokenKind::kIf},
                                                              {"range", TokenKind::kRange},
                                                              {"nil", TokenKind::kNil},
                                                              {"template", TokenKind::kTemplate},
                                                              {"with", TokenKind::kWith}};
  return table;
}

class Scanner {
 public:
  Scanner(std::string_view text, const Functions& functions) : text_(text), functions_(functions) {}

  std::vector<Token> run() {
    while (!done_) {
      if (inside_) {
        scan_action();
      } else {
        scan_text();
      }
    }
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return text_.substr(at_); }
  Rune peek() const {
    std::size_t size = 0;
    return at_ < text_.size() ? decode_rune(rest(), &size) : kEnd;
  }
  Rune next() {
    if (at_ >= text_.size()) {
      return kEnd;
    }
    std::size_t size = 0;
    Rune rune = decode_rune(rest(), &size);
    at_ += size;
    line_ += rune == '\n' ? 1 : 0;
    return rune;
  }
  void emit(TokenKind kind) {
    tokens_.push_back({kind, start_, text_.substr(start_, at_ - start_), start_line_});
    start_ = at_;
    start_line_ = line_;
  }
  void fail(std::string message) {
    tokens_.push_back({TokenKind::kError, start_, {}, start_line_, std::move(message)});
    done_ = true;
  }
  // Leaves out what was passed over without next().
  void ignore(std::size_t to) {
    at_ = to;
    count_lines();
    start_ = at_;
    start_line_ = line_;
  }
  void count_lines() {
    std::string_view passed = text_.substr(start_, at_ - start_);
    line_ += static_cast<std::size_t>(std::count(passed.begin(), passed.end(), '\n'));
  }
  bool accept(std::string_view valid) {
    if (at_ < text_.size() && valid.find(text_[at_]) != std::string_view::npos) {
      ++at_;
      return true;
    }
    return false;
  }
  void accept_run(std::string_view valid) {
    while (accept(valid)) {
    }
  }
  bool at_right_delimiter(bool* trim) const {
    *trim = right_trim_marker(rest()) && rest().substr(2).starts_with(kRight);
    return *trim || rest().starts_with(kRight);
  }
  std::size_t skip_blanks(std::size_t from) const {
    std::size_t to = text_.find_first_not_of(kSpaces, from);
    return to == std::string_view::npos ? text_.size() : to;
  }

  void scan_text();
  void scan_left_delimiter();
  void scan_comment();
  void scan_right_delimiter();
  void scan_action();
  void scan_operand(Rune rune);
  void scan_space();
  void scan_identifier();
  void scan_field_or_variable(TokenKind kind);
  void scan_quoted(Rune mark, TokenKind kind, std::string_view what);
  void scan_raw();
  void scan_number();
  bool pass_number();
  bool at_terminator() const;

  std::string_view text_;
  const Functions& functions_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;
  std::size_t line_ = 1;
  std::size_t start_line_ = 1;
  int parentheses_ = 0;
  bool inside_ = false;
  bool done_ = false;
};

void Scanner::scan_text() {
  std::size_t left = text_.find(kLeft, at_);
  if (left == std::string_view::npos) {
    at_ = text_.size();
    if (at_ > start_) {
      count_lines();
      emit(TokenKind::kText);
    }
    emit(TokenKind::kEof);
    done_ = true;
    return;
  }
  if (left > at_) {
    std::size_t end = left;
    if (left_trim_marker(text_.substr(left + kLeft.size()))) {
      std::size_t last = text_.substr(start_, left - start_).find_last_not_of(kSpaces);
      end = last == std::string_view::npos ? start_ : start_ + last + 1;
    }
    at_ = end;
    count_lines();
    if (at_ > start_) {
      emit(TokenKind::kText);
    }
    ignore(left);
  }
  scan_left_delimiter();
}

void Scanner::scan_left_delimiter() {
  at_ += kLeft.size();
  std::size_t marker = left_trim_marker(rest()) ? 2 : 0;
  if (text_.substr(at_ + marker).starts_with("/*")) {
    ignore(at_ + marker);
    scan_comment();
    return;
  }
  emit(TokenKind::kLeftDelimiter);
  inside_ = true;
  ignore(at_ + marker);
  parentheses_ = 0;
}

void Scanner::scan_comment() {
  std::size_t end = text_.find("*/", at_ + 2);
  if (end == std::string_view::npos) {
    at_ += 2;
    fail("unclosed comment");
    return;
  }
  at_ = end + 2;
  bool trim = false;
  if (!at_right_delimiter(&trim)) {
    fail("comment ends before closing delimiter");
    return;
  }
  std::size_t to = at_ + (trim ? 2 : 0) + kRight.size();
  ignore(trim ? skip_blanks(to) : to);
}

void Scanner::scan_right_delimiter() {
  bool trim = false;
  (void)at_right_delimiter(&trim);
  if (trim) {
    ignore(at_ + 2);
  }
  at_ += kRight.size();
  emit(TokenKind::kRightDelimiter);
  if (trim) {
    ignore(skip_blanks(at_));
  }
  inside_ = false;
}

void Scanner::scan_action() {
  bool trim = false;
  if (at_right_delimiter(&trim)) {
    if (parentheses_ == 0) {
      scan_right_delimiter();
    } else {
      fail("unclosed left paren");
    }
    return;
  }
  Rune rune = peek();
  if (rune == kEnd) {
    fail("unclosed action");
  } else if (blank(rune)) {
    scan_space();
  } else {
    (void)next();
    scan_operand(rune);
  }
}

void Scanner::scan_operand(Rune rune) {
  bool number_after_dot = at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9';
  if (rune == '=') {
    emit(TokenKind::kAssign);
  } else if (rune == ':') {
    if (next() != '=') {
      fail("expected :=");
    } else {
      emit(TokenKind::kDeclare);
    }
  } else if (rune == '|') {
    emit(TokenKind::kPipe);
  } else if (rune == '"') {
    scan_quoted('"', TokenKind::kString, "unterminated quoted string");
  } else if (rune == '`') {
    scan_raw();
  } else if (rune == '$') {
    scan_field_or_variable(TokenKind::kVariable);
  } else if (rune == '\'') {
    scan_quoted('\'', TokenKind::kCharConstant, "unterminated character constant");
  } else if (rune == '.' && at_ < text_.size() && !number_after_dot) {
    scan_field_or_variable(TokenKind::kField);
  } else if (rune == '.' || rune == '+' || rune == '-' || (rune >= '0' && rune <= '9')) {
    at_ = start_;
    scan_number();
  } else if (word_rune(rune)) {
    scan_identifier();
  } else if (rune == '(') {
    ++parentheses_;
    emit(TokenKind::kLeftParenthesis);
  } else if (rune == ')') {
    if (--parentheses_ < 0) {
      fail("unexpected right paren");
    } else {
      emit(TokenKind::kRightParenthesis);
    }
  } else if (rune < 0x80 && is_print(rune)) {
    emit(TokenKind::kChar);
  } else {
    fail("unrecognized character in action: " + describe_rune(rune));
  }
}

void Scanner::scan_space() {
  std::size_t count = 0;
  while (blank(peek())) {
    (void)next();
    ++count;
  }
  // The last blank may belong to a closing delimiter with a trim marker.
  std::string_view last = text_.substr(at_ - 1);
  if (right_trim_marker(last) && last.substr(2).starts_with(kRight)) {
    --at_;
    line_ -= text_[at_] == '\n' ? 1 : 0;
    if (count == 1) {
      scan_right_delimiter();
      return;
    }
  }
  emit(TokenKind::kSpace);
}

bool Scanner::at_terminator() const {
  Rune rune = peek();
  switch (rune) {
    case kEnd:
    case '.':
    case ',':
    case '|':
    case ':':
    case ')':
    case '(':
      return true;
    default:
      return blank(rune) || rest().starts_with(kRight);
  }
}

void Scanner::scan_identifier() {
  while (word_rune(peek())) {
    (void)next();
  }
  if (!at_terminator()) {
    fail("bad character " + describe_rune(peek()));
    return;
  }
  std::string_view word = text_.substr(start_, at_ - start_);
  auto keyword = keywords().find(word);
  if (keyword != keywords().end()) {
    bool loop_word = word == "break" || word == "continue";
    emit(loop_word && functions_.contains(word) ? TokenKind::kIdentifier : keyword->second);
  } else {
    emit(word == "true" || word == "false" ? TokenKind::kBool : TokenKind::kIdentifier);
  }
}

void Scanner::scan_field_or_variable(TokenKind kind) {
  if (at_terminator()) {
    emit(kind == TokenKind::kVariable ? kind : TokenKind::kDot);
    return;
  }
  while (word_rune(peek())) {
    (void)next();
  }
  if (!at_terminator()) {
    fail("bad character " + describe_rune(peek()));
    return;
  }
  emit(kind);
}

void Scanner::scan_quoted(Rune mark, TokenKind kind, std::string_view what) {
  while (true) {
    Rune rune = next();
    if (rune == '\\') {
      rune = next();
      if (rune != kEnd && rune != '\n') {
        continue;
      }
    }
    if (rune == kEnd || rune == '\n') {
      fail(std::string(what));
      return;
    }
    if (rune == mark) {
      emit(kind);
      return;
    }
  }
}

void Scanner::scan_raw() {
  while (true) {
    Rune rune = next();
    if (rune == kEnd) {
      fail("unterminated raw quoted string");
      return;
    }
    if (rune == '`') {
      emit(TokenKind::kRawString);
      return;
    }
  }
}

bool Scanner::pass_number() {
  accept("+-");
  std::string_view digits = "0123456789_";
  bool hex = false;
  bool decimal = true;
  if (accept("0")) {
    if (accept("xX")) {
      digits = "0123456789abcdefABCDEF_";
      hex = true;
      decimal = false;
    } else if (accept("oO")) {
      digits = "01234567_";
      decimal = false;
    } else if (accept("bB")) {
      digits = "01_";
      decimal = false;
    }
  }
  accept_run(digits);
  if (accept(".")) {
    accept_run(digits);
  }
  if ((decimal && accept("eE")) || (hex && accept("pP"))) {
    accept("+-");
    accept_run("0123456789_");
  }
  accept("i");
  if (word_rune(peek())) {
    (void)next();
    return false;
  }
  return true;
}

void Scanner::scan_number() {
  auto bad = [&] { fail("bad number syntax: " + quote(text_.substr(start_, at_ - start_))); };
  if (!pass_number()) {
    bad();
    return;
  }
  if (Rune sign = peek(); sign == '+' || sign == '-') {
    if (!pass_number() || text_[at_ - 1] != 'i') {
      bad();
      return;
    }
    emit(TokenKind::kComplex);
    return;
  }
  emit(TokenKind::kNumber);
}

}  // namespace

std::string Token::describe() const {
  if (kind == TokenKind::kEof) {
    return "EOF";
  }
  if (kind == TokenKind::kError) {
    return error;
  }
  if (kind > TokenKind::kKeyword) {
    return fmt::format("<{}>", text);
  }
  if (text.size() <= 10) {
    return quote(text);
  }
  std::size_t bytes = 0;
  for (int runes = 0; runes < 10 && bytes < text.size(); ++runes) {
    std::size_t size = 0;
    (void)decode_rune(text.substr(bytes), &size);
    bytes += size;
  }
  return quote(text.substr(0, bytes)) + "...";
}

std::vector<Token> scan(std::string_view text, const Functions& functions) {
  return Scanner(text, functions).run();
}

}  // namespace steeple::gotemplate
