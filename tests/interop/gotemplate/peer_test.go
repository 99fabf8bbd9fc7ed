// SPDX-License-Identifier: Apache-2.0

// Package gotemplate_test judges lib/gotemplate by Go's text/template itself: the same templates over
// the same data, written ones and random ones, must give the same output or the same error text.
package gotemplate_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/steeple/steeple/tests/interop/harness"
)

// UID, Meta and Pod have twins in tests/process/gotemplate_peer.
type UID string

type Meta struct {
	Name       string            `json:"name"`
	UID        UID               `json:"uid"`
	Labels     map[string]string `json:"labels"`
	Finalizers []string          `json:"finalizers"`
	Generation int64             `json:"generation"`
	Deadline   *int64            `json:"deadline"`
	Extra      any               `json:"extra"`
}

type Pod struct {
	Meta        *Meta  `json:"meta"`
	Other       *Meta  `json:"other"`
	Plain       Meta   `json:"plain"`
	TrustDomain string `json:"trustDomain"`
}

type object = map[string]any

// tagged is a value as the peer reads it: with its Go type.
func tagged(value any) object {
	switch value := value.(type) {
	case nil:
		return object{"k": "nil"}
	case bool:
		return object{"k": "bool", "v": value}
	case int:
		return object{"k": "int", "v": value}
	case int64:
		return object{"k": "int64", "v": value}
	case uint64:
		return object{"k": "uint64", "v": value}
	case float64:
		return object{"k": "float", "v": value}
	case string:
		return object{"k": "string", "v": value}
	case []string:
		return object{"k": "strings", "v": value}
	case map[string]string:
		return object{"k": "smap", "v": value}
	case *Pod:
		return object{"k": "pod", "v": value}
	case Meta:
		return object{"k": "meta", "v": value}
	case []any:
		items := []object{}
		for _, item := range value {
			items = append(items, tagged(item))
		}
		return object{"k": "list", "v": items}
	case map[string]any:
		entries := map[string]object{}
		for key, entry := range value {
			entries[key] = tagged(entry)
		}
		return object{"k": "map", "v": entries}
	}
	panic(fmt.Sprintf("no tag for %T", value))
}

type request struct {
	Template []byte `json:"template"`
	Data     object `json:"data"`
	Missing  string `json:"missing"`
	Sprig    bool   `json:"sprig"`
}

type answer struct {
	Output []byte `json:"output"`
	Error  []byte `json:"error"`
	Limit  bool   `json:"limit"`
}

type peer struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func startPeer(t *testing.T) *peer {
	t.Helper()
	command := exec.Command(harness.PeerBinary(t, "gotemplate_peer"))
	in := harness.Must[io.WriteCloser](t)(command.StdinPipe())
	out := harness.Must[io.ReadCloser](t)(command.StdoutPipe())
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("the peer ended with %v", err)
		}
	})
	return &peer{t: t, in: in, out: bufio.NewReaderSize(out, 4<<20)}
}

func (p *peer) run(r request) answer {
	p.t.Helper()
	line := harness.Must[[]byte](p.t)(json.Marshal(r))
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.t.Fatalf("peer gone at %q: %v", r.Template, err)
	}
	reply, err := p.out.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("peer gone at %q: %v", r.Template, err)
	}
	var a answer
	if err := json.Unmarshal(reply, &a); err != nil {
		p.t.Fatal(err)
	}
	return a
}

// goRun is the truth: text/template on the same.
func goRun(text string, data any, missing string, withSprig bool) (string, error) {
	parsed := template.New("t")
	if withSprig {
		parsed = parsed.Funcs(sprig.TxtFuncMap())
	}
	if missing != "" {
		parsed = parsed.Option("missingkey=" + missing)
	}
	parsed, err := parsed.Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = parsed.Execute(&out, data)
	return out.String(), err
}

// Go prints an inner pointer as its address, another one each time; ours always as the same one.
var address = regexp.MustCompile(`(?i)0x[0-9a-f]{10,12}|[0-9]{13,15}|[0-9a-f]{11,12}`)

// compare returns what differs, or nothing.
func (p *peer) compare(text string, data any, missing string, withSprig bool) string {
	p.t.Helper()
	got := p.run(request{Template: []byte(text), Data: tagged(data), Missing: missing, Sprig: withSprig})
	if got.Limit {
		return "" // Go has fewer limits and might run for years
	}
	if bytes.Contains(got.Error, []byte("complex numbers are not supported")) {
		return "" // said before whatever else is wrong
	}
	want, err := goRun(text, data, missing, withSprig)
	want = address.ReplaceAllString(want, "pointer")
	if err != nil {
		err = errors.New(address.ReplaceAllString(err.Error(), "pointer"))
	}
	got.Output, got.Error = address.ReplaceAll(got.Output, []byte("pointer")), address.ReplaceAll(got.Error, []byte("pointer"))
	switch {
	case err == nil && len(got.Error) > 0:
		return fmt.Sprintf("%q\n  go: output %q\nours: error  %s", text, want, got.Error)
	case err == nil && string(got.Output) != want:
		return fmt.Sprintf("%q\n  go: output %q\nours: output %q", text, want, got.Output)
	case err != nil && len(got.Error) == 0:
		return fmt.Sprintf("%q\n  go: error  %s\nours: output %q", text, err, got.Output)
	case err != nil && string(got.Error) != err.Error():
		return fmt.Sprintf("%q\n  go: error %s\nours: error %s", text, err, got.Error)
	}
	return ""
}
