// SPDX-License-Identifier: Apache-2.0

// Reads {"kind": ..., "items": [{...}, ...], ...} as it arrives and hands on each element of the
// named array at once, so that a list of any length costs the memory of one element. For the API
// server's lists and the kubelet's pod list:
//
//   ArrayReader reader("items", [](const nlohmann::json& pod) { ...; return Result<void>(); });
//   TRY(reader.feed(bytes)); ...  nlohmann::json rest = TRY(reader.finish());
//
// Strict: elements must be objects; they and the rest are parsed as parse_object does. Any thread,
// one at a time.

#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/kube/json.h"

namespace steeple::kube {

class ArrayReader {
 public:
  // An error ends the reading and is what `feed` returns.
  using OnElement = std::function<Result<void>(const nlohmann::json&)>;
  using OnText = std::function<Result<void>(std::string_view)>;

  struct Limits {
    std::size_t element_bytes_max = kObjectBytesMax;
    std::size_t rest_bytes_max = std::size_t{1} << 20;  // everything beside the array
    std::size_t elements_max = 1'000'000;
    bool keep_managed_fields = false;
  };

  ArrayReader(std::string member, OnElement on_element, Limits limits);
  ArrayReader(std::string member, OnElement on_element)
      : ArrayReader(std::move(member), std::move(on_element), Limits{}) {}
  // Elements as their text, unparsed: for who looks for one among many. The text is balanced in
  // brackets and quotes, no more.
  static ArrayReader of_texts(std::string member, OnText on_text, Limits limits);
  static ArrayReader of_texts(std::string member, OnText on_text) {
    return of_texts(std::move(member), std::move(on_text), Limits{});
  }

  // After an error every later call gives it again.
  Result<void> feed(std::string_view bytes);
  // The whole object, its array empty. An error when the text is not complete.
  Result<nlohmann::json> finish();
  std::size_t elements() const { return elements_; }

 private:
  enum class Where : std::uint8_t { kRest, kBeforeElement, kElement, kAfterElement };
  struct Texts {};

  ArrayReader(Texts, std::string member, OnText on_text, Limits limits);

  Result<void> run(std::string_view bytes);
  // These take what they can from the front of `bytes`.
  Result<void> take_rest(std::string_view& bytes);
  Result<void> take_between(std::string_view& bytes);
  Result<void> take_element(std::string_view& bytes);
  bool enters_array(char c);
  // True when the bracket that closes everything went by.
  bool scan(char c);

  std::string member_;
  OnText on_text_;
  Limits limits_;
  Where where_ = Where::kRest;
  std::string rest_;     // the text without the elements
  std::string element_;  // as far as it came
  std::size_t elements_ = 0;
  std::size_t depth_ = 0;  // of brackets open, in the rest or in the element
  bool in_string_ = false;
  bool escaped_ = false;
  bool array_seen_ = false;
  bool comma_ = false;             // an element must follow
  bool member_colon_ = false;      // `"items":` stood last
  std::size_t string_start_ = 0;   // of the last string at depth 1, in rest_
  std::size_t string_length_ = 0;  //
  Result<void> failed_;
};

}  // namespace steeple::kube
