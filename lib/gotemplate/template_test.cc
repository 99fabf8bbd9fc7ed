// SPDX-License-Identifier: Apache-2.0

// What Go cannot judge: limits, references, JSON with types, values left alone. The language itself
// is compared with Go's in tests/interop/gotemplate.

#include "lib/gotemplate/template.h"

#include <gmock/gmock.h>

#include <future>

#include "lib/gotemplate/json.h"
#include "lib/gotemplate/kubernetes.h"
#include "lib/gotemplate/sprig.h"

namespace steeple::gotemplate {
namespace {

using testing::HasSubstr;

Result<std::string> run(std::string_view text, const Value& data = {}, Functions functions = {}) {
  return TRY(Template::parse("t", text, std::move(functions))).execute(data);
}

Code code_of(const Result<std::string>& result) {
  return result.ok() ? Code::kOk : result.error().code;
}

References references(std::string_view text) {
  return Template::parse("t", text).take().references();
}

Value pod() {
  constexpr std::string_view kMeta =
      R"({"name": "web-0", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"},
          "creationTimestamp": "2024-05-01T10:00:00Z", "unknown": [1]})";
  constexpr std::string_view kSpec =
      R"({"serviceAccountName": "cart", "nodeName": "n1", "hostNetwork": true,
          "containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 80}]}],
          "terminationGracePeriodSeconds": 30})";
  static const TypeRef type = types::structure(
      "spireentry.templateData",
      {{"TrustDomain", "", types::string},
       {"PodMeta", "", [] { return types::pointer_to(kubernetes::object_meta()); }},
       {"PodSpec", "", [] { return types::pointer_to(kubernetes::pod_spec()); }},
       {"NodeMeta", "", [] { return types::pointer_to(kubernetes::object_meta()); }}});
  return Value::pointer(
      Value::object(type, {Value("example.org"),
                           Value::pointer(from_json_text(kMeta, kubernetes::object_meta()).take()),
                           Value::pointer(from_json_text(kSpec, kubernetes::pod_spec()).take()),
                           Value::nil_of(types::pointer_to(kubernetes::object_meta()))}));
}

TEST(Kubernetes, ObjectsAppearUnderGosFieldNames) {
  EXPECT_EQ(run("spiffe://{{.TrustDomain}}/ns/{{.PodMeta.Namespace}}/sa/"
                "{{.PodSpec.ServiceAccountName}}",
                pod())
                .take(),
            "spiffe://example.org/ns/shop/sa/cart");
  EXPECT_EQ(run("{{.PodMeta.UID}} {{.PodMeta.Labels.app}} {{index .PodMeta.Labels \"no\"}}| "
                "{{.PodMeta.Annotations}} {{.PodMeta.GetName}} {{.PodMeta.CreationTimestamp}}",
                pod())
                .take(),
            "u-1 web | map[] web-0 2024-05-01 10:00:00 +0000 UTC");
  EXPECT_EQ(run("{{range .PodSpec.Containers}}{{.Name}}={{.Image}} {{range .Ports}}"
                "{{.ContainerPort}}{{end}}{{end}} {{.PodSpec.HostNetwork}} "
                "{{.PodSpec.TerminationGracePeriodSeconds}}",
                pod())
                .take(),
            "c=i:1 80 true 30");
}

TEST(Kubernetes, AnUnknownFieldAndANilPointerGiveGosErrors) {
  EXPECT_EQ(run("{{.PodMeta.Nope}}", pod()).error().message,
            "template: t:1:10: executing \"t\" at <.PodMeta.Nope>: can't evaluate field Nope in "
            "type *v1.ObjectMeta");
  EXPECT_EQ(run("{{.NodeMeta.UID}}", pod()).error().message,
            "template: t:1:11: executing \"t\" at <.NodeMeta.UID>: nil pointer evaluating "
            "*v1.ObjectMeta.UID");
}

TEST(Kubernetes, JsonOfTheWrongShapeIsRefused) {
  EXPECT_FALSE(from_json_text(R"({"name": 1})", kubernetes::object_meta()).ok());
  EXPECT_FALSE(from_json_text(R"({"labels": ["a"]})", kubernetes::object_meta()).ok());
  EXPECT_FALSE(from_json_text(std::string(1000, '['), types::list_of_any()).ok());
}

TEST(Kubernetes, EveryTypeOfTheTableHasAZeroValueThatPrints) {
  for (const TypeRef& type :
       {kubernetes::object_meta(), kubernetes::pod_spec(), kubernetes::node_spec()}) {
    ASSERT_NE(type, nullptr);
    EXPECT_TRUE(run("{{.}}{{printf \"%#v\" .}}", Value::zero_of(type)).ok());
  }
}

TEST(Limits, NoTemplateRunsForEver) {
  for (std::string_view text :
       {"{{range 1000000000}}{{end}}", "{{range 1000000}}xxxxxxxxxxxxxxxx{{end}}",
        "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}",
        "{{printf \"%1000000d\" 1}}{{printf \"%1000000d\" 1}}",
        "{{range 999}}{{range 999}}{{range 999}}{{end}}{{end}}{{end}}"}) {
    EXPECT_EQ(code_of(run(text)), Code::kResourceExhausted) << text;
  }
}

