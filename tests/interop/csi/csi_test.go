// SPDX-License-Identifier: Apache-2.0

// Package csi judges spiffe-csi-driver with real mounts: the CSI specification's own client calls the
// driver in a mount namespace of its own (a "node"), and other namespaces below it ("containers") look
// at what a running pod would see.
package csi

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	csi "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/steeple/steeple/tests/interop/harness"
)

const deadline = 20 * time.Second

// A node: a mount namespace whose pods folder is a shared mount, as a kubelet's is.
type node struct {
	dir, source, pods, socket string
	holder                    *harness.Process
	driver                    *harness.Process
}

func newNode(t *testing.T) *node {
	t.Helper()
	if os.Getuid() != 0 || exec.Command("unshare", "-m", "true").Run() != nil {
		t.Skip("needs root and the right to make mount namespaces")
	}
	dir := harness.TempDir(t)
	n := &node{
		dir: dir, source: filepath.Join(dir, "run", "api"), pods: filepath.Join(dir, "pods"),
		socket: filepath.Join(dir, "csi.sock"),
	}
	harness.NoError(t, os.MkdirAll(n.source, 0o755))
	harness.NoError(t, os.Mkdir(n.pods, 0o755))
	script := fmt.Sprintf("mount -t tmpfs pods %[1]s && mount --make-shared %[1]s && echo ready && exec sleep 600", n.pods)
	n.holder = harness.Start(t, dir, "node", "/usr/bin/unshare", "-m", "--propagation", "private", "sh", "-c", script)
	n.holder.WaitLog(t, 0, "ready", deadline)
	return n
}

// enter is a command line that runs in the node's mount namespace, in place of itself.
func (n *node) enter(args ...string) []string {
	return append([]string{fmt.Sprintf("--mount=/proc/%d/ns/mnt", n.holder.Pid()), "--"}, args...)
}

func (n *node) start(t *testing.T, flags ...string) {
	t.Helper()
	args := n.enter(append([]string{
		harness.Binary(t, "spiffe-csi-driver"), "-node-id", "node-1",
		"-csi-socket-path", n.socket, "-workload-api-socket-dir", n.source,
	}, flags...)...)
	n.driver = harness.Start(t, n.dir, "driver", "/usr/bin/nsenter", args...)
	n.driver.WaitLog(t, 0, "Listening...", deadline)
}

func (n *node) client(t *testing.T) csi.NodeClient {
	t.Helper()
	return csi.NewNodeClient(harness.DialUnix(t, n.socket))
}

// path is a path of the node's namespace, seen from here.
func (n *node) path(p string) string { return fmt.Sprintf("/proc/%d/root%s", n.holder.Pid(), p) }

// target is what a kubelet prepares for one volume of a pod.
func (n *node) target(t *testing.T, pod string) string {
	t.Helper()
	volume := filepath.Join(n.pods, pod, "volumes", "kubernetes.io~csi", "spiffe api")
	harness.NoError(t, os.MkdirAll(n.path(volume), 0o755))
	harness.NoError(t, os.WriteFile(n.path(filepath.Join(volume, "vol_data.json")),
		[]byte(`{"driverName":"csi.spiffe.io","volumeLifecycleMode":"Ephemeral"}`), 0o600))
	return filepath.Join(volume, "mount")
}

// container starts a "container" that shows the target at /<dir>/in, with the propagation of its volume mount.
func (n *node) container(t *testing.T, target, propagation string) (look func() string) {
	t.Helper()
	in := filepath.Join(n.dir, "in")
	if err := os.Mkdir(in, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	script := fmt.Sprintf("mount --rbind '%s' %s && mount --make-r%s %s && echo ready && exec sleep 600", target, in, propagation, in)
	p := harness.Start(t, n.dir, "container", "/usr/bin/nsenter",
		n.enter("/usr/bin/unshare", "-m", "--propagation", "unchanged", "sh", "-c", script)...)
	p.WaitLog(t, 0, "ready", deadline)
	return func() string { return read(fmt.Sprintf("/proc/%d/root%s/agent.sock", p.Pid(), in)) }
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// agent puts a "socket" into the directory, as an agent that starts does.
func (n *node) agent(t *testing.T, name string) {
	t.Helper()
	_ = os.Remove(filepath.Join(n.source, "agent.sock"))
	harness.NoError(t, os.WriteFile(filepath.Join(n.source, "agent.sock"), []byte(name), 0o600))
}

// replace deletes the directory and makes it anew, with another agent in it.
func (n *node) replace(t *testing.T, name string) {
	t.Helper()
	harness.NoError(t, os.RemoveAll(n.source))
	harness.NoError(t, os.Mkdir(n.source, 0o755))
	n.agent(t, name)
}

// mountOver makes it anew as a tmpfs that is mounted again is: the old one is no longer reached, but is not deleted.
func (n *node) mountOver(t *testing.T, name string) {
	t.Helper()
	harness.NoError(t, os.Rename(n.source, fmt.Sprintf("%s-before-%s", n.source, strings.ReplaceAll(name, " ", "-"))))
	harness.NoError(t, os.Mkdir(n.source, 0o755))
	n.agent(t, name)
}

func request(target string) *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId: "csi-volume", TargetPath: target, Readonly: true,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
		VolumeContext: map[string]string{"csi.storage.k8s.io/ephemeral": "true"},
	}
}

