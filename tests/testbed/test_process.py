"""Nothing that a Supervisor started outlives its owner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nos.testbed import TestbedError
from nos.testbed.process import Supervisor
from nos.testbed.state import start_time

from .processes import eventually, listens

# Starts a process, says which, and then does what the test wants.
OWNER = """
import os, sys, time
from pathlib import Path
from nos.testbed.process import Supervisor
supervisor = Supervisor(Path(sys.argv[1]), ports=1, remove=[Path(sys.argv[1]) / "left"])
print(supervisor.pid, supervisor.start("child", [*sys.argv[3:]]), supervisor.ports[0], flush=True)
"""
STUBBORN = [sys.executable, "-c", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"]


def gone(pid: int) -> bool:
    return start_time(pid) is None


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "left").mkdir()
    script = OWNER + "time.sleep(1000)"
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path, "-", "sleep", "1000"], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def started(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout
    return [int(word) for word in process.stdout.readline().split()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV])
def test_an_owner_that_dies_takes_all_along(owner: subprocess.Popen[str], tmp_path: Path, number: int) -> None:
    supervisor, child, _ = started(owner)
    owner.send_signal(number)
    owner.wait()
    eventually(lambda: gone(child) and gone(supervisor), "processes gone")
    assert not (tmp_path / "left").exists()


def test_a_supervisor_that_is_killed_takes_its_children_along(owner: subprocess.Popen[str]) -> None:
    supervisor, child, _ = started(owner)
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: gone(child), "child gone")


def test_a_fork_that_holds_the_pipe_open_does_not_keep_it_alive(tmp_path: Path) -> None:
    script = OWNER + "copy = os.fork() or time.sleep(1000)\nprint(copy, flush=True)\nos._exit(0)"
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path, "-", "sleep", "1000"], stdout=subprocess.PIPE, text=True
    ) as process:
        supervisor, child, _ = started(process)
        (copy,) = started(process)
        eventually(lambda: gone(child) and gone(supervisor), "processes gone")
        os.kill(copy, signal.SIGKILL)


def test_a_detached_supervisor_stays_until_sigterm(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    child = supervisor.start("child", ["sleep", "1000"])
    supervisor.detach()
    assert not gone(child)
    os.kill(supervisor.pid, signal.SIGTERM)
    eventually(lambda: gone(child) and gone(supervisor.pid), "processes gone")
    os.waitpid(supervisor.pid, 0)


def test_close_after_a_detach_that_was_interrupted(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    child = supervisor.start("child", ["sleep", "1000"])
    supervisor._call(op="detach")  # and here came the Ctrl-C
    supervisor.close()
    assert gone(child)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, grace=0.2)
    child = supervisor.start("child", STUBBORN)
    supervisor.stop("child")
    assert gone(child)
    supervisor.close()


def test_what_a_child_leaves_in_its_group_goes_too(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    supervisor.start("child", ["sh", "-c", "sleep 1000 & echo $!; wait"])
    eventually(lambda: supervisor.log("child").read_text(), "the grandchild's pid")
    grandchild = int(supervisor.log("child").read_text())
    supervisor.close()
    eventually(lambda: gone(grandchild), "grandchild gone")


def test_ports_are_held_but_answer_nobody(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, ports=2)
    first, second = supervisor.ports
    assert first != second
    assert not listens(first)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", first))
    with socket.socket() as child:  # as Kubernetes binds with --permit-port-sharing
        child.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        child.bind(("127.0.0.1", first))
        child.listen()
        assert listens(first)
    supervisor.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", second))


def test_waiting_for_a_process_that_dies_shows_its_last_words(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    supervisor.start("child", ["sh", "-c", "echo out of cheese; exit 3"])
    with pytest.raises(TestbedError, match=r"(?s)child ended with code 3 before it was ready.*out of cheese"):
        supervisor.wait_until(lambda: False, "child", what="it was ready", timeout=60)
    supervisor.close()


def test_waiting_ends_after_the_timeout(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    supervisor.start("child", ["sleep", "1000"])
    with pytest.raises(TestbedError, match="passed before it was ready"):
        supervisor.wait_until(lambda: False, "child", what="it was ready", timeout=0.1)
    supervisor.close()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    with pytest.raises(TestbedError, match=r"No such file.*no-such-program"):
        supervisor.start("child", [tmp_path / "no-such-program"])
    supervisor.close()


def test_a_process_that_was_stopped_can_start_again(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    first = supervisor.start("child", ["sleep", "1000"])
    supervisor.stop("child")
    assert gone(first)
    assert supervisor.exited() == {}  # it was asked to
    second = supervisor.start("child", ["sleep", "1000"])
    supervisor.close()
    assert gone(second)
