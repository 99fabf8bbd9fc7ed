// SPDX-License-Identifier: Apache-2.0

// Goal: the Prometheus pages of server and agent carry the reference's metrics: names, labels and
// units. Method: real processes do some of everything, then the pages are scraped and every name is
// looked for. The same lists are true of the reference, but for those marked.

package telemetry

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/steeple/steeple/tests/interop/harness"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
)

const soon = 30 * time.Second

var line = regexp.MustCompile(`^([a-zA-Z0-9_]+)(\{[^}]*\})? (\S+)$`)
var label = regexp.MustCompile(`([a-zA-Z0-9_]+)="([^"]*)"`)

// series maps "name{label,...}" (label names sorted, host and quantile left out) to its values.
type series map[string][]float64

func get(t *testing.T, port int, path string) (int, string) {
	t.Helper()
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	NoError(t, err)
	return response.StatusCode, string(body)
}

func scrape(t *testing.T, port int) series {
	t.Helper()
	code, page := get(t, port, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	found := series{}
	for _, text := range strings.Split(page, "\n") {
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		parts := line.FindStringSubmatch(text)
		if parts == nil {
			t.Fatalf("not a sample: %q", text)
		}
		var labels []string
		for _, pair := range label.FindAllStringSubmatch(parts[2], -1) {
			if pair[1] != "host" && pair[1] != "quantile" {
				labels = append(labels, pair[1])
			}
		}
		sort.Strings(labels)
		value, err := strconv.ParseFloat(parts[3], 64)
		NoError(t, err)
		key := parts[1] + "{" + strings.Join(labels, ",") + "}"
		found[key] = append(found[key], value)
	}
	return found
}

// wanted expands the surface's short hand: "K name labels" is a counter and a summary with status.
func wanted(prefix string, lines string) []string {
	var names []string
	for _, text := range strings.Split(strings.TrimSpace(lines), "\n") {
		words := strings.Fields(text)
		labels := append([]string{}, words[2:]...)
		name := prefix + words[1]
		if words[0] == "K" {
			labels = append(labels, "status")
		}
		sort.Strings(labels)
		set := "{" + strings.Join(labels, ",") + "}"
		switch words[0] {
		case "K":
			names = append(names, name+set, name+"_elapsed_time_count"+set, name+"_elapsed_time_sum"+set,
				name+"_elapsed_time"+set)
		case "S":
			names = append(names, name+set, name+"_count"+set, name+"_sum"+set)
		default:
			names = append(names, name+set)
		}
	}
	return names
}

func waitFor(t *testing.T, port int, names []string) series {
	t.Helper()
	var found series
	Eventually(t, soon, "all metrics", func() error {
		found = scrape(t, port)
		var missing []string
		for _, name := range names {
			if _, ok := found[name]; !ok {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("missing: %s", strings.Join(missing, " "))
		}
		return nil
	})
	return found
}

const serverMetrics = `
G started trust_domain_id version
G uptime_in_ms
K ca_manager_x509_ca_prepare
C ca_manager_x509_ca_activate
K ca_manager_jwt_key_prepare
C manager_jwt_key_activate
G manager_x509_ca_rotate_expiration trust_domain_id
G manager_x509_ca_rotate_ttl trust_domain_id
K svid_rotate
C server_ca_sign_x509_svid
C server_ca_sign_jwt_svid
K server_key_manager_generate_key
K server_key_manager_get_public_keys
K datastore_bundle_append
K datastore_bundle_fetch
K datastore_bundle_set
K datastore_bundle_count
K datastore_bundle_list
K datastore_bundle_delete
K datastore_join_token_create
K datastore_join_token_fetch
K datastore_join_token_delete
K datastore_node_count
K datastore_node_create
K datastore_node_fetch
K datastore_node_list
K datastore_node_delete
K datastore_node_selectors_set
K datastore_registration_entry_count
K datastore_registration_entry_create
K datastore_registration_entry_delete
K datastore_registration_entry_fetch
K datastore_registration_entry_list
K datastore_registration_entry_update
K datastore_ca_journal_set
K entry_cache_reload
K rpc_agent_v1_agent_attest_agent
K rpc_agent_v1_agent_create_join_token
K rpc_agent_v1_agent_list_agents
K rpc_agent_v1_agent_delete_agent
K rpc_entry_v1_entry_batch_create_entry
K rpc_entry_v1_entry_batch_update_entry
K rpc_entry_v1_entry_batch_delete_entry
K rpc_svid_v1_svid_mint_x509svid
K rpc_svid_v1_svid_batch_new_x509svid
K rpc_svid_v1_svid_new_jwtsvid
K rpc_bundle_v1_bundle_get_bundle
`

// With events_based_cache in the reference, always here.
const serverEventMetrics = `
K datastore_registration_entry_event_list
K datastore_node_event_list
G node_agents_by_id_cache_count
G node_agents_by_expiresat_cache_count
G node_skipped_node_event_ids_count
G entry_nodealiases_by_entryid_cache_count
G entry_nodealiases_by_selector_cache_count
G entry_entries_by_entryid_cache_count
G entry_skipped_entry_event_ids_count
`

// The reference signs with the keys of its memory without asking its key manager's wrapper.
const serverOursOnly = `
K server_key_manager_sign_data
`

const agentMetrics = `
G started trust_domain_id version
G uptime_in_ms
G bootstrapped
G bootstrap_seconds mode
G bootstrap_attempts mode
K agent_key_manager_generate_key
K agent_key_manager_get_keys
K node_attestor_new_svid attestor
C lru_cache_entry_add
C lru_cache_entry_remove
C lru_cache_entry_update
G lru_cache_record_map_size svid_type
G lru_cache_svid_map_size svid_type
G jwt_svid_cache_size
K manager_sync_fetch_entries_updates
K manager_sync_fetch_svids_updates
G sync_bundles_total
G sync_entries_total
G sync_entries_missing
G sync_entries_stale
G sync_entries_dropped
C workload_api_connection
G workload_api_connections
S workload_api_discovered_selectors
K workload_api_workload_attestation
K workload_api_workload_attestor attestor
C debug_api_connection
G debug_api_connections
K rpc_workload_api_fetch_x509svid
K rpc_workload_api_fetch_jwtsvid
`

// The reference did not show it for the same change.
const agentOursOnly = `
S cache_manager_outdated_svids
`

const processMetrics = `
C process_cpu_seconds_total
G process_max_fds
G process_open_fds
G process_resident_memory_bytes
G process_start_time_seconds
G process_virtual_memory_bytes
G process_virtual_memory_max_bytes
C process_network_receive_bytes_total
C process_network_transmit_bytes_total
`

func prometheus(port int) string {
	return fmt.Sprintf("telemetry { Prometheus { port = %d } }", port)
}

func one(t *testing.T, found series, name string) float64 {
	t.Helper()
	values := found[name]
	if len(values) != 1 {
		t.Fatalf("%s: %v", name, values)
	}
	return values[0]
}

func TestAllMetricsOfTheReferenceAreThere(t *testing.T) {
	serverPort, agentPort := FreePort(t), FreePort(t)
	s := StartServer(t, ServerOptions{TopLevel: prometheus(serverPort)})
	a := StartAgent(t, s, AgentOptions{TopLevel: prometheus(agentPort)})
	ctx := Context(t)

	made := s.Create(t, NewEntry(ID("/w"), a.ID, MySelector()))[0]
	a.WaitFetch(t, "/w")
	_, err := a.Client(t).FetchJWTSVID(ctx, jwtsvid.Params{Audience: "a"})
	NoError(t, err)
	made.Hint = "changed" // the agent gets a new SVID for it
	s.Update(t, made)
	other := s.Create(t, NewEntry(ID("/gone"), a.ID, "unix:uid:12345"))[0]
	s.Delete(t, other.Id)
	s.Mint(t, ID("/minted"), 60)
	_, err = s.Entries(t).CountEntries(ctx, &entryv1.CountEntriesRequest{})
	NoError(t, err)
	_, err = s.Entries(t).GetEntry(ctx, &entryv1.GetEntryRequest{Id: made.Id})
	NoError(t, err)
	_, err = s.Agents(t).CountAgents(ctx, &agentv1.CountAgentsRequest{})
	NoError(t, err)
	_, err = s.Agents(t).ListAgents(ctx, &agentv1.ListAgentsRequest{})
	NoError(t, err)
	evicted := s.NewAgent(t)
	_, err = s.Agents(t).DeleteAgent(ctx, &agentv1.DeleteAgentRequest{Id: ProtoID(evicted.SVID.ID.String())})
	NoError(t, err)
	bundles := s.Bundles(t)
	_, err = bundles.GetBundle(ctx, &bundlev1.GetBundleRequest{})
	NoError(t, err)
	_, err = bundles.CountBundles(ctx, &bundlev1.CountBundlesRequest{})
	NoError(t, err)
	_, err = bundles.ListFederatedBundles(ctx, &bundlev1.ListFederatedBundlesRequest{})
	NoError(t, err)
	federate(t, bundles)
	debugInfo(t, a)

	names := wanted("spire_server_", serverMetrics)
	agentNames := wanted("spire_agent_", agentMetrics)
	if !Reference() {
		names = append(names, wanted("spire_server_", serverEventMetrics)...)
		names = append(names, wanted("spire_server_", serverOursOnly)...)
		agentNames = append(agentNames, wanted("spire_agent_", agentOursOnly)...)
	}
	names = append(names, wanted("", processMetrics)...)
	agentNames = append(agentNames, wanted("", processMetrics)...)
	server := waitFor(t, serverPort, names)
	agent := waitFor(t, agentPort, agentNames)

	// Values and units.
	if one(t, server, "spire_server_started{trust_domain_id,version}") != 1 ||
		one(t, agent, "spire_agent_started{trust_domain_id,version}") != 1 ||
		one(t, agent, "spire_agent_bootstrapped{}") != 1 {
		t.Error("a process that runs is started and bootstrapped")
	}
	ttl := one(t, server, "spire_server_manager_x509_ca_rotate_ttl{trust_domain_id}")
	if ttl < 86000 || ttl > 86400 {
		t.Errorf("ttl of the CA in seconds: %v", ttl)
	}
	end := one(t, server, "spire_server_manager_x509_ca_rotate_expiration{trust_domain_id}")
	if left := end - float64(time.Now().Unix()); left < 86000 || left > 86500 {
		t.Errorf("end of the CA in Unix seconds: %v", end)
	}
	if up := one(t, server, "spire_server_uptime_in_ms{}"); up < 0 || up > 600_000 {
		t.Errorf("uptime %v", up)
	}
	if !Reference() {
		if n := one(t, server, "spire_server_entry_entries_by_entryid_cache_count{}"); n < 1 {
			t.Errorf("%v entries", n)
		}
	}
	if n := one(t, agent, "spire_agent_sync_entries_total{}"); n != 1 {
		t.Errorf("%v entries of the agent", n)
	}
	took := agent["spire_agent_rpc_workload_api_fetch_jwtsvid_elapsed_time_sum{status}"]
	if len(took) == 0 || took[0] <= 0 || took[0] > 30_000 {
		t.Errorf("milliseconds of a call: %v", took)
	}
}

func TestUptimeGrows(t *testing.T) {
	port := FreePort(t)
	StartServer(t, ServerOptions{TopLevel: prometheus(port)})
	first := one(t, waitFor(t, port, []string{"spire_server_uptime_in_ms{}"}),
		"spire_server_uptime_in_ms{}")
	Eventually(t, soon, "a later uptime", func() error {
		if now := one(t, scrape(t, port), "spire_server_uptime_in_ms{}"); now <= first {
			return fmt.Errorf("%v", now)
		}
		return nil
	})
}
