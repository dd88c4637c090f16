"""A machine of its own for the real node's processes; a script, started by the testbed's supervisor.

`namespace.py hold '{"directory": ..., "keep": [...], "cgroups": {...}, ...}'` makes PID, mount and cgroup
namespaces and holds them; `namespace.py enter PID PROGRAM ...` runs a program in those that PID holds.

Guaranteed: when the holder goes, however it goes, the kernel kills every process in there (containers and their shims,
which have process groups of their own, too), and with the last process go all mounts, the Pods' network
namespaces and their veths. A kubelet and containerd write to places that cannot be configured (/var/lib/kubelet,
/run/containerd, /run/netns, /var/log) and set the kernel's parameters: in here those places are in the testbed's
directory or in memory, and the parameters read as if they were set already. So several testbeds run side by side.
Not guaranteed: that the cgroups go. What in here looks like their roots are directories under the machine's roots,
empty when we are gone; the supervisor removes them.

Standard library only, and started with `python -I -S`, as supervisor.py is and for the same reasons.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import os
import select
import signal
import sys
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWPID = 0x0002_0000, 0x0200_0000, 0x2000_0000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x4_0000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

CGROUPS = "/sys/fs/cgroup"
IN_MEMORY = ("/run", "/var/lib", "/var/log")


def must(result: int, what: str) -> None:
    """OSError for a system call that failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0) -> None:
    must(
        LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None),
        f"mounting {source} on {target}",
    )


def isolate() -> None:
    """This process in mount and cgroup namespaces of its own, its children in a PID namespace too."""
    must(LIBC.unshare(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWPID), "unshare")
    mount("none", "/", flags=MS_REC | MS_PRIVATE)  # what we mount does not show outside


def die_with(parent: int) -> None:
    """To be killed when the parent, of which this is a pidfd, is gone, or now if it is already: from inside the PID
    namespace getppid() says 0 either way."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([parent], [], [], 0)[0]:
        os._exit(1)
    os.close(parent)


def make_cgroup(root: str, ours: str) -> None:
    """A cgroup that containers can be made in, as they can in the root, and this process in it."""
    os.makedirs(ours, exist_ok=True)
    for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty at first, and then nothing may run there
        if os.path.exists(f"{ours}/{setting}") and os.path.exists(f"{root}/tasks"):
            copy(f"{root}/{setting}", f"{ours}/{setting}")
    if os.path.exists(f"{root}/cgroup.controllers"):  # version 2: what the root does not hand down cannot be used
        hand_down(root)
    write(f"{ours}/cgroup.procs", "0")


def join_cgroups() -> None:
    """This process where the node's own processes are. In version 2 that is a leaf: a cgroup that has processes hands
    no controller down to its children."""
    if os.path.exists(f"{CGROUPS}/cgroup.controllers"):
        os.makedirs(f"{CGROUPS}/node", exist_ok=True)
        write(f"{CGROUPS}/node/cgroup.procs", "0")
    else:
        for procs in glob.glob(f"{CGROUPS}/*/cgroup.procs"):
            write(procs, "0")


def hand_down(directory: str) -> None:
    with open(f"{directory}/cgroup.controllers") as file:
        controllers = file.read().split()
    for controller in controllers:
        with contextlib.suppress(OSError):  # one that is in use elsewhere
            write(f"{directory}/cgroup.subtree_control", f"+{controller}")


def copy(source: str, target: str) -> None:
    with open(source) as read:
        write(target, read.read())


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def furnish(options: dict[str, Any]) -> None:
    """The places that are private to this namespace; `keep` are paths that must be seen in spite of that."""
    mount("proc", "/proc", "proc")
    # Bound through descriptors: by then a memory file system may lie over the path.
    kept = {path: os.open(path, os.O_PATH) for path in options["keep"]}
    for path in IN_MEMORY:
        mount("tmpfs", path, "tmpfs")
    for path, descriptor in kept.items():
        if not os.path.exists(path):
            if os.path.isdir(f"/proc/self/fd/{descriptor}"):
                os.makedirs(path)
            else:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.close(os.open(path, os.O_CREAT, 0o600))
            mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND | MS_REC)
        os.close(descriptor)
    for path, directory in options["links"].items():
        os.makedirs(path, exist_ok=True)
        mount(directory, path, flags=MS_BIND | MS_REC)
    for path, content in options["files"].items():
        if not os.path.exists(path):
            continue
        stand_in = os.path.join("/run", path.strip("/").replace("/", "."))
        with open(stand_in, "w") as file:
            file.write(content)
        mount(stand_in, path, flags=MS_BIND)


def init(options: dict[str, Any]) -> NoReturn:
    """Process 1 of the namespace: furnishes it, says so, and from then on only buries the dead."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    furnish(options)
    print("ready", flush=True)
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


def hold(options: dict[str, Any]) -> int:
    """Until SIGTERM, or until process 1 ends by itself, which it does only when it fails."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    for root, ours in options["cgroups"].items():
        make_cgroup(root, ours)
    isolate()
    for root, ours in options["cgroups"].items():
        mount(ours, root, flags=MS_BIND)
    join_cgroups()
    if os.path.exists(f"{CGROUPS}/cgroup.controllers"):
        hand_down(CGROUPS)
    us = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        try:
            die_with(us)
            init(options)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
    signal.sigwait({signal.SIGTERM, signal.SIGCHLD})
    os.kill(pid, signal.SIGKILL)  # the kernel kills the others, and lets us wait until all are gone
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def enter(holder: int, argv: list[str]) -> int:
    """Runs a program in the namespaces that `holder` holds; its exit code."""
    descriptors = [os.open(f"/proc/{holder}/ns/{kind}", os.O_RDONLY) for kind in ("pid_for_children", "cgroup", "mnt")]
    for descriptor in descriptors:
        must(LIBC.setns(descriptor, 0), "setns")
        os.close(descriptor)
    join_cgroups()
    us = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        die_with(us)
        os.chdir("/")
        try:
            os.execvp(argv[0], argv)
        except OSError as error:
            print(f"{argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
            os._exit(127)
    # The supervisor signals our whole process group, of which the program is one: SIGTERM is for it. Not before now:
    # one that came while there was no program would reach nobody.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def main() -> int:
    match sys.argv[1:]:
        case ["check"]:
            isolate()
            return 0
        case ["hold", options]:
            return hold(json.loads(options))
        case ["enter", holder, *argv]:
            return enter(int(holder), argv)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(str(error.strerror))
