// SPDX-License-Identifier: Apache-2.0

// Go's text/template: the whole language with its truth, printing and error texts
// ("template: NAME:LINE: ..."). Parse once, then execute from any thread; a Template is immutable.
// Bounded in every direction, see the limits below: a template is foreign text.

#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/gotemplate/function.h"
#include "lib/gotemplate/value.h"

namespace steeple::gotemplate {

inline constexpr std::size_t kTemplateBytesMax = std::size_t{64} << 10;
inline constexpr std::size_t kOutputBytesMax = std::size_t{1} << 20;
inline constexpr std::size_t kStepsMax = 200'000;  // nodes, iterations, 64 bytes of a value each
inline constexpr int kNestingMax = 100;            // blocks and parentheses in one another
inline constexpr int kTemplateDepthMax = 100;      // templates that call one another; Go: 100,000
inline constexpr int kValueDepthMax = 100;         // lists and maps in one another

struct Program;  // the parsed trees

// The fields that a template may read, as paths from the data: {"PodMeta", "Labels", "app"}. A path
// stands for everything below it; the empty path for the whole data. Never too few: where a read
// cannot be told, the nearest known prefix stands.
using FieldPath = std::vector<std::string>;
using References = std::set<FieldPath>;

enum class MissingKey : std::uint8_t {
  kNoValue,  // Go's default: prints "<no value>"
  kZero,     // option missingkey=zero
  kError,    // option missingkey=error: `map has no entry for key "x"`
};

struct Options {
  MissingKey missing_key = MissingKey::kNoValue;
};

class Template {
 public:
  // `name` is only for error texts. Errors are kInvalidArgument with Go's text.
  static Result<Template> parse(std::string_view name, std::string_view text,
                                Functions functions = {}, Options options = {});

  // Nothing of `data` is changed. Errors: kInvalidArgument with Go's text, kResourceExhausted for
  // a limit.
  Result<std::string> execute(const Value& data) const;

  const References& references() const;
  // Whether the template may read something below `path` or above it.
  bool reads(const FieldPath& path) const;

 private:
  explicit Template(std::shared_ptr<const Program> program) : program_(std::move(program)) {}

  std::shared_ptr<const Program> program_;
};

}  // namespace steeple::gotemplate
