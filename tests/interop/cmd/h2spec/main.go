// SPDX-License-Identifier: Apache-2.0

// Runs h2spec's generic, http2 and hpack suites against a TCP port and prints one line per case:
// "RESULT pass|fail|skip ID DESCRIPTION". A program of its own, because h2spec ends the process when
// it cannot connect.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

func main() {
	port := flag.Int("port", 0, "on 127.0.0.1")
	tls := flag.Bool("tls", false, "speak TLS, without verifying the server")
	path := flag.String("path", "/", "of the requests")
	timeout := flag.Duration("timeout", 2*time.Second, "for each answer")
	cases := flag.String("cases", "", "only these, as http2/6.1/3, with commas between")
	flag.Parse()
	c := &config.Config{Host: "127.0.0.1", Port: *port, Path: *path, Timeout: *timeout, MaxHeaderLen: 4000,
		TLS: *tls, Insecure: true, Strict: true}
	if *cases != "" {
		c.Sections = strings.Split(*cases, ",")
	}
	for _, suite := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		suite.Test(c)
		report(suite)
	}
	os.Exit(0)
}

func report(group *spec.TestGroup) {
	for i, test := range append(append([]*spec.TestCase{}, group.Tests...), group.StrictTests...) {
		if test.Result == nil {
			continue
		}
		outcome := "pass"
		if test.Result.Skipped {
			outcome = "skip"
		} else if test.Result.Failed {
			outcome = "fail"
		}
		fmt.Printf("\nRESULT %s %s/%d %s\n", outcome, group.ID(), i+1, test.Desc)
	}
	for _, child := range group.Groups {
		report(child)
	}
}
