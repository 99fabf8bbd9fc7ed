// SPDX-License-Identifier: Apache-2.0

package gotemplate_test

import (
	"math/rand"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func deadline(seconds int64) *int64 { return &seconds }

func pod() *Pod {
	meta := Meta{Name: "web-0", UID: "8a2d", Labels: map[string]string{"app": "web", "tier": "front"},
		Finalizers: []string{"one", "two"}, Generation: 7, Deadline: deadline(30),
		Extra: map[string]any{"a": 1.5, "n": nil}}
	return &Pod{Meta: &meta, Plain: Meta{Name: "plain"}, TrustDomain: "example.org"}
}

func data() map[string]any {
	return map[string]any{
		"s": "hello", "empty": "", "i": 42, "neg": -7, "zero": 0, "big": int64(1 << 40), "u": uint64(9),
		"f": 2.5, "f2": 1e21, "f3": 0.000001234, "t": true, "no": false, "nil": nil, "uni": "höhé☺",
		"html": "<a href=\"x\">'&'</a>\x00", "list": []any{1, "two", 3.0, nil, []any{true}},
		"strs": []string{"c", "a", "b"}, "none": []any{}, "m": map[string]any{"a": 1, "b": map[string]any{"c": "deep"}, "n": nil},
		"sm": map[string]string{"k": "v", "a": "b"}, "em": map[string]any{}, "pod": pod(), "path": "/a/b/../c.txt",
	}
}

// Without pointers, whose addresses would differ from run to run.
func randomData() map[string]any {
	values := data()
	meta := *pod().Meta
	meta.Deadline = nil
	values["pod"] = map[string]any{"Meta": meta, "Plain": Meta{Name: "plain"}}
	return values
}

func judge(t *testing.T, templates []string, withSprig bool) {
	p := startPeer(t)
	for _, text := range templates {
		for _, missing := range []string{"", "error", "zero"} {
			if diff := p.compare(text, data(), missing, withSprig); diff != "" {
				t.Errorf("missingkey=%s %s", missing, diff)
			}
		}
		if diff := p.compare(text, pod(), "", withSprig); diff != "" {
			t.Errorf("on a struct: %s", diff)
		}
	}
	t.Logf("%d templates, four ways each", len(templates))
}

func lines(t *testing.T, file string) []string {
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var result []string
	for _, line := range strings.Split(string(content), "\n") {
		if line != "" && !strings.HasPrefix(line, "# ") {
			result = append(result, strings.ReplaceAll(line, `⏎`, "\n"))
		}
	}
	return result
}

func TestLanguageAsGo(t *testing.T) { judge(t, lines(t, "testdata/language.txt"), false) }

func TestPrintingAsGo(t *testing.T) {
	var templates []string
	for _, flags := range []string{"", "#", "+", "-", " ", "0", "+#", "8", "-8", "08", ".2", "8.3", "+.1", "#8", ".0", "-08", "é"} {
		for _, verb := range "vdsqtTxXobOcUeEfFgG%wz" {
			for _, operand := range []string{".s", ".uni", ".i", ".neg", ".zero", ".u", ".big", ".f", ".f2", ".f3", ".t", ".nil", ".list", ".strs", ".sm", ".m"} {
				float := strings.HasPrefix(operand, ".f") || operand == ".list" || operand == ".m"
				if float && strings.ContainsRune("xX", verb) || operand != ".s" && operand != ".i" && strings.ContainsRune("b", verb) {
					continue // hexadecimal floats are not there
				}
				templates = append(templates, "{{printf \"%"+flags+string(verb)+"|\" "+operand+"}}")
			}
		}
	}
	p := startPeer(t)
	failed := 0
	for _, text := range templates {
		if diff := p.compare(text, data(), "", false); diff != "" && failed < 30 {
			failed++
			t.Error(diff)
		}
	}
	t.Logf("%d formats", len(templates))
}

// A random template from a seed that the log names; STEEPLE_SEED replays it.
func TestRandomTemplatesAsGo(t *testing.T) {
	seed := time.Now().UnixNano()
	if text := os.Getenv("STEEPLE_SEED"); text != "" {
		seed, _ = strconv.ParseInt(text, 10, 64)
	}
	t.Logf("STEEPLE_SEED=%d", seed)
	random := rand.New(rand.NewSource(seed))
	count := 2000
	if text := os.Getenv("STEEPLE_TEMPLATES"); text != "" {
		count, _ = strconv.Atoi(text)
	}
	p := startPeer(t)
	failed := 0
	started := time.Now()
	for i := 0; i < count && failed < 15; i++ {
		text := (&generator{random}).list(0)
		if random.Intn(4) == 0 {
			text = mutate(random, text)
		}
		if diff := p.compare(text, randomData(), []string{"", "error", "zero"}[random.Intn(3)], false); diff != "" {
			failed++
			t.Error(diff)
		}
	}
	t.Logf("%d templates in %v", count, time.Since(started))
}

type generator struct{ *rand.Rand }

func (g *generator) pick(options ...string) string { return options[g.Intn(len(options))] }

func (g *generator) open() string  { return g.pick("{{", "{{", "{{", "{{- ") }
func (g *generator) close() string { return g.pick("}}", "}}", "}}", " -}}") }

func (g *generator) list(depth int) string {
	var text strings.Builder
	for n := g.Intn(3) + 1; n > 0; n-- {
		text.WriteString(g.pick("", "x", " y ", "\n", "a\n b"))
		text.WriteString(g.action(depth))
	}
	return text.String()
}

func (g *generator) action(depth int) string {
	kind := g.Intn(14)
	if depth > 3 && kind > 5 {
		kind = 0
	}
	block := func(head string, words ...string) string {
		text := g.open() + head + " " + g.pick(words...) + g.close() + g.list(depth+1)
		if g.Intn(3) == 0 {
			text += g.open() + "else" + g.close() + g.list(depth+1)
		}
		return text + g.open() + "end" + g.close()
	}
	switch kind {
	case 6, 7:
		return block("if", g.pipe(depth), "$x := "+g.pipe(depth))
	case 8:
		return block("with", g.pipe(depth), "$y := "+g.pipe(depth))
	case 9, 10:
		return block("range", g.pick(".list", ".strs", ".m", ".sm", ".none", "3", ".zero", ".pod.Meta.Finalizers", g.pipe(depth)),
			"$k, $v := "+g.pick(".list", ".m", ".sm", ".i"), "$v := "+g.pipe(depth))
	case 11:
		return g.open() + g.pick("$x := ", "$x = ", "") + g.pipe(depth) + g.close()
	case 12:
		return g.pick("{{/* c */}}", "{{break}}", "{{continue}}", "{{define \"d\"}}D{{.}}{{end}}", "{{template \"d\" .s}}", "{{block \"b\" .}}B{{.s}}{{end}}")
	}
	return g.open() + g.pipe(depth) + g.close()
}

func (g *generator) pipe(depth int) string {
	text := g.command(depth)
	for g.Intn(4) == 0 {
		text += g.pick(" | ", "|") + g.pick("len", "not", "print", "printf \"%v\"", "html", "js", "urlquery", "eq 1", "and true", "or .s", "index .list", "println", "slice", "lt 3")
	}
	return text
}

func (g *generator) command(depth int) string {
	switch g.Intn(9) {
	case 0:
		return g.pick("eq", "ne", "lt", "le", "gt", "ge") + " " + g.operand(depth) + " " + g.operand(depth)
	case 1:
		return g.pick("and", "or", "print", "index", "slice", "println") + " " + g.operand(depth) + " " + g.operand(depth)
	case 2:
		return g.pick("not", "len", "html", "js", "urlquery", "and", "print") + " " + g.operand(depth)
	case 3:
		return "printf \"" + g.pick("%v", "%d %s", "%q", "%T", "%5d|%-5s|", "%[2]v %[1]v", "%+v", "%%", "%!", "%.2f") + "\" " + g.operand(depth) + " " + g.operand(depth)
	}
	return g.operand(depth)
}

func (g *generator) operand(depth int) string {
	if depth < 3 && g.Intn(6) == 0 {
		return "(" + g.pipe(depth+1) + ")" + g.pick("", "", ".a", ".Name")
	}
	return g.pick(".", "$", ".s", ".i", ".neg", ".zero", ".u", ".f", ".t", ".no", ".nil", ".list", ".strs", ".none", ".m", ".m.a", ".m.b.c",
		".m.n", ".m.x", ".m.x.y", ".sm", ".sm.k", ".sm.x", ".s.x", ".pod", ".pod.Meta.Name", ".pod.Meta.Labels.app", ".pod.Meta.Labels.x", ".pod.Meta.UID",
		".pod.Other.Name", ".pod.Plain.Name", ".pod.Meta.Deadline", ".pod.Nope", ".pod.Meta.Extra.a", "$x", "$v", "$k", "$.s", "1", "2", "-1", "0x10", "1.5", "1e3",
		"'a'", "\"str\"", "`raw`", "\"a\\tb\"", "nil", "true", "false", ".i.x", "$.m.b", "nope", ".uni")
}

func mutate(random *rand.Rand, text string) string {
	bytes := []byte(text)
	for n := random.Intn(3) + 1; n > 0 && len(bytes) > 0; n-- {
		at := random.Intn(len(bytes))
		switch random.Intn(3) {
		case 0:
			bytes = append(bytes[:at], bytes[at+1:]...)
		case 1:
			const marks = "{}().|$\"' -=:,\n\\`ax10/*\xc3"
			bytes[at] = marks[random.Intn(len(marks))]
		case 2:
			bytes = append(bytes[:at], append([]byte{bytes[random.Intn(len(bytes))]}, bytes[at:]...)...)
		}
	}
	return string(bytes)
}

func TestSprigAsGo(t *testing.T) { judge(t, lines(t, "testdata/sprig.txt"), true) }
