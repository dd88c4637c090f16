"""The one parent of every process of a testbed; a script, started by `process.Supervisor`.

Arrives: one JSON request a line on stdin (`start`, `stop`, `poll`, `detach`). Leaves: one JSON answer a line on stdout,
after a first line that names the reserved ports.

Guaranteed: when the process that started us goes away, however it goes (exit, Ctrl-C, kill -9), stdin ends, and we stop
every child, remove the state directory and exit. When we are killed ourselves, the kernel kills the children
(PR_SET_PDEATHSIG). After `detach` we outlive our parent, until SIGTERM. The ports are ours from before the first child
binds them until we exit: we hold them with SO_REUSEPORT sockets that never listen, and the children share them.
Not guaranteed: that a grandchild in a process group of its own is found. Only containerd makes such, and namespace.py
holds those.

Standard library only, and started with `python -I -S`: it must come up in milliseconds, in any environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Any

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def reserve_ports(count: int) -> list[socket.socket]:
    """Bound, not listening: the kernel gives the port to nobody else, and sends us no connection."""
    sockets = []
    for _ in range(count):
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        sockets.append(held)
    return sockets


def start(request: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A child in a process group of its own, that dies with us."""
    parent = os.getpid()

    def die_with_parent() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    with open(request["log"], "ab") as log:
        # preexec_fn is safe here, and only here: this process has one thread.
        return subprocess.Popen(
            request["argv"],
            env=request["env"],
            cwd=request["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
            preexec_fn=die_with_parent,
        )


def signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def stop(children: list[subprocess.Popen[bytes]], grace: float) -> None:
    """SIGTERM to one after another, SIGKILL once `grace` seconds have passed. Back when all are reaped."""
    deadline = time.monotonic() + grace
    for child in children:
        signal_group(child, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))
        # Also when it exited by itself: whatever it left in its group must go too.
        signal_group(child, signal.SIGKILL)
        child.wait()


def remove(paths: list[str], patience: float = 0.0) -> None:
    """patience: so long is tried again what is in use: the kernel may still be killing the real node's processes."""
    deadline = time.monotonic() + patience
    for path in paths:
        while True:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            if not os.path.lexists(path) or time.monotonic() >= deadline:
                break
            time.sleep(0.02)
    if paths:  # the directory itself, if nobody put anything else there
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(paths[0]))


class Supervision:
    """The children by name, and the requests about them."""

    def __init__(self, grace: float) -> None:
        self.children: dict[str, subprocess.Popen[bytes]] = {}  # in the order of their first starts
        self.stopped: set[str] = set()
        self.grace = grace
        self.detached = False

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request.get("name", "")
        match request["op"]:
            case "start":
                self.children[name] = start(request)
                self.stopped.discard(name)
                return {"pid": self.children[name].pid}
            case "stop":
                if child := self.children.get(name):
                    self.stopped.add(name)
                    stop([child], request.get("grace", self.grace))
                return {}
            case "poll":
                codes = {name: child.poll() for name, child in self.children.items() if name not in self.stopped}
                return {"exited": {name: code for name, code in codes.items() if code is not None}}
            case "detach":
                self.detached = True
                return {}
        raise ValueError(request["op"])

    def stop_all(self) -> None:
        """Clients before servers: an API server that loses its etcd first takes five times as long to go."""
        stop(list(reversed(self.children.values())), self.grace)


def serve(supervision: Supervision, wakeup: int) -> None:
    """Answers requests until the parent is gone or SIGTERM came."""
    parent = os.getppid()
    inputs = [0, wakeup]
    buffer = b""
    while True:
        # The timeout is for a parent that died while a forked copy of it still holds our stdin open.
        ready, _, _ = select.select(inputs, [], [], 0.5)
        for child in supervision.children.values():
            child.poll()  # reap
        if wakeup in ready and {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} & set(os.read(wakeup, 64)):
            return
        if not supervision.detached and os.getppid() != parent:
            return
        if 0 not in ready:
            continue
        chunk = os.read(0, 1 << 16)
        if not chunk:
            if not supervision.detached:
                return
            inputs.remove(0)
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            try:
                answer = supervision.answer(json.loads(line))
            except OSError as error:
                answer = {"error": f"{error.strerror}: {error.filename}"}
            try:
                os.write(1, json.dumps(answer).encode() + b"\n")
            except BrokenPipeError:
                return


def main() -> None:
    """`supervisor.py {"ports": 3, "remove": [...], "grace": 5}`"""
    options = json.loads(sys.argv[1])
    # Signals wake the loop through a pipe: no Python code runs at a surprising moment.
    wakeup, wakeup_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)

    held = reserve_ports(options["ports"])
    supervision = Supervision(options["grace"])
    try:
        os.write(1, json.dumps({"ports": [s.getsockname()[1] for s in held]}).encode() + b"\n")
        serve(supervision, wakeup)
    finally:
        supervision.stop_all()
        remove(options["remove"], patience=10.0)


if __name__ == "__main__":
    main()
