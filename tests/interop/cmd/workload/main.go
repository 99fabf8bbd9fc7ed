// SPDX-License-Identifier: Apache-2.0

// A workload for the tests, on go-spiffe only. Tests run copies of it from several paths and as
// several users, to be several workloads.
//
//	workload fetch -socket S                          prints the SPIFFE IDs, one a line
//	workload serve -socket S -authorize ID            prints "listening ADDRESS", serves over mTLS
//	workload call  -socket S -authorize ID -address A prints the answer
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return fmt.Errorf("which? fetch, serve or call")
	}
	flags := flag.NewFlagSet("workload", flag.ExitOnError)
	socket := flags.String("socket", "", "path of the Workload API socket")
	authorize := flags.String("authorize", "", "SPIFFE ID of the peer")
	address := flags.String("address", "", "where to call")
	if err := flags.Parse(os.Args[2:]); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := workloadapi.WithAddr("unix://" + *socket)
	if os.Args[1] == "fetch" {
		svids, err := workloadapi.FetchX509SVIDs(ctx, client)
		if err != nil {
			return err
		}
		for _, svid := range svids {
			fmt.Println(svid.ID)
		}
		return nil
	}
	peer, err := spiffeid.FromString(*authorize)
	if err != nil {
		return err
	}
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(client))
	if err != nil {
		return err
	}
	defer source.Close()
	switch os.Args[1] {
	case "serve":
		return serve(source, peer)
	case "call":
		return call(ctx, source, peer, *address)
	}
	return fmt.Errorf("unknown command %q", os.Args[1])
}

func serve(source *workloadapi.X509Source, peer spiffeid.ID) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{
		TLSConfig: tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeID(peer)),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello %s", r.TLS.PeerCertificates[0].URIs[0])
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	fmt.Println("listening", listener.Addr())
	return server.ServeTLS(listener, "", "")
}

func call(ctx context.Context, source *workloadapi.X509Source, peer spiffeid.ID, address string) error {
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(peer)),
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	fmt.Println(string(body))
	return nil
}
