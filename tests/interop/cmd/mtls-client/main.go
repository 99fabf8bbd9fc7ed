// SPDX-License-Identifier: Apache-2.0

// Command mtls-client is the frontend of the Kubernetes guide: it asks the backend over mutual TLS, with
// go-spiffe. Where the guide's text does not compile (spiffeid.Must; a client as a source), this is what
// it means.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func ask() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(
		workloadapi.WithAddr("unix:///spiffe-workload-api/spire-agent.sock")))
	if err != nil {
		return err
	}
	defer source.Close()
	backend := spiffeid.RequireFromString("spiffe://prod.example.com/ns/default/sa/backend")
	client := &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(backend)),
		},
	}
	response, err := client.Get("https://backend.default.svc.cluster.local:8443/api/data")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	fmt.Printf("Response: %s\n", body)
	return nil
}

func main() {
	if err := ask(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
