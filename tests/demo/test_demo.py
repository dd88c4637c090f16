"""`nos demo` as users run it: to its end, and cut short at every moment."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.testbed.processes import eventually, listens, processes_of

pytestmark = pytest.mark.cluster
COMMAND = [sys.executable, "-c", "from nos.cli import main; main()"]
SMALL = ["demo", "--nodes", "8xH100=4,2xT4=2,cpu=2", "--seconds", "2"]


class Demo:
    """A demo under way, whose testbed is in a directory of the test's own."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.output = directory / "output"
        self.errors = directory / "errors"
        (directory / "t").mkdir()
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*COMMAND, *SMALL, *arguments],
                stdout=output,
                stderr=errors,
                env={**os.environ, "TMPDIR": str(directory / "t")},
                start_new_session=True,
            )

    def has_log(self, name: str) -> bool:
        """Whether this part of the control plane was started."""
        return any(self.directory.glob(f"t/*/logs/{name}.log"))

    def ports(self) -> list[int]:
        """What it listens on, as far as it says."""
        states = [path.read_text() for path in self.directory.glob("t/*/state.json")]
        logs = [path.read_text() for path in self.directory.glob("t/*/logs/nos-controller.log")]
        found = re.findall(r'"kube-[a-z-]+": (\d{4,5})', "".join(states))
        return [int(port) for port in found + re.findall(r"health on [0-9.]+:(\d+)", "".join(logs))]

    def pid_of(self, name: str) -> int:
        """The process id of a part of the control plane."""
        (state,) = self.directory.glob("t/*/state.json")
        return int(json.loads(state.read_text())["processes"][name]["pid"])

    def said(self) -> str:
        return self.errors.read_text()


Start = Callable[..., Demo]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a demo; one that a failing test leaves is ended."""
    started: list[Demo] = []

    def begin(*arguments: str) -> Demo:
        started.append(Demo(tmp_path, *arguments))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def assert_nothing_left(directory: Path, ports: list[int]) -> None:
    assert processes_of(directory) == []
    assert [port for port in ports if listens(port)] == []
    assert list((directory / "t").iterdir()) == []


def test_in_a_pipe_to_the_end(start: Start, tmp_path: Path) -> None:
    demo = start("--picture", str(tmp_path / "demo.svg"))
    assert demo.process.wait(120) == 0, demo.said()
    output = demo.output.read_text()
    assert "\x1b" not in output + demo.said()
    bound, arrived = map(int, re.search(r"Pods bound +(\d+) of (\d+)", output).groups())  # type: ignore[union-attr]
    assert bound == arrived - 3
    for name in ("too-many-gpus", "no-such-gpu", "too-much-memory"):
        assert f"{name}: 0/8 nodes are available" in output
    assert re.search(r"p50 [0-9.]+ m?s, p99 [0-9.]+ m?s", output)
    assert re.search(r"^8xh100-0 +([1248]{8} ){2}", output, re.MULTILINE)
    assert (tmp_path / "demo.svg").read_text().startswith("<svg")
    assert_nothing_left(tmp_path, [])


def test_kept_it_runs_the_sample_pod_until_it_is_stopped(start: Start, tmp_path: Path) -> None:
    kept = tmp_path / "k"
    demo = start("--keep", "--state-dir", str(kept))
    assert demo.process.wait(120) == 0, demo.said()
    try:
        script = demo.output.read_text().partition("# The control plane")[2]
        script += "kubectl wait pod/my-pod --for=condition=Ready --timeout=30s\n"
        script += "kubectl get pod my-pod -o jsonpath='{.status.phase} on {.spec.nodeName}'\n"
        said = subprocess.run(["bash", "-ec", f"#{script}"], capture_output=True, text=True, timeout=60)
        assert re.search(r"Running on (8xh100|2xt4)-\d$", said.stdout), said
        page = re.search(r"See them: (http://127\.0\.0\.1:\d+/)\n", script)
        assert page, script
        with urllib.request.urlopen(f"{page[1]}api/state", timeout=10) as answer:
            assert len(json.load(answer)["snapshot"]["nodes"]) > 2
        status = subprocess.run([*COMMAND, "testbed", "status", f"--state-dir={kept}"], capture_output=True, text=True)
        assert status.returncode == 0
        assert re.search(r"^nos-controller .* ok$", status.stdout, re.MULTILINE)
    finally:
        subprocess.run([*COMMAND, "testbed", "down", f"--state-dir={kept}"], check=True, capture_output=True)
    assert not kept.exists()
    assert_nothing_left(tmp_path, [])


MOMENTS: dict[str, Callable[[Demo], bool]] = {
    "etcd": lambda demo: demo.has_log("etcd"),
    "apiserver": lambda demo: demo.has_log("kube-apiserver"),
    "kwok": lambda demo: demo.has_log("kwok"),
    "controlplane": lambda demo: "starting the control plane (" in demo.said(),
    "controller": lambda demo: demo.has_log("nos-controller"),
    "joining": lambda demo: "starting nos controller, under its own role (" in demo.said(),
    "workload": lambda demo: re.search(r" [1-9]\d* Pods created", demo.said()) is not None,
    "summary": lambda demo: "Pods bound" in demo.output.read_text(),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_nothing(moment: str, start: Start, tmp_path: Path) -> None:
    demo = start(*([] if moment == "summary" else ["--seconds", "60"]))  # the moment is not to be missed
    eventually(lambda: MOMENTS[moment](demo) or demo.process.poll() is not None, moment, timeout=120.0)
    ports = demo.ports()
    demo.process.send_signal(signal.SIGINT)
    code = demo.process.wait(60)
    assert code == 130 or (code == 0 and moment == "summary"), demo.said()
    assert "Traceback" not in demo.said()
    assert_nothing_left(tmp_path, ports)


def test_ctrl_c_gives_the_terminal_back(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    leader, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *SMALL],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TMPDIR": str(tmp_path / "t"), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        preexec_fn=lambda: os.login_tty(0),  # so that ^C becomes a signal
    )
    os.close(terminal)
    seen = b""
    try:
        while b"Pods arrive" not in seen:
            seen += os.read(leader, 65536)
        os.write(leader, b"\x03")
        while chunk := os.read(leader, 65536):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(leader)  # which hangs up, whatever went wrong
        code = process.wait(60)
    assert code == 130
    assert b"Traceback" not in seen
    screen, _, after = seen.rpartition(b"\x1b[?1049l")
    assert b"\x1b[?1049h" in screen
    assert b"interrupted; nothing is left running" in after
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")
    assert_nothing_left(tmp_path, [])


def test_a_controller_that_ends_ends_the_demo(start: Start, tmp_path: Path) -> None:
    demo = start("--seconds", "60")
    eventually(lambda: re.search(r" [1-9]\d* Pods created", demo.said()), "Pods arrive")
    os.kill(demo.pid_of("nos-controller"), signal.SIGTERM)
    assert demo.process.wait(60) == 1
    assert "error: nos-controller ended with code" in demo.said()
    assert "Traceback" not in demo.said()
    assert_nothing_left(tmp_path, demo.ports())


def test_a_picture_that_cannot_be_written_is_told_at_once(start: Start, tmp_path: Path) -> None:
    demo = start("--picture", str(tmp_path / "none" / "demo.svg"))
    assert demo.process.wait(30) == 1
    assert demo.said() == f"error: {tmp_path}/none/demo.svg: there is no directory {tmp_path}/none\n"
    assert_nothing_left(tmp_path, [])
