// SPDX-License-Identifier: Apache-2.0

package csi

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	csi "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/steeple/steeple/tests/interop/harness"
)

// What csi-sanity asks of a controller before any test of a node. Inline volumes have none, so this one
// stands in, without a single volume.
type noController struct {
	csi.UnimplementedControllerServer
	csi.UnimplementedIdentityServer
}

func (noController) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: "no.controller"}, nil
}

func (noController) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

func (noController) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

func (noController) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: []*csi.ControllerServiceCapability{{
		Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{}},
	}}}, nil
}

// Tests that make a volume through a controller and publish it writable; this driver serves read-only
// inline volumes alone, as the reference's does.
var needVolumes = []string{
	"Controller Service",
	"should remove target path",
	"should fail when volume does not exist on the specified path",
}

func TestCsiSanity(t *testing.T) {
	dir := os.Getenv("STEEPLE_KUBERNETES_BIN")
	if dir == "" {
		dir = filepath.Join(harness.Must[string](t)(os.UserCacheDir()), "steeple", "kubernetes")
	}
	sanity := filepath.Join(dir, "csi-sanity")
	if _, err := os.Stat(sanity); err != nil {
		t.Skipf("csi-sanity is not built: %v", err)
	}
	n := newNode(t)
	n.agent(t, "first")
	n.start(t)
	controller := filepath.Join(n.dir, "controller.sock")
	listener := harness.Must[net.Listener](t)(net.Listen("unix", controller))
	server := grpc.NewServer()
	csi.RegisterControllerServer(server, noController{})
	csi.RegisterIdentityServer(server, noController{})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	command := exec.CommandContext(harness.ContextFor(t, 2*deadline*3), "/usr/bin/nsenter", n.enter(sanity,
		"-ginkgo.no-color", "-ginkgo.v", "-ginkgo.skip", strings.Join(needVolumes, "|"),
		"-csi.endpoint", "unix://"+n.socket, "-csi.controllerendpoint", "unix://"+controller,
		"-csi.mountdir", filepath.Join(n.pods, "sanity"), "-csi.stagingdir", filepath.Join(n.pods, "staging"))...)
	out, err := command.CombinedOutput()
	counts := regexp.MustCompile(`(\d+) Passed \| (\d+) Failed`).FindSubmatch(out)
	if err != nil || counts == nil {
		t.Fatalf("csi-sanity: %v\n%s", err, out)
	}
	passed := harness.Must[int](t)(strconv.Atoi(string(counts[1])))
	t.Logf("csi-sanity: %d passed, %s failed", passed, counts[2])
	// What is left after the skips: fewer would mean that a suite fell away unseen.
	if passed < 13 {
		t.Errorf("csi-sanity ran only %d tests\n%s", passed, out)
	}
}
