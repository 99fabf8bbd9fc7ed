// SPDX-License-Identifier: Apache-2.0

// Goal: the health listeners answer with the reference's subsystems and details.
// Method: real processes.

package telemetry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	. "github.com/steeple/steeple/tests/interop/harness"
)

func health(port int) string {
	return fmt.Sprintf("health_checks { listener_enabled = true bind_port = \"%d\" }", port)
}

func details(t *testing.T, port int, path string) (int, map[string]map[string]string) {
	t.Helper()
	code, body := get(t, port, path)
	var out map[string]map[string]string
	NoError(t, json.Unmarshal([]byte(body), &out))
	return code, out
}

func wantHealthy(t *testing.T, port int, names ...string) {
	t.Helper()
	for _, path := range []string{"/live", "/ready"} {
		Eventually(t, soon, path, func() error {
			code, found := details(t, port, path)
			if code != http.StatusOK || len(found) != len(names) {
				return fmt.Errorf("%d %v", code, found)
			}
			for _, name := range names {
				if shown, there := found[name]; !there || shown == nil || len(shown) != 0 {
					return fmt.Errorf("%s: %v", name, found)
				}
			}
			return nil
		})
	}
}

func TestHealthHasTheReferencesSubsystems(t *testing.T) {
	serverPort, agentPort := FreePort(t), FreePort(t)
	s := StartServer(t, ServerOptions{TopLevel: health(serverPort)})
	wantHealthy(t, serverPort, "server", "server.ca", "server.ca.rotator", "catalog.datastore")
	StartAgent(t, s, AgentOptions{TopLevel: health(agentPort)})
	wantHealthy(t, agentPort, "agent")
}
