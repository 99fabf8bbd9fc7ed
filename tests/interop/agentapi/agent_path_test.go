// SPDX-License-Identifier: Apache-2.0

// Goal: agent_path_template of x509pop makes the paths that Go's templates make. Method: Go's own engine
// with sprig over Go's certificate is the judge.

package agentapi

import (
	"crypto/sha1"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"text/template"

	. "github.com/steeple/steeple/tests/interop/harness"

	"github.com/Masterminds/sprig/v3"
)

// As the reference's plugin gives it to its templates.
type pathData struct {
	*x509.Certificate
	SerialNumberHex, Fingerprint, PluginName, TrustDomain, SVIDPathTrimmed string
	URISanSelectors                                                        map[string]string
}

func TestAgentPathsAreThoseOfGosTemplates(t *testing.T) {
	authority := NewAuthority(t, "ca")
	node := authority.Issue(t, "Node 7.rack-3", false, x509.KeyUsageDigitalSignature,
		"x509pop://"+TD+"/cluster/blue", "https://host.example:8443/a%20b/c?q")
	serial := fmt.Sprintf("%x", node.Cert.SerialNumber)
	data := pathData{Certificate: node.Cert, SerialNumberHex: strings.Repeat("0", len(serial)%2) + serial,
		Fingerprint: fmt.Sprintf("%x", sha1.Sum(node.Cert.Raw)), PluginName: "x509pop", TrustDomain: TD,
		URISanSelectors: map[string]string{"cluster": "blue"}}
	for _, text := range []string{
		`/cn/{{ .Subject.CommonName | nospace | lower }}`,
		`/{{ .TrustDomain }}/{{ .SerialNumberHex }}/{{ len .DNSNames }}`,
		`/{{ range $key, $value := .URISanSelectors }}{{ $key }}-{{ $value }}{{ end }}`,
		`/{{ (index .URIs 1).Host | replace ":" "_" }}{{ (index .URIs 1).Path | replace " " "-" }}`,
		`/{{ index .URIs 0 | toString | sha256sum }}`,
		`/{{ if .IsCA }}ca{{ else }}{{ printf "%.8s" .Fingerprint }}{{ end }}`,
		`/{{ splitList "." .Subject.CommonName | last }}/{{ .Issuer | toString | replace "=" "-" }}`,
		`/{{ .Subject.Organization | join "-" | default "none" }}`,
	} {
		var want strings.Builder
		NoError(t, template.Must(template.New("agent-path").Funcs(sprig.TxtFuncMap()).Parse(text)).Execute(&want, data))
		s := StartServer(t, ServerOptions{NodeCA: authority,
			X509PopData: fmt.Sprintf("agent_path_template = %q", text)})
		if got := s.NewPopAgent(t, node).SVID.ID.Path(); got != "/spire/agent"+want.String() {
			t.Errorf("%s made %q, Go %q", text, got, want.String())
		}
	}
}