func (n *node) publish(t *testing.T, target string) {
	t.Helper()
	_, err := n.client(t).NodePublishVolume(harness.Context(t), request(target))
	harness.NoError(t, err)
}

func (n *node) unpublish(t *testing.T, target string) {
	t.Helper()
	_, err := n.client(t).NodeUnpublishVolume(harness.Context(t),
		&csi.NodeUnpublishVolumeRequest{VolumeId: "csi-volume", TargetPath: target})
	harness.NoError(t, err)
}

func (n *node) condition(t *testing.T, target string) string {
	t.Helper()
	stats, err := n.client(t).NodeGetVolumeStats(harness.Context(t),
		&csi.NodeGetVolumeStatsRequest{VolumeId: "csi-volume", VolumePath: target})
	harness.NoError(t, err)
	return fmt.Sprintf("%v %s", stats.GetVolumeCondition().GetAbnormal(), stats.GetVolumeCondition().GetMessage())
}

func (n *node) layers(t *testing.T, target string) int {
	t.Helper()
	table := harness.Must[[]byte](t)(os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", n.holder.Pid())))
	return strings.Count(string(table), strings.ReplaceAll(target, " ", `\040`)+" ")
}

func wantSees(t *testing.T, what string, look func() string, want string) {
	t.Helper()
	harness.Eventually(t, deadline, what, func() error {
		if got := look(); got != want {
			return fmt.Errorf("sees %q, want %q", got, want)
		}
		return nil
	})
}

func TestAVolumeShowsTheAgentsSocketAlsoAfterTheAgentRestarted(t *testing.T) {
	n := newNode(t)
	n.agent(t, "first")
	n.start(t)
	target := n.target(t, "pod")
	n.publish(t, target)
	n.publish(t, target)
	if got := n.layers(t, target); got != 1 {
		t.Fatalf("%d mounts after publishing twice", got)
	}
	look := n.container(t, target, "private")
	wantSees(t, "a pod", look, "first")
	n.agent(t, "second")
	wantSees(t, "a running pod after the agent's restart", look, "second")
	n.driver.Stop(t)
	n.start(t)
	wantSees(t, "a running pod after the driver's restart", look, "second")
	if got := n.condition(t, target); got != "false mounted" {
		t.Errorf("condition: %s", got)
	}
	n.unpublish(t, target)
	n.unpublish(t, target)
	if _, err := os.Stat(n.path(target)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the target is left: %v", err)
	}
}

func TestAReplacedDirectoryReachesRunningPodsThatShareTheMount(t *testing.T) {
	n := newNode(t)
	n.agent(t, "first")
	n.start(t)
	target := n.target(t, "pod")
	n.publish(t, target)
	shared := n.container(t, target, "slave")
	wantSees(t, "a pod", shared, "first")
	for round := range 3 {
		name := fmt.Sprintf("agent %d", round)
		n.mountOver(t, name)
		wantSees(t, "the node", func() string { return read(n.path(target) + "/agent.sock") }, name)
		wantSees(t, "a running pod", shared, name)
		if got := n.layers(t, target); got != 2 {
			t.Errorf("%d mounts lie on each other", got)
		}
		if got := n.condition(t, target); got != "false mounted" {
			t.Errorf("condition: %s", got)
		}
	}
	// A container that starts now sees it, whatever its propagation.
	wantSees(t, "a container that starts later", n.container(t, target, "private"), "agent 2")
	n.unpublish(t, target)
	if got := n.layers(t, target); got != 0 {
		t.Errorf("%d mounts are left", got)
	}
}

func TestADeletedDirectoryIsReplacedForContainersThatStartLater(t *testing.T) {
	n := newNode(t)
	n.agent(t, "first")
	n.start(t)
	target := n.target(t, "pod")
	n.publish(t, target)
	n.container(t, target, "slave")
	for round := range 3 {
		name := fmt.Sprintf("agent %d", round)
		n.replace(t, name)
		wantSees(t, "the node", func() string { return read(n.path(target) + "/agent.sock") }, name)
		wantSees(t, "a container that starts later", n.container(t, target, "private"), name)
		if got := n.layers(t, target); got != 1 {
			t.Errorf("%d mounts lie on each other", got)
		}
	}
	n.unpublish(t, target)
}

func TestADirectoryReplacedWhileTheDriverWasAwayIsMendedAtItsStart(t *testing.T) {
	n := newNode(t)
	n.agent(t, "first")
	n.start(t)
	target, other := n.target(t, "pod"), n.target(t, "other")
	n.publish(t, target)
	n.publish(t, other)
	harness.NoError(t, os.WriteFile(n.path(filepath.Dir(other))+"/vol_data.json",
		[]byte(`{"driverName":"csi.example.org"}`), 0o600))
	n.driver.Kill()
	n.replace(t, "second")
	n.start(t)
	wantSees(t, "the pod", func() string { return read(n.path(target) + "/agent.sock") }, "second")
	if got := n.layers(t, other); got != 1 {
		t.Errorf("another driver's volume was touched: %d mounts", got)
	}
	if got := n.condition(t, other); !strings.HasPrefix(got, "true the volume shows a directory that has been deleted") {
		t.Errorf("condition of a dead volume: %s", got)
	}
}

func TestWhatIsNotServedIsUnimplementedAndNoOtherRefusalHidesIt(t *testing.T) {
	n := newNode(t)
	n.start(t)
	conn := harness.DialUnix(t, n.socket)
	_, err := csi.NewControllerClient(conn).CreateVolume(harness.Context(t), &csi.CreateVolumeRequest{})
	harness.WantStatus(t, err, codes.Unimplemented, "")
	_, err = csi.NewNodeClient(conn).NodeStageVolume(harness.Context(t), &csi.NodeStageVolumeRequest{})
	harness.WantStatus(t, err, codes.Unimplemented, "")
	info, err := csi.NewIdentityClient(conn).GetPluginInfo(harness.Context(t), &csi.GetPluginInfoRequest{})
	harness.NoError(t, err)
	if info.GetName() != "csi.spiffe.io" || info.GetVendorVersion() == "" {
		t.Errorf("plugin info: %v", info)
	}
	capabilities, err := csi.NewIdentityClient(conn).GetPluginCapabilities(harness.Context(t), &csi.GetPluginCapabilitiesRequest{})
	harness.NoError(t, err)
	if len(capabilities.GetCapabilities()) != 0 {
		t.Errorf("capabilities: %v", capabilities)
	}
	bad := request(n.target(t, "pod"))
	bad.Readonly = false
	_, err = csi.NewNodeClient(conn).NodePublishVolume(harness.Context(t), bad)
	harness.WantStatus(t, err, codes.InvalidArgument, "pod.spec.volumes[].csi.readOnly must be set to 'true'")
}

func TestPublishingDelaysAPodByFarLessThanFiftyMilliseconds(t *testing.T) {
	n := newNode(t)
	n.agent(t, "first")
	n.start(t)
	const pods = 200
	var took []time.Duration
	client := n.client(t)
	for i := range pods {
		target := n.target(t, fmt.Sprintf("pod-%d", i))
		began := time.Now()
		_, err := client.NodePublishVolume(harness.Context(t), request(target))
		harness.NoError(t, err)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("publish with up to %d volumes: p50 %v, p99 %v", pods, took[pods/2], took[pods*99/100])
	if took[pods/2] > 50*time.Millisecond {
		t.Errorf("p50 %v", took[pods/2])
	}
}

func TestWrongFlagsAreToldWithTheReferencesWordsAndCodes(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-node-id-env", "NO_SUCH_VARIABLE"}, 1, "node ID is required"},
		{[]string{"-node-id", "n"}, 1, "workload API socket directory is required"},
		{[]string{"-nope"}, 2, "flag provided but not defined: -nope"},
		{[]string{"-h"}, 0, "Provides the Workload API socket directory via ephemeral inline CSI volumes"},
	} {
		out, errors, code := harness.Run(t, "", harness.Binary(t, "spiffe-csi-driver"), c.args...)
		if code != c.code || !strings.Contains(out+errors, c.want) {
			t.Errorf("%v: code %d, %s%s", c.args, code, out, errors)
		}
	}
}
