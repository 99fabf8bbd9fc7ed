// SPDX-License-Identifier: Apache-2.0

// Goal: foreign JSON and YAML are read strictly, and lists element by element. Method: texts cut at
// every byte give the same elements; malformed ones give errors, never elements that are not there.

#include "lib/kube/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lib/kube/array_reader.h"
#include "lib/kube/yaml.h"

namespace steeple::kube {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

struct Outcome {
  std::vector<std::string> names;
  Result<json> rest;
};

Outcome read_in_pieces(std::string_view text, std::size_t piece, ArrayReader::Limits limits = {}) {
  Outcome out;
  ArrayReader reader(
      "items",
      [&out](const json& item) -> Result<void> {
        out.names.push_back(string_at(item, {"name"}));
        return {};
      },
      limits);
  for (std::size_t at = 0; at < text.size(); at += piece) {
    (void)reader.feed(text.substr(at, piece));
  }
  out.rest = reader.finish();
  return out;
}

constexpr std::string_view kList =
    R"( {"kind": "PodList", "note": "\"items\":[", "metadata": {"items": [{"name": "no"}]},)"
    R"( "items" : [ {"name": "a]}\"", "x": [{}, [1]]} , {"name": "b"}], "tail": 1} )";

TEST(ArrayReader, GivesTheSameElementsHoweverTheTextIsCut) {
  for (std::size_t piece = 1; piece <= kList.size(); ++piece) {
    Outcome outcome = read_in_pieces(kList, piece);
    ASSERT_THAT(outcome.names, ElementsAre("a]}\"", "b")) << piece;
    ASSERT_TRUE(outcome.rest.ok()) << outcome.rest.error().message;
    EXPECT_EQ(outcome.rest->at("tail"), 1);
    EXPECT_TRUE(outcome.rest->at("items").empty());
    EXPECT_EQ(outcome.rest->at("metadata").at("items").size(), 1U);
  }
}

TEST(ArrayReader, TakesAnEmptyANullAndAnAbsentArray) {
  for (const char* text : {R"({"items":[]})", R"({"items":null})", R"({"kind":"PodList"})"}) {
    Outcome outcome = read_in_pieces(text, 3);
    EXPECT_TRUE(outcome.rest.ok()) << text;
    EXPECT_TRUE(outcome.names.empty());
  }
}

TEST(ArrayReader, RefusesMalformedLists) {
  for (const char* text :
       {R"({"items":[{},]})", R"({"items":[,{}]})", R"({"items":[{}{}]})", R"({"items":[1]})",
        R"({"items":[{"a":1,"a":2}]})", R"({"items":[{]})", R"({"items":[{}])", R"({"items":[{})",
        R"({"items":[{}]}})", R"({"items":[],"items":[]})", R"({"kind":"items":[{}]})", "",
        R"([{"items":[]}])", R"({"items":[{}]} x)"}) {
    EXPECT_FALSE(read_in_pieces(text, 1).rest.ok()) << text;
    EXPECT_FALSE(read_in_pieces(text, 1000).rest.ok()) << text;
  }
}

TEST(ArrayReader, KeepsItsLimits) {
  ArrayReader::Limits small{.element_bytes_max = 20, .rest_bytes_max = 40, .elements_max = 2};
  EXPECT_FALSE(
      read_in_pieces(R"({"items":[{"name":"12345678901234567890"}]})", 7, small).rest.ok());
  EXPECT_FALSE(read_in_pieces(R"({"items":[{},{},{}]})", 7, small).rest.ok());
  EXPECT_FALSE(
      read_in_pieces(R"({"x":"1234567890123456789012345678901234567890"})", 7, small).rest.ok());
  EXPECT_TRUE(read_in_pieces(R"({"items":[{},{}]})", 7, small).rest.ok());
}

TEST(ArrayReader, StopsAtTheFirstErrorOfTheUser) {
  int seen = 0;
  ArrayReader reader("items", [&seen](const json&) -> Result<void> {
    ++seen;
    return cancelled("enough");
  });
  EXPECT_EQ(reader.feed(R"({"items":[{},{},{}]})").error().message, "enough");
  EXPECT_EQ(reader.feed("}").error().message, "enough");
  EXPECT_EQ(seen, 1);
}

TEST(ArrayReader, GivesTextsToWhoLooksForOne) {
  std::vector<std::string> texts;
  ArrayReader reader = ArrayReader::of_texts("items", [&texts](std::string_view text) {
    texts.emplace_back(text);
    return Result<void>();
  });
  ASSERT_TRUE(reader.feed(R"({"items":[{"a":1}, {"b":)").ok());
  ASSERT_TRUE(reader.feed(R"(2}]})").ok());
  EXPECT_THAT(texts, ElementsAre(R"({"a":1})", R"({"b":2})"));
  EXPECT_TRUE(reader.finish().ok());
}

