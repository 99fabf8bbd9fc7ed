// SPDX-License-Identifier: Apache-2.0

// The peers of our own layers, beside the programs under test, and programs of this module.

package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// PeerBinary is a program of tests/process, in ../test-bin of the programs under test. The test is
// skipped when it was not built: the reference has none.
func PeerBinary(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(BinDir(t), "..", "test-bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s to judge: %v (ninja test_programs builds it)", name, err)
	}
	return path
}

// Tool builds a program of this module's cmd folder.
func Tool(t testing.TB, name string) string {
	t.Helper()
	root := Must[string](t)(moduleRoot())
	path := filepath.Join(TempDir(t), name)
	command := exec.Command("go", "build", "-o", path, "./cmd/"+name)
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", name, err, output)
	}
	return path
}
