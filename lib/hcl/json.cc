// SPDX-License-Identifier: Apache-2.0

// nlohmann-json's event parser, so that members keep order and repetition. It does not tell where
// a value stands, so the input iterator counts what was read and the handler looks back from there.

#include "lib/hcl/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lib/base/limits.h"

namespace steeple::hcl {
namespace {

class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char* begin, std::size_t* read)
      : at_(at), begin_(begin), read_(read) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    *read_ = static_cast<std::size_t>(at_ - begin_);
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char* begin_;
  std::size_t* read_;
};

class Handler : public nlohmann::json_sax<nlohmann::json> {
 public:
  Handler(std::string_view text, const std::size_t& read) : text_(text), read_(read) {}

  Value& root() { return root_; }
  const std::string& failure() const { return failure_; }

  bool null() override { return put({}, word_start()); }
  bool boolean(bool flag) override {
    Value value;
    value.kind = Kind::kBool;
    value.boolean = flag;
    return put(std::move(value), word_start());
  }
  bool number_integer(number_integer_t number) override {
    return number_text(std::to_string(number));
  }
  bool number_unsigned(number_unsigned_t number) override {
    return number_text(std::to_string(number));
  }
  bool number_float(number_float_t, const string_t& text) override {
    Value value;
    value.kind = Kind::kFloat;
    value.text = text;
    return put(std::move(value), word_start());
  }
  bool string(string_t& text) override { return put(make_string(std::move(text)), string_start()); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Kind::kObject, '{'); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Kind::kList, '['); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    open_.back()->members.push_back({std::move(name), {}, position(string_start())});
    return true;
  }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::detail::exception& problem) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ..."
    std::string_view what = problem.what();
    std::size_t start = what.find("] ");
    failure_ = start == std::string_view::npos ? what : what.substr(start + 2);
    return false;
  }

 private:
  bool number_text(std::string text) {
    Value value;
    value.kind = Kind::kNumber;
    value.text = std::move(text);
    return put(std::move(value), word_start());
  }

  // The parser has read a string up to its closing quote.
  std::size_t string_start() const {
    std::size_t i = read_ < 2 ? 0 : read_ - 2;
    while (i > 0) {
      std::size_t slashes = 0;
      while (text_[i] == '"' && slashes < i && text_[i - 1 - slashes] == '\\') {
        ++slashes;
      }
      if (text_[i] == '"' && slashes % 2 == 0) {
        break;
      }
      --i;
    }
    return i;
  }
  // A number or word; of a number one character more may have been read.
  std::size_t word_start() const {
    auto in_word = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '+' || c == '-' ||
             c == '.';
    };
    std::size_t i = std::min(read_, text_.size());
    while (i > 0 && !in_word(text_[i - 1])) {
      --i;
    }
    while (i > 0 && in_word(text_[i - 1])) {
      --i;
    }
    return i;
  }

  // Offsets only grow, so the text is counted once.
  Position position(std::size_t offset) {
    for (; counted_ < offset; ++counted_) {
      if (text_[counted_] == '\n') {
        ++at_.line;
        at_.column = 1;
      } else if ((text_[counted_] & 0xC0) != 0x80) {
        ++at_.column;
      }
    }
    return at_;
  }

  bool fail(std::string what) {
    failure_ = fmt::format("{}: {}", position(read_).text(), what);
    return false;
  }

  Value* place(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Value& parent = *open_.back();
    if (parent.kind == Kind::kList) {
      return &parent.items.emplace_back(std::move(value));
    }
    parent.members.back().value = std::move(value);
    return &parent.members.back().value;
  }

  bool put(Value value, std::size_t start) {
    if (++nodes_ > kNodesMax) {
      return fail(fmt::format("more than {} values", kNodesMax));
    }
    value.at = position(start);
    place(std::move(value));
    return true;
  }

  bool open(Kind kind, char mark) {
    if (open_.size() >= limits::kConfigDepthMax) {
      return fail(fmt::format("nested deeper than {}", limits::kConfigDepthMax));
    }
    if (++nodes_ > kNodesMax) {
      return fail(fmt::format("more than {} values", kNodesMax));
    }
    Value value;
    value.kind = kind;
    std::size_t offset = read_;
    while (offset > 0 && text_[offset - 1] != mark) {
      --offset;
    }
    value.at = position(offset == 0 ? 0 : offset - 1);
    // Pointers into the tree stay valid: only the innermost container grows.
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::size_t& read_;
  Value root_;
  std::vector<Value*> open_;
  std::string failure_;
  std::size_t nodes_ = 0;
  std::size_t counted_ = 0;
  Position at_{1, 1};
};

}  // namespace

Result<Value> parse_json(std::string_view text) {
  std::size_t read = 0;
  Handler handler(text, read);
  const char* begin = text.data();
  CountingIterator first(begin, begin, &read);
  CountingIterator last(begin + text.size(), begin, &read);
  bool good = false;
  try {
    good = nlohmann::json::sax_parse(first, last, &handler);
  } catch (const std::exception& problem) {
    return invalid_argument(problem.what());
  }
  if (!good) {
    return invalid_argument(handler.failure().empty() ? "malformed JSON" : handler.failure());
  }
  if (!handler.root().is_object()) {
    return invalid_argument("the document is not a JSON object");
  }
  return std::move(handler.root());
}

}  // namespace steeple::hcl