TEST(Limits, ValuesThatGrowOrContainThemselvesEnd) {
  for (std::string_view text :
       {"{{$x := list 1}}{{range 60}}{{$x = list $x $x}}{{end}}{{$x}}",
        "{{$d := dict}}{{$_ := set $d \"a\" $d}}{{$d}}", "{{repeat 2000000 \"x\"}}",
        "{{seq 1 100000000}}", "{{$x := \"xxxxxxxx\"}}{{range 60}}{{$x = cat $x $x}}{{end}}",
        "{{$x := list 1}}{{range 60}}{{$x = list $x $x}}{{end}}{{has $x (list $x)}}"}) {
    EXPECT_EQ(code_of(run(text, {}, sprig({}))), Code::kResourceExhausted) << text;
  }
  // Deep chains come apart without deep recursion.
  EXPECT_TRUE(run("{{$x := list}}{{range 20000}}{{$x = list $x}}{{end}}ok", {}, sprig({})).ok());
}

TEST(Limits, DeepNestingIsAnErrorOfTheParser) {
  std::string parentheses = "{{" + std::string(5000, '(') + "1" + std::string(5000, ')') + "}}";
  EXPECT_THAT(run(parentheses).error().message, HasSubstr("max expression depth exceeded"));
  std::string blocks;
  for (int i = 0; i < 3000; ++i) {
    blocks += "{{if 1}}";
  }
  EXPECT_THAT(run(blocks).error().message, HasSubstr("too many blocks"));
  EXPECT_FALSE(run(std::string(kTemplateBytesMax + 1, 'x')).ok());
}

TEST(References, NameTheFieldsThatAreRead) {
  using R = References;
  EXPECT_EQ(references("plain"), R());
  EXPECT_EQ(references("{{.A.B}}{{$.C}}"), (R{{"A", "B"}, {"C"}}));
  EXPECT_EQ(references("{{index .PodMeta.Labels \"app\"}}"), (R{{"PodMeta", "Labels", "app"}}));
  EXPECT_EQ(references("{{index .L .K}}"), (R{{"L"}, {"K"}}));
  EXPECT_EQ(references("{{$m := .PodMeta}}{{$m.Name}}"), (R{{"PodMeta", "Name"}}));
  EXPECT_EQ(references("{{with .A}}{{.B}}{{end}}"), (R{{"A"}}));
  EXPECT_EQ(references("{{define \"d\"}}{{.X}}{{$.Y}}{{end}}{{template \"d\" .A}}"),
            (R{{"A", "X"}, {"A", "Y"}, {"Y"}}));
  EXPECT_EQ(references("{{(.A).B}} {{eq .C \"x\"}}"), (R{{"A", "B"}, {"C"}}));
  EXPECT_EQ(references("{{.}}"), (R{{}}));
  EXPECT_EQ(references("{{$x := .A}}{{range .L}}{{$x = $x.N}}{{end}}{{$x}}"), (R{{"A"}, {"L"}}));
}

TEST(References, AreFoundQuicklyWhereVariablesFeedOneAnother) {
  std::string text = "{{$x := .A}}{{$y := .B}}";
  for (int i = 0; i < 200; ++i) {
    text += "{{$x = (print $x $y).a}}{{$y = (print $y $x .C).b}}";
  }
  EXPECT_TRUE(Template::parse("t", text).take().reads({"C"}));
}

TEST(References, ReadsKnowsPathsAboveAndBelow) {
  Template parsed = Template::parse("t", "{{.PodMeta.Labels.app}}").take();
  EXPECT_TRUE(parsed.reads({"PodMeta"}));
  EXPECT_TRUE(parsed.reads({"PodMeta", "Labels", "app"}));
  EXPECT_FALSE(parsed.reads({"PodMeta", "Annotations"}));
  EXPECT_FALSE(parsed.reads({"NodeMeta"}));
}

TEST(Template, LeavesTheDataOfItsCallerAlone) {
  Value data = Value::map({{"m", Value::map({{"a", Value(1)}})}});
  EXPECT_EQ(run("{{$_ := set .m \"b\" 2}}{{.m}}", data, sprig({})).take(), "map[a:1 b:2]");
  EXPECT_EQ(run("{{.m}}", data).take(), "map[a:1]");
}

TEST(Template, IsUsedFromSeveralThreadsAtOnce) {
  Template parsed =
      Template::parse("t", "{{range .l}}{{printf \"%03d\" .}}{{end}}", sprig({})).take();
  Value data = Value::map({{"l", Value::list({Value(1), Value(2)})}});
  std::vector<std::future<std::string>> runs;
  for (int i = 0; i < 4; ++i) {
    runs.push_back(std::async(std::launch::async, [&] {
      std::string last;
      for (int round = 0; round < 200; ++round) {
        last = parsed.execute(data).take();
      }
      return last;
    }));
  }
  for (auto& each : runs) {
    EXPECT_EQ(each.get(), "001002");
  }
}

TEST(Template, TellsWhatIsWrongAsGoDoes) {
  EXPECT_EQ(run("a\n{{.x").error().message, "template: t:2: unclosed action");
  EXPECT_EQ(run("{{nope}}").error().message, "template: t:1: function \"nope\" not defined");
  Options strict{.missing_key = MissingKey::kError};
  EXPECT_EQ(Template::parse("agent-path", "{{ .key }}", sprig({}), strict)
                .take()
                .execute(Value::map({}))
                .error()
                .message,
            "template: agent-path:1:3: executing \"agent-path\" at <.key>: map has no entry for "
            "key \"key\"");
}

TEST(Sprig, TakesDigestsAndRandomnessFromOutside) {
  EXPECT_FALSE(Template::parse("t", "{{sha1sum \"a\"}}", sprig({})).ok());
  EXPECT_EQ(run("{{sha256sum \"a\"}}", {},
                sprig({.sha256 = [](std::string_view text) { return std::string(text); }}))
                .take(),
            "61");
  EXPECT_EQ(run("{{uuidv4}}", {}, sprig({.random = &system_random()})).take().size(), 36U);
}

}  // namespace
}  // namespace steeple::gotemplate