TEST(ParseObject, LeavesManagedFieldsOutWhenToldTo) {
  constexpr std::string_view kText =
      R"({"metadata": {"managedFields": [{"fieldsV1": {"f:a": {}}}], "name": "n"},
          "managedFields": 1})";
  json kept = parse_object(kText).take();
  EXPECT_TRUE(kept["metadata"].contains("managedFields"));
  json object = parse_object(kText, kObjectBytesMax, false).take();
  EXPECT_FALSE(object["metadata"].contains("managedFields"));
  EXPECT_EQ(object["metadata"]["name"], "n");
  EXPECT_EQ(object["managedFields"], 1);
}

TEST(ParseObject, RefusesWhatTwoReadersCouldTakeDifferently) {
  EXPECT_FALSE(parse_object(R"({"a":1,"a":2})").ok());
  EXPECT_FALSE(parse_object(R"({"a":1} {"b":2})").ok());
  EXPECT_FALSE(parse_object("{\"a\":\"\xff\"}").ok());
  EXPECT_FALSE(parse_object("[]").ok());
  std::string deep =
      R"({"a":)" + std::string(kJsonDepthMax, '[') + std::string(kJsonDepthMax, ']') + "}";
  EXPECT_FALSE(parse_object(deep).ok());
}

TEST(JsonPaths, GiveNothingForWhatIsNotThere) {
  json object = json::parse(R"({"a": {"b": "c", "n": 7, "t": true, "m": {"x": "1", "y": 2}}})");
  EXPECT_EQ(string_at(object, {"a", "b"}), "c");
  EXPECT_EQ(string_at(object, {"a", "n"}), "");
  EXPECT_EQ(string_at(object, {"a", "b", "c"}), "");
  EXPECT_EQ(integer_at(object, {"a", "n"}), 7);
  EXPECT_EQ(integer_at(object, {"a", "b"}, -1), -1);
  EXPECT_TRUE(bool_at(object, {"a", "t"}));
  EXPECT_EQ(string_map_at(object, {"a", "m"}), (Labels{{"x", "1"}}));
}

TEST(Yaml, ReadsWhatKubernetesWrites) {
  json value = parse_yaml(R"(
apiVersion: v1   # comment
list: [1, -2, 0x10, 0o17, 017, 1.5, 1e3, "3"]
flags: {a: true, b: "true", c: no, d: ~, e: }
8080: port
text: |
  two
  lines
base: &base {x: 1, y: 2}
more: {<<: *base, y: 3}
date: 2020-01-02
version: 1.2.3
)")
                   .take();
  EXPECT_EQ(value["list"], json::parse(R"([1,-2,16,15,15,1.5,1000.0,"3"])"));
  EXPECT_EQ(value["flags"], json::parse(R"({"a":true,"b":"true","c":false,"d":null,"e":null})"));
  EXPECT_EQ(value["8080"], "port");
  EXPECT_EQ(value["text"], "two\nlines\n");
  EXPECT_EQ(value["more"], json::parse(R"({"x":1,"y":3})"));
  EXPECT_EQ(value["date"], "2020-01-02");
  EXPECT_EQ(value["version"], "1.2.3");
}

TEST(Yaml, ReadsJsonAsItIs) {
  constexpr const char* kText = R"({"a": [1, {"b": "\u00e9\n"}], "c": null})";
  EXPECT_EQ(parse_yaml(kText).take(), json::parse(kText));
}

TEST(Yaml, DividesDocumentsAndLeavesEmptyOnesOut) {
  EXPECT_EQ(parse_yaml_documents("---\na: 1\n---\n# nothing\n---\nb: 2\n").take().size(), 2U);
  EXPECT_TRUE(parse_yaml("").take().is_null());
  EXPECT_TRUE(parse_yaml(std::string_view()).take().is_null()) << "libyaml would abort";
  EXPECT_FALSE(parse_yaml("a: 1\n---\nb: 2\n").ok());
}

TEST(Yaml, RefusesDuplicatesUnknownTagsAndBombs) {
  EXPECT_THAT(parse_yaml("a: 1\nb: 2\na: 3\n").error().message,
              HasSubstr("line 3: key \"a\" already set in map"));
  EXPECT_FALSE(parse_yaml("a: !!binary aGk=\n").ok());
  EXPECT_FALSE(parse_yaml("a: !ruby/object x\n").ok());
  EXPECT_FALSE(parse_yaml("a: *nowhere\n").ok());
  EXPECT_FALSE(parse_yaml("[a]: 1\n").ok());
  EXPECT_FALSE(parse_yaml("a: [1\n").ok());
  EXPECT_FALSE(parse_yaml(std::string(200, '[') + std::string(200, ']')).ok());
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
    for (int j = 0; j < 8; ++j) {
      bomb += ", " + last;
    }
    bomb += "]\n";
  }
  EXPECT_THAT(parse_yaml(bomb).error().message, HasSubstr("more than"));
}

}  // namespace
}  // namespace steeple::kube
