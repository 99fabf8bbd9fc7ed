// SPDX-License-Identifier: Apache-2.0

#include "lib/hcl/parse.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "lib/base/limits.h"
#include "lib/hcl/json.h"
#include "lib/hcl/scanner.h"
#include "lib/io/directory.h"

namespace steeple::hcl {
namespace {

Error at_error(Position at, std::string_view what) {
  return invalid_argument(fmt::format("{}: {}", at.text(), what));
}

class Parser {
 public:
  explicit Parser(std::string_view text) : scanner_(text) {}

  Result<Value> document() {
    TRY(advance());
    Value root = make_object();
    root.at = {1, 1};
    TRY(members(root, TokenKind::kEnd));
    return root;
  }

 private:
  Result<void> advance() {
    token_ = TRY(scanner_.next());
    return {};
  }

  Result<void> count_node() {
    if (++nodes_ > kNodesMax) {
      return at_error(token_.at, fmt::format("more than {} values", kNodesMax));
    }
    return {};
  }

  // Up to and including the closing token.
  Result<void> members(Value& object, TokenKind end) {
    while (token_.kind != end) {
      TRY(member(object));
      if (token_.kind == TokenKind::kComma) {
        TRY(advance());
      }
    }
    if (end != TokenKind::kEnd) {
      TRY(advance());
    }
    return {};
  }

  // `a = value`, or `a "label" {}`, whose labels become objects around the block.
  Result<void> member(Value& object) {
    std::vector<Token> keys;
    while (token_.kind == TokenKind::kIdentifier || token_.kind == TokenKind::kString) {
      keys.push_back(std::move(token_));
      TRY(advance());
    }
    if (keys.empty()) {
      return at_error(token_.at, fmt::format("expected: IDENT | STRING | ASSIGN | LBRACE got: {}",
                                             token_name(token_.kind)));
    }
    Value value;
    if (token_.kind == TokenKind::kAssign) {
      if (keys.size() > 1) {
        return at_error(token_.at, "nested object expected: LBRACE got: ASSIGN");
      }
      TRY(advance());
      value = TRY(this->value());
    } else if (token_.kind == TokenKind::kLeftBrace) {
      value = TRY(block(keys.size()));
    } else {
      std::string names;
      for (const Token& key : keys) {
        names += names.empty() ? key.text : " " + key.text;
      }
      return at_error(
          token_.at,
          fmt::format("key '{}' expected start of object ('{{') or assignment ('=')", names));
    }
    for (std::size_t i = keys.size(); i-- > 1;) {
      Value wrapper = make_object();
      wrapper.at = keys[i].at;
      wrapper.members.push_back({std::move(keys[i].text), std::move(value), keys[i].at});
      value = std::move(wrapper);
    }
    object.members.push_back({std::move(keys[0].text), std::move(value), keys[0].at});
    return {};
  }

  // At the brace; `levels`: the block and its labels.
  Result<Value> block(std::size_t levels) {
    if (depth_ + levels > limits::kConfigDepthMax) {
      return at_error(token_.at, fmt::format("nested deeper than {}", limits::kConfigDepthMax));
    }
    depth_ += levels;
    TRY(count_node());
    Value object = make_object();
    object.at = token_.at;
    Position opened = token_.at;
    TRY(advance());
    while (token_.kind != TokenKind::kRightBrace) {
      if (token_.kind == TokenKind::kEnd) {
        return at_error(opened, "object expected closing RBRACE got: EOF");
      }
      TRY(member(object));
      if (token_.kind == TokenKind::kComma) {
        TRY(advance());
      }
    }
    TRY(advance());
    depth_ -= levels;
    return object;
  }

  Result<Value> list() {
    if (++depth_ > limits::kConfigDepthMax) {
      return at_error(token_.at, fmt::format("nested deeper than {}", limits::kConfigDepthMax));
    }
    TRY(count_node());
    Value list;
    list.kind = Kind::kList;
    list.at = token_.at;
    TRY(advance());
    bool need_comma = false;
    while (token_.kind != TokenKind::kRightBracket) {
      if (token_.kind == TokenKind::kComma) {
        need_comma = false;
        TRY(advance());
        continue;
      }
      if (need_comma) {
        return at_error(token_.at,
                        fmt::format("error parsing list, expected comma or list end, got: {}",
                                    token_name(token_.kind)));
      }
      list.items.push_back(TRY(value()));
      need_comma = true;
    }
    TRY(advance());
    --depth_;
    return list;
  }

  Result<Value> value() {
    switch (token_.kind) {
      case TokenKind::kLeftBrace:
        return block(1);
      case TokenKind::kLeftBracket:
        return list();
      case TokenKind::kNumber:
        return scalar(Kind::kNumber);
      case TokenKind::kFloat:
        return scalar(Kind::kFloat);
      case TokenKind::kBool:
        return scalar(Kind::kBool);
      case TokenKind::kString:
      case TokenKind::kHeredoc:
        return scalar(Kind::kString);
      default:
        return at_error(token_.at, fmt::format("expected a value, got: {} {}",
                                               token_name(token_.kind), token_.text));
    }
  }

