// SPDX-License-Identifier: Apache-2.0

// Command mtls-server is the backend of the Kubernetes guide: it answers the frontend and nobody else,
// with go-spiffe. Where the guide's text does not compile, this is what it means.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func answer(w http.ResponseWriter, r *http.Request) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		id, err := spiffeid.FromURI(r.TLS.PeerCertificates[0].URIs[0])
		if err == nil {
			fmt.Fprintf(w, "Hello %s! Here's your secure data.\n", id)
			return
		}
	}
	http.Error(w, "Unauthorized", http.StatusUnauthorized)
}

func main() {
	source, err := workloadapi.NewX509Source(context.Background(), workloadapi.WithClientOptions(
		workloadapi.WithAddr("unix:///spiffe-workload-api/spire-agent.sock")))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	frontend := spiffeid.RequireFromString("spiffe://prod.example.com/ns/default/sa/frontend")
	server := &http.Server{
		Addr:      ":8443",
		TLSConfig: tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeID(frontend)),
		Handler:   http.HandlerFunc(answer),
	}
	fmt.Println("Server listening on :8443...")
	fmt.Fprintln(os.Stderr, server.ListenAndServeTLS("", ""))
	os.Exit(1)
}
