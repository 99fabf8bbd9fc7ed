// SPDX-License-Identifier: Apache-2.0

#include "lib/jose/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace steeple::jose {
namespace {

using nlohmann::json;

// Decides on the text before a tree is built: depth, and members given twice, which two readers may
// take differently (RFC 7515 section 4 forbids them in headers).
class Gate final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    names_.emplace_back();
    return enter();
  }
  bool key(string_t& name) override {
    if (!names_.back().insert(name).second) {
      refuse("duplicate member \"" + name + "\"");
      return false;
    }
    return true;
  }
  bool end_object() override {
    names_.pop_back();
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override { return enter(); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    refuse(fmt::format("syntax error at byte {}", position));
    return false;
  }

  const std::string& why() const { return why_; }

 private:
  bool enter() {
    if (++depth_ > kJsonDepthMax) {
      refuse("nested too deep");
      return false;
    }
    return true;
  }
  void refuse(std::string why) {
    if (why_.empty()) {
      why_ = std::move(why);
    }
  }

  std::vector<std::set<std::string>> names_;
  std::size_t depth_ = 0;
  std::string why_;
};

}  // namespace

Result<json> parse_object(std::string_view text, std::size_t bytes_max) {
  if (text.size() > bytes_max) {
    return invalid_argument("JSON document is too large");
  }
  try {
    Gate gate;
    if (!json::sax_parse(text, &gate)) {
      return invalid_argument("malformed JSON: " + gate.why());
    }
    json value = json::parse(text, nullptr, false);
    if (!value.is_object()) {
      return invalid_argument("malformed JSON: expected an object");
    }
    return value;
  } catch (const std::exception& error) {
    return invalid_argument(fmt::format("malformed JSON: {}", error.what()));
  }
}

Result<std::string> string_member(const json& object, const char* name) {
  auto found = object.find(name);
  if (found == object.end() || found->is_null()) {
    return std::string();
  }
  if (!found->is_string()) {
    return invalid_argument(fmt::format("member \"{}\" is not a string", name));
  }
  return found->get_ref<const std::string&>();
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    bool line_separator = text.substr(i, 2) == "\xe2\x80" && i + 2 < text.size() &&
                          (text[i + 2] == '\xa8' || text[i + 2] == '\xa9');
    if (c == '"' || c == '\\') {
      out += '\\';
      out += text[i];
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\b') {
      out += "\\b";
    } else if (c == '\f') {
      out += "\\f";
    } else if (c < 0x20 || c == '<' || c == '>' || c == '&') {
      out += fmt::format("\\u{:04x}", c);
    } else if (line_separator) {
      out += text[i + 2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out + '"';
}

std::string indent_json(std::string_view compact, std::size_t spaces) {
  std::string out;
  std::size_t depth = 0;
  auto new_line = [&] {
    out += '\n';
    out.append(spaces * depth, ' ');
  };
  bool in_string = false;
  for (std::size_t i = 0; i < compact.size(); ++i) {
    char c = compact[i];
    if (in_string) {
      out += c;
      if (c == '\\') {
        out += compact[++i];
      }
      in_string = c != '"';
    } else if (c == '{' || c == '[') {
      out += c;
      if (compact[i + 1] == '}' || compact[i + 1] == ']') {
        out += compact[++i];
        continue;
      }
      ++depth;
      new_line();
    } else if (c == '}' || c == ']') {
      --depth;
      new_line();
      out += c;
    } else {
      out += c;
      in_string = c == '"';
      if (c == ',') {
        new_line();
      } else if (c == ':') {
        out += ' ';
      }
    }
  }
  return out;
}

}  // namespace steeple::jose