  Result<Value> scalar(Kind kind) {
    TRY(count_node());
    Value value;
    value.kind = kind;
    value.at = token_.at;
    value.boolean = kind == Kind::kBool && token_.text == "true";
    value.text = kind == Kind::kBool ? std::string() : std::move(token_.text);
    TRY(advance());
    return value;
  }

  Scanner scanner_;
  Token token_;
  std::size_t depth_ = 0;
  std::size_t nodes_ = 0;
};

// Line ends become '\n'. HCL1 wants UTF-8 and no NUL.
Result<std::string> normalize(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  int line = 1;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') {
      continue;
    }
    line += c == '\n' ? 1 : 0;
    if (c == 0) {
      return invalid_argument(fmt::format("line {}: unexpected null character (0x00)", line));
    }
    if (c >= 0x80) {
      std::size_t length = utf8_length(text.substr(i));
      if (length == 0) {
        return invalid_argument(fmt::format("line {}: illegal UTF-8 encoding", line));
      }
      out += text.substr(i, length);
      i += length - 1;
      continue;
    }
    out += static_cast<char>(c);
  }
  return out;
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(0);
  std::size_t length = lead < 0x80   ? 1
                       : lead < 0xC2 ? 0
                       : lead < 0xE0 ? 2
                       : lead < 0xF0 ? 3
                       : lead < 0xF5 ? 4
                                     : 0;
  if (length == 0 || length > text.size()) {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) {
      return 0;
    }
  }
  // Overlong forms, surrogates and code points past U+10FFFF.
  bool wrong =
      length > 2 && ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) ||
                     (lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F));
  return wrong ? 0 : length;
}

Result<Value> parse(std::string_view text) {
  if (text.size() > limits::kConfigBytesMax) {
    return invalid_argument(
        fmt::format("configuration is larger than {} bytes", limits::kConfigBytesMax));
  }
  std::size_t first = text.find_first_not_of(" \t\r\n\v\f");
  if (first != std::string_view::npos && text[first] == '{') {
    return parse_json(text);
  }
  std::string normal = TRY(normalize(text));
  return Parser(normal).document();
}

Environment process_environment() {
  return [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool is_special(char c) { return std::string_view("*#$@!?-0123456789").contains(c); }

struct Name {
  std::string_view text;
  std::size_t width = 0;  // after the '$'; 0: not a variable, the '$' stays
};

// Go's getShellName.
Name shell_name(std::string_view rest) {
  if (rest[0] == '{') {
    if (rest.size() > 2 && is_special(rest[1]) && rest[2] == '}') {
      return {rest.substr(1, 1), 3};
    }
    std::size_t end = rest.find('}', 1);
    if (end == std::string_view::npos) {
      return {{}, 1};  // bad syntax: eats "${"
    }
    if (end == 1) {
      return {{}, 2};  // "${}" is eaten too
    }
    return {rest.substr(1, end - 1), end + 1};
  }
  if (is_special(rest[0])) {
    return {rest.substr(0, 1), 1};
  }
  std::size_t end = 0;
  while (end < rest.size() && is_name_char(rest[end])) {
    ++end;
  }
  return {rest.substr(0, end), end};
}

}  // namespace

std::string expand_env(std::string_view text, const Environment& environment) {
  std::string out;
  std::size_t from = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 >= text.size()) {
      continue;
    }
    out += text.substr(from, i - from);
    Name name = shell_name(text.substr(i + 1));
    if ((name.text.empty() && name.width == 0) || name.text == "$") {
      out += '$';
    } else if (!name.text.empty()) {
      out += environment(name.text).value_or("");
    }
    i += name.width;
    from = i + 1;
  }
  return from < text.size() ? out.append(text.substr(from)) : out;
}

Result<Value> load_file(const std::string& path, const LoadOptions& options) {
  auto content = io::read_file(path, limits::kConfigBytesMax);
  if (!content.ok() && content.error().code == Code::kNotFound) {
    std::error_code code;
    auto absolute = std::filesystem::absolute(path, code).lexically_normal();
    return not_found(fmt::format("could not find config file {}: please use the -config flag",
                                 code ? path : absolute.string()));
  }
  if (!content.ok()) {
    return std::move(content.error())
        .during(fmt::format("unable to read configuration at \"{}\"", path));
  }
  std::string text = std::move(content).take();
  if (options.expand_env) {
    text = expand_env(text, options.environment);
  }
  return parse(text).during(fmt::format("unable to decode configuration at \"{}\"", path));
}

}  // namespace steeple::hcl
