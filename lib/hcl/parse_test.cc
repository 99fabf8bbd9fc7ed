// SPDX-License-Identifier: Apache-2.0

// Goal: HCL1 and JSON text give the tree that hashicorp/hcl v1 would see, and broken or hostile
// text is refused with its place. Method: texts in, trees (written back as HCL) out.

#include "lib/hcl/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/limits.h"

namespace steeple::hcl {
namespace {

using testing::HasSubstr;

std::string tree(std::string_view text) {
  auto value = parse(text);
  return value.ok() ? write_hcl(*value) : "error: " + value.error().message;
}

std::string only_string(std::string_view text) {
  auto value = parse(text);
  return value.ok() ? value->members.at(0).value.text : "error: " + value.error().message;
}

TEST(HclParse, labels_become_nested_objects) {
  EXPECT_EQ(tree("plugins { KeyManager \"disk\" { plugin_data { keys_path = \"k\" } } }"),
            tree("plugins = { KeyManager = { disk = { plugin_data = { keys_path = \"k\" } } } }"));
}

TEST(HclParse, json_lists_stay_and_order_is_kept) {
  EXPECT_EQ(tree(R"({"b":[{"x":1}],"a":"t","c":true,"n":null,"f":1.5})"),
            "\"b\" = [{\n  \"x\" = 1\n}]\n\"a\" = \"t\"\n\"c\" = true\n\"f\" = 1.5\n");
}

TEST(HclParse, comments_and_commas_are_skipped) {
  EXPECT_EQ(tree("# one\na = 1 // two\n/* three\n */ b = [1, /* in */ 2,], c { d = 1, e = 2 }"),
            "\"a\" = 1\n\"b\" = [1, 2]\n\"c\" = {\n  \"d\" = 1\n  \"e\" = 2\n}\n");
}

TEST(HclParse, repeated_keys_are_kept) {
  EXPECT_EQ(tree("a = 1\na = 2\nb {}\nb {}"), "\"a\" = 1\n\"a\" = 2\n\"b\" = {\n}\n\"b\" = {\n}\n");
}

TEST(HclParse, numbers_keep_their_text) {
  auto value =
      parse("a = 0x1F\nb = -7\nc = 010\nd = 1.5\ne = 1e3\nf = 2.5E-3\ng = .5\nh = 5.").take();
  std::vector<std::string> got;
  for (const Member& member : value.members) {
    got.push_back(
        fmt::format("{}{}", member.value.kind == Kind::kFloat ? "float " : "", member.value.text));
  }
  EXPECT_THAT(got, testing::ElementsAre("0x1F", "-7", "010", "float 1.5", "float 1e3",
                                        "float 2.5E-3", "float .5", "float 5."));
}

TEST(HclParse, escapes_are_decoded_and_interpolation_is_left_alone) {
  EXPECT_EQ(only_string(R"(a = "\a\b\f\n\r\t\v\\\"\101\x41\u00e9\U0001F600")"),
            "\a\b\f\n\r\t\v\\\"AA\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_EQ(only_string(R"(a = "x ${file("y")} {z}")"), R"(x ${file("y")} {z})");
  EXPECT_EQ(only_string(R"(a = "${a{b}c} \"q\"")"), R"(${a{b}c} "q")");
  EXPECT_EQ(only_string("a = \"${multi\nline}\""), "${multi\nline}");
  EXPECT_EQ(only_string(R"(a = "$HOME $${x}")"), "$HOME $${x}");
}

TEST(HclParse, heredocs) {
  EXPECT_EQ(only_string("a = <<EOF\none\n  two\nEOF\n"), "one\n  two\n");
  EXPECT_EQ(only_string("a = <<-EOF\n    one\n      two\n    EOF\n"), "one\n  two\n");
  EXPECT_EQ(only_string("a = <<-EOF\n  one\ntwo\n    EOF\n"), "  one\ntwo\n");
  EXPECT_EQ(only_string("a = <<EOF\r\nline\r\nEOF\r\n"), "line\n");
  EXPECT_EQ(only_string("a = <<EOF\nEOF\n"), "");
}

TEST(HclParse, every_value_has_its_place) {
  auto value = parse("server {\n  ttl = \"1h\"\n  é = [ 7 ]\n}\n").take();
  const Value& server = value.members.at(0).value;
  EXPECT_EQ(value.members[0].at.text(), "1:1");
  EXPECT_EQ(server.at.text(), "1:8");
  EXPECT_EQ(server.members[0].at.text(), "2:3");
  EXPECT_EQ(server.members[0].value.at.text(), "2:9");
  EXPECT_EQ(server.members[1].value.items.at(0).at.text(), "3:9");
}

TEST(HclParse, every_json_value_has_its_place) {
  auto value =
      parse("{\n  \"é\\\"\": {\"a\": 12, \"b\": [true, -1.5e3]},\n  \"c\": \"x\\\\\"\n}").take();
  const Value& object = value.members.at(0).value;
  EXPECT_EQ(value.members[0].key, "é\"");
  EXPECT_EQ(value.members[0].at.text(), "2:3");
  EXPECT_EQ(object.at.text(), "2:10");
  EXPECT_EQ(object.members[0].at.text(), "2:11");
  EXPECT_EQ(object.members[0].value.at.text(), "2:16");
  EXPECT_EQ(object.members[1].value.at.text(), "2:25");
  EXPECT_EQ(object.members[1].value.items.at(0).at.text(), "2:26");
  EXPECT_EQ(object.members[1].value.items.at(1).at.text(), "2:32");
  EXPECT_EQ(value.members[1].value.at.text(), "3:8");
}

TEST(HclParse, mistakes_are_told_with_their_place) {
  EXPECT_EQ(tree("a = \"x"), "error: 1:5: literal not terminated");
  EXPECT_EQ(tree("a = \"x\ny\""), "error: 1:5: literal not terminated");
  EXPECT_EQ(tree("\n  a"),
            "error: 2:4: key 'a' expected start of object ('{') or assignment ('=')");
  EXPECT_EQ(tree("a b = 1"), "error: 1:5: nested object expected: LBRACE got: ASSIGN");
  EXPECT_EQ(tree("a {\n b = 1\n"), "error: 1:3: object expected closing RBRACE got: EOF");
  EXPECT_EQ(tree("}"), "error: 1:1: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE");
  EXPECT_EQ(tree("a = [1 2]"),
            "error: 1:8: error parsing list, expected comma or list end, got: NUMBER");
  EXPECT_EQ(tree("a = 089"), "error: 1:5: illegal octal number");
  EXPECT_EQ(tree("a = 0xZ"), "error: 1:5: illegal hexadecimal number");
  EXPECT_EQ(tree("a = \"\\q\""), "error: 1:7: illegal char escape");
  EXPECT_EQ(tree("/* x"), "error: 1:1: comment not terminated");
  EXPECT_EQ(tree("a = <<EOF\nx\n"), "error: 1:5: heredoc not terminated");
  EXPECT_EQ(tree("a = <<\nx\n"), "error: 1:5: zero-length heredoc anchor");
  EXPECT_EQ(tree("a: 1"), "error: 1:2: illegal char");
  EXPECT_EQ(tree("a = \"\xff\""), "error: line 1: illegal UTF-8 encoding");
  EXPECT_EQ(tree(std::string_view("a = 1\n\0", 7)),
            "error: line 2: unexpected null character (0x00)");
  EXPECT_THAT(tree("{\"a\": }"), HasSubstr("parse error at line 1, column 7"));
  EXPECT_THAT(tree("{\"a\": 1} x"), HasSubstr("error: parse error"));
}

TEST(HclParse, depth_and_size_are_limited) {
  auto nested = [](std::string_view open, std::string_view close, std::size_t depth) {
    std::string text = "a = ";
    for (std::size_t i = 0; i < depth; ++i) {
      text += open;
    }
    text += "1";
    for (std::size_t i = 0; i < depth; ++i) {
      text += close;
    }
    return text;
  };
  EXPECT_TRUE(parse(nested("[", "]", limits::kConfigDepthMax)).ok());
  EXPECT_THAT(tree(nested("[", "]", limits::kConfigDepthMax + 1)), HasSubstr("nested deeper than"));
  EXPECT_THAT(tree(nested("[", "]", 1'000'000)), HasSubstr("nested deeper than"));
  EXPECT_THAT(tree("{\"a\":" + nested("[", "]", 1'000'000).substr(4) + "}"),
              HasSubstr("nested deeper than"));
  std::string labels;
  for (std::size_t i = 0; i < 40; ++i) {
    labels += "x ";
  }
  EXPECT_THAT(tree(labels + "{}"), HasSubstr("nested deeper than"));
  EXPECT_THAT(tree(std::string(limits::kConfigBytesMax + 1, ' ')), HasSubstr("larger than"));
  std::string many = "a = [";
  for (std::size_t i = 0; i < 200'001; ++i) {
    many += "1,";
  }
  EXPECT_THAT(tree(many + "]"), HasSubstr("more than 200000 values"));
}

TEST(HclParse, what_is_written_reads_back_as_the_same_tree) {
  for (std::string_view text :
       {R"({"a":"${x} \"q\" \\ \n\t\u0001 ${","b":[null,[1],null,[{"c":false}],null],"d e":{}})",
        "a = \"x ${y(\"z\")}\"\nb = -1.5\nc { d \"e\" {} }\n"}) {
    auto first = parse(text).take();
    std::string written = write_hcl(first);
    auto second = parse(written);
    ASSERT_TRUE(second.ok()) << second.error().message << written;
    EXPECT_EQ(write_hcl(*second), written);
    EXPECT_EQ(second->members[0].value.text, first.members[0].value.text);
  }
}

TEST(HclExpandEnv, follows_os_expand) {
  Environment environment = [](std::string_view name) -> std::optional<std::string> {
    if (name == "TD") {
      return "example.org";
    }
    if (name == "A_1") {
      return "x";
    }
    return std::nullopt;
  };
  auto expand = [&](std::string_view text) { return expand_env(text, environment); };
  EXPECT_EQ(expand("td = \"$TD\" ${TD}! $A_1-"), "td = \"example.org\" example.org! x-");
  EXPECT_EQ(expand("[$UNSET] [${UNSET}]"), "[] []");
  EXPECT_EQ(expand("a$$b $$TD ${$}"), "a$b $TD $");
  EXPECT_EQ(expand("cost 5$ $ x $/ $"), "cost 5$ $ x $/ $");
  EXPECT_EQ(expand("${} ${open"), " open");
  EXPECT_EQ(expand("$1x"), "x");
}

TEST(HclLoad, a_missing_file_is_told_in_spires_words) {
  auto loaded = load_file("/nonexistent/server.conf");
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().message,
            "could not find config file /nonexistent/server.conf: please use the -config flag");
}

}  // namespace
}  // namespace steeple::hcl
