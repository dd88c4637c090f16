"""`nos top`: what it draws, and that it comes and goes as people expect on a real cluster and a real terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from nos.observe.top import Choice, screen, tables
from nos.observe.view import Bound, Changes, Gpu, Held, Node, Pod, Quota, Slice, Snapshot, Totals
from tests.cli.test_main import nos
from tests.controller.cluster import Cluster

CUT = Gpu(
    500,
    8,
    slices=(
        Slice("3g.40gb", 0, 4, "ml/train"),
        Slice("1g.10gb", 4, 1),
        Slice("1g.10gb", 5, 1, state="coming"),
        Slice("1g.10gb", 6, 1, state="going"),
    ),
)
NODES = (
    Node(
        "gpu-10",
        "NVIDIA H100",
        (48_000, 96_000),
        (64 << 30, 512 << 30),
        (CUT, Gpu(0)),
        (Held("ml/train", 0, slices=("0:3g.40gb",)),),
    ),
    Node(
        "gpu-9", "L40S", (0, 8000), (0, 1 << 30), (Gpu(1000, pods=("web/a",)),), (Held("web/a", 0, (0,)),), "cordoned"
    ),
    Node("cpu-0", cpu=(1000, 8000)),
)
QUEUE = (
    Pod("ml/late", "1 gpu", 940),
    Pod("ml/first", "2 gpu, 8 cpu", 400, priority=5, message="0/3 nodes are available: 3 Insufficient nvidia.com/gpu"),
    Pod("web/b", "1 gpu", 100, state="binding"),
)
QUOTAS = (Quota("ElasticQuota ml/q", ("ml",), {"nvidia.com/gpu": Bound(3, 2, 4), "cpu": Bound(500, max=1000)}),)


def shown() -> Snapshot:
    snapshot = Snapshot()
    snapshot.apply(Changes(1000.0, Totals(3, 1500, 3, 0.25), NODES, (), QUEUE, QUOTAS))
    return snapshot


def drawn(choice: Choice = Choice(), width: int = 120, height: int | None = None) -> list[str]:  # noqa: B008
    console = Console(width=width, color_system=None, file=None, highlight=False)
    with console.capture() as captured:
        console.print(screen(shown(), choice, width, height))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_gpu_is_a_bar_of_its_slices() -> None:
    lines = drawn()
    assert lines[0] == "1.5 of 3 GPUs in use (50 %) on 2 nodes   3 Pods wait   fragmentation 25%"
    # Eight columns for eight units: half of it is the 3g.40gb, then one free, one that comes, one that goes, nothing.
    assert lines[2] == "gpu-9   ████████               1 gpu  0/8 cpu  cordoned"
    assert lines[3] == "gpu-10  ▌███░▒x· ········    0.5 gpu  48/96 cpu"
    assert not [line for line in lines if "cpu-0" in line]
    waiting = lines.index("Waiting (3)")
    assert lines[waiting + 1].split() == ["ml/first", "2", "gpu,", "8", "cpu", "10m", *QUEUE[1].message.split()]
    assert lines[waiting + 2] == "  web/b  1 gpu  15m  is decided, its Binding is on its way"
    assert lines[waiting + 3] == "  ml/late  1 gpu  60s  is to be looked at"
    # Of at most 4 one is half borrowed: 20 columns, 10 of its own 2, 5 of the one beyond, 5 free.
    assert "  ElasticQuota ml/q  gpu ██████████▒▒▒▒▒····· 3 of 2, at most 4, 1 borrowed" in lines


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (60, 12), (40, 8), (20, 5)])
def test_it_fits_the_window(width: int, height: int) -> None:
    lines = drawn(width=width, height=height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 20)


def test_sorted_and_filtered() -> None:
    def names(choice: Choice) -> list[str]:
        return [node.name for node in choice.nodes(shown())]

    assert names(Choice()) == ["gpu-9", "gpu-10"]
    assert names(Choice(sort="used")) == ["gpu-9", "gpu-10"]  # 1000 and 500 of it
    assert names(Choice(sort="free")) == ["gpu-10", "gpu-9"]  # 1500 and 0
    assert names(Choice(node="*-10")) == ["gpu-10"]
    web = Choice(namespace="web")
    assert (names(web), [pod.pod for pod in web.queue(shown())], web.quotas(shown())) == (["gpu-9"], ["web/b"], [])


def test_a_pipe_gets_tables() -> None:
    lines = [line.split() for line in tables(shown(), Choice())]
    assert lines[1] == ["gpu-9", "L40S", "1", "1", "0/8", "0Gi/1Gi", "1", "cordoned"]
    assert ["ElasticQuota", "ml/q", "gpu", "3", "2", "4", "1"] in lines
    assert ["ElasticQuota", "ml/q", "cpu", "500m", "-", "1", "0"] in lines


def test_what_has_gone_is_not_shown() -> None:
    snapshot = shown()
    snapshot.apply(Changes(1001.0, Totals(1, 1000, 0, 0.0), (), ("gpu-10", "cpu-0"), (), None))
    assert list(snapshot.nodes) == ["gpu-9"]
    assert snapshot.queue == ()
    assert snapshot.quotas == QUOTAS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sort", "age"], "--sort age: expected name, used, free"),
        (["-o", "yaml"], "--output yaml: expected auto, table or json"),
        (["-w", "-o", "json"], "--watch does not go with --output json"),
        (["--kubeconfig", "/nowhere"], "/nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments: list[str], said: str) -> None:
    done = nos("top", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("nos top: ")
    assert said in line


def test_an_api_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [context],
        "current-context": "c",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config | {"users": [{"name": "u", "user": {"token": "t"}}]}))
    done = nos("top", "--kubeconfig", str(path))
    assert done.returncode == 2
    assert "nos top: http://127.0.0.1:1: " in done.stderr
    assert "see whether it answers" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.cluster
def test_a_pipe_on_a_real_cluster(cluster: Cluster) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    cluster.pod("top-1", gpus=3, schedulerName="default-scheduler")
    cluster.bound("top-1")
    cluster.pod("top-2", gpus=16)
    kubeconfig = str(cluster.testbed.kubeconfig)
    done = nos("top", "--kubeconfig", kubeconfig)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0::1][:4] for line in lines if line[:1] == [node]] == [[node, "NVIDIA-H100-80GB-HBM3", "8", "3"]]
    assert [line[:3] for line in lines if line[:1] == ["default/top-2"]] == [["default/top-2", "16", "gpu,"]]
    found = json.loads(nos("top", "--kubeconfig", kubeconfig, "-o", "json").stdout)
    assert found["totals"] | {"fragmentation": 0} == {"gpus": 8, "used": 3000, "waiting": 1, "fragmentation": 0}


@pytest.mark.cluster
def test_a_terminal_sees_it_change_and_is_given_back(cluster: Cluster) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    command = [sys.executable, "-c", "from nos.cli import main; main()", "top", "--watch"]
    with on_terminal([*command, "--kubeconfig", str(cluster.testbed.kubeconfig)]) as (read, leader, process):
        read(f"{node}".encode())
        read(b" of 8 GPUs")
        cluster.pod("top-3", gpus=2, schedulerName="default-scheduler")
        read(b"25 %")
        os.write(leader, b"\x03")
        seen = read(b"\x1b[?1049l")
        assert process.wait(30) == 130
    assert b"Traceback" not in seen
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")


class on_terminal:  # noqa: N801
    """A program on a terminal of its own: what reads until something was seen, the terminal, and the process."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._seen = b""

    def __enter__(self) -> tuple[Callable[[bytes], bytes], int, subprocess.Popen[bytes]]:
        self._leader, terminal = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        self._process = subprocess.Popen(
            self._command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            preexec_fn=lambda: os.login_tty(0),  # so that ^C becomes a signal
        )
        os.close(terminal)
        os.set_blocking(self._leader, False)
        return self._read, self._leader, self._process

    def _read(self, what: bytes) -> bytes:
        deadline = time.monotonic() + 30
        while what not in self._seen:
            assert time.monotonic() < deadline, (what, self._seen[-2000:])
            try:
                self._seen += os.read(self._leader, 65536)
            except BlockingIOError:
                time.sleep(0.02)
        return self._seen

    def __exit__(self, *_: object) -> None:
        os.close(self._leader)  # which hangs up, whatever went wrong
        self._process.wait(30)
