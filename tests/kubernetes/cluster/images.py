#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: images.py FOLDER

Makes the two images that tests need besides ours: the pause container of each pod, and busybox as the
workload with a shell. Archives that exist are left as they are.
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "deploy/images"))
import archive  # noqa: E402

# The first process of a pod: reaps, and ends when it is told to.
PAUSE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
  signal(SIGINT, end);
  signal(SIGTERM, end);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


def pause(target):
    program = target.with_suffix(".bin")
    subprocess.run(["cc", "-O2", "-static", "-s", "-x", "c", "-o", program, "-"], input=PAUSE, text=True, check=True)
    layer = archive.layer_tar({"/pause": program})
    archive.write_archive(target, "localhost/pause:1", [layer], {"Entrypoint": ["/pause"]})
    program.unlink()


def busybox(target):
    program = pathlib.Path("/bin/busybox")
    names = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    layer = archive.layer_tar({
        "/bin/busybox": program, "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "/tmp": archive.Folder(0o1777),
        **{f"/bin/{name}": archive.Link("busybox") for name in names if name != "busybox"}})
    archive.write_archive(target, "localhost/busybox:1", [layer], {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]})


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for make in (pause, busybox):
        target = folder / f"{make.__name__}.tar"
        if not target.exists():
            make(target)


if __name__ == "__main__":
    main()
