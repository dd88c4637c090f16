"""The demo from beginning to end: control plane, controller, nodes, Pods, summary, and all of it gone again.

Whatever happens on the way, Ctrl-C included, leaves nothing: every process is a child of the testbed's supervisor, the
controller too, and the event loop of this process cancels what it was doing. With `keep` the testbed is let go at the
very end, and `nos testbed down` stops it, with the controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.json import encode
from rich.console import Console
from rich.live import Live

from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.errors import ApiError, Unreachable
from nos.kube.node import Node, decode_node
from nos.kube.pod import Pod, decode_pod
from nos.kube.watch import Watch
from nos.testbed import Testbed, binaries, nodes, state
from nos.testbed.credentials import service_account
from nos.testbed.progress import Progress

from . import summary, svg
from .board import Board, Nodes, Pods, percentile
from .errors import DemoError
from .picture import Style
from .view import View, milliseconds
from .workload import NAMESPACE, SAMPLE, Arrival, arrivals, manifest

_RBAC = Path(__file__).with_name("rbac.yaml")  # a link to what users install
_USER, _GROUPS = service_account("nebuly-nos", "nos-scheduler")
_CONTROLLER = "nos-controller"
_DASHBOARD = "dashboard on "  # and its URL, in the log
_IN_FLIGHT = 16
_FRAMES_PER_SECOND = 8
_LINE_EVERY_S = 2.0
_SETTLE_S = 30.0


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    shapes: Mapping[str, int]
    pods: int | None
    seconds: float
    seed: int
    keep: Path | None  # the directory of a testbed that stays
    picture: Path | None


def main(options: Options) -> None:
    """Run it. Raises KeyboardInterrupt after Ctrl-C, when all is gone; DemoError or TestbedError when it fails."""
    try:
        asyncio.run(_Demo(options).run())
    except (ApiError, Unreachable) as error:
        raise DemoError(f"the API server of the demo fails: {error}") from None


class _Demo:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._out = Console()
        self._live = self._out.is_terminal and not self._out.is_dumb_terminal
        utf8 = self._out.encoding.startswith("utf")
        self._style = Style(colour=self._live and self._out.color_system is not None, unicode=utf8)
        self._progress = Progress()
        self._dashboard = ""
        self._plan = arrivals(options.shapes, options.pods, options.seed)
        self._made = [
            nodes.make_node(shape, number) for shape, count in options.shapes.items() for number in range(count)
        ]
        self._board = Board(
            {n["metadata"]["name"]: int(n["status"]["capacity"].get("nvidia.com/gpu", 0)) for n in self._made}
        )

    async def run(self) -> None:
        testbed = Testbed(
            self._options.keep,
            scheduler=False,
            users={_USER: _GROUPS},
            # As clouds have it: GPU nodes are tainted, and Pods that ask for GPUs tolerate that without saying so.
            apiserver_args=["--enable-admission-plugins=ExtendedResourceToleration"],
            progress=self._progress,
        )
        async with testbed:
            await asyncio.to_thread(self._start_controller, testbed)
            async with Client(Access.load(str(testbed.kubeconfig))) as client:
                await self._play(client, testbed)
            summary.show(self._out, self._board, self._options.shapes, self._style)
            if self._options.picture:
                svg.write(self._options.picture, self._board, self._options.shapes)
            if self._options.keep:
                testbed.detach()
                self._say_how_to_go_on(self._options.keep)
                return
            with self._progress.step("stopping everything"):
                await asyncio.to_thread(testbed.stop)

    def _start_controller(self, testbed: Testbed) -> None:
        with self._progress.step("starting nos controller, under its own role"):
            testbed.kubectl("create", "namespace", "nebuly-nos")
            testbed.install_crds()
            testbed.kubectl("apply", "-f", str(_RBAC))
            kubeconfig = testbed.kubeconfig_of(_USER)
            flags = ["--kubeconfig", str(kubeconfig), "--health-address", "127.0.0.1:0"]
            flags += ["--dashboard-address", "127.0.0.1:0"]
            argv = [sys.executable, "-c", "from nos.cli import main; main()", "controller", *flags]
            testbed.start_program(_CONTROLLER, argv, ready=_controller_ready)
        log = testbed.state_dir / "logs" / f"{_CONTROLLER}.log"
        self._dashboard = log.read_text(errors="replace").partition(_DASHBOARD)[2].split()[0]
        self._progress.line(f"the dashboard: {self._dashboard}")

    async def _play(self, client: Client, testbed: Testbed) -> None:
        """Nodes join, Pods arrive, until each is bound or has a Reason."""
        board = self._board
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        with self._live_view() as live:
            beside = [
                Watch[Node](client, "/api/v1/nodes", decode_node, Nodes(board)).run(),
                Watch[Pod](client, pods, decode_pod, Pods(board)).run(),
                _look_after(testbed),
                _refresh(live) if live else self._write_lines(),
            ]
            await _with_beside(self._script(client), beside)
            if live:
                live.refresh()
                await asyncio.sleep(1.5)  # for the eye: the whole picture, before the summary takes its place

    def _live_view(self) -> contextlib.AbstractContextManager[Live | None]:
        if not self._live:
            return contextlib.nullcontext()
        view = View(self._board, len(self._plan), self._style)
        return Live(view, console=self._out, screen=True, auto_refresh=False)

    async def _script(self, client: Client) -> None:
        await self._join(client)
        await self._arrive(client)
        await self._settle()

    async def _join(self, client: Client) -> None:
        board = self._board
        board.phase = f"{len(self._made)} nodes join"
        pace = min(0.04, 4.0 / max(1, len(self._made)))
        for node in self._made:
            await client.request("POST", "/api/v1/nodes", body=encode(node))
            await asyncio.sleep(pace)
        if not await _until(lambda: len(board.nodes) == len(self._made), _SETTLE_S):
            raise DemoError("the nodes were created, and their watch does not show them; the machine may be overloaded")

    async def _arrive(self, client: Client) -> None:
        self._board.phase = "Pods arrive"
        begin = time.monotonic()
        slots = asyncio.Semaphore(_IN_FLIGHT)
        creations: list[asyncio.Task[None]] = []
        try:
            for arrival in self._plan:
                await asyncio.sleep(max(0.0, begin + arrival.at * self._options.seconds - time.monotonic()))
                await slots.acquire()
                creations.append(asyncio.create_task(self._create(client, arrival, slots)))
            await asyncio.gather(*creations)
        finally:  # on Ctrl-C none may outlive the client
            await _end(creations)

    async def _create(self, client: Client, arrival: Arrival, slots: asyncio.Semaphore) -> None:
        pod = self._board.expect(arrival.name, arrival.ask)
        try:
            body = encode(manifest(arrival.name, arrival.ask))
            await client.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", body=body)
            pod.created = time.monotonic()
        finally:
            slots.release()

    async def _settle(self) -> None:
        self._board.phase = "the last Pods are decided on"
        # Past the limit the summary shows which are not.
        await _until(lambda: all(pod.reason for pod in self._board.waiting), _SETTLE_S)
        self._board.phase = "done"

    async def _write_lines(self) -> None:
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            board = self._board
            bound = board.bound
            seconds = [pod.seconds for pod in bound]
            self._progress.line(
                f"{time.monotonic() - board.began:4.0f} s  {len(board.nodes)} nodes, {board.created} Pods created, "
                f"{len(bound)} bound, {len(board.waiting)} waiting, {board.gpus_in_use} of {board.gpus} GPUs in use, "
                f"time to bind p50 {milliseconds(percentile(seconds, 50))}, p99 {milliseconds(percentile(seconds, 99))}"
            )

    def _say_how_to_go_on(self, directory: Path) -> None:
        kubectl = binaries.ensure(["kubectl"])["kubectl"]
        down = "nos testbed down"
        if directory != state.default_directory():
            down += f" --state-dir {shlex.quote(str(directory))}"
        print(f"# The control plane and the controller keep running. See them: {self._dashboard}")
        print("# Speak to them:")
        print(f"export KUBECONFIG={shlex.quote(str(directory.absolute() / 'kubeconfig'))}")
        print(f'export PATH="$PATH:{kubectl.parent}"')
        print("kubectl apply -f - <<'EOF'")
        print(SAMPLE, end="")
        print("EOF")
        print("kubectl get pod my-pod -o wide")
        print("kubectl get pods,nodes")
        print(f"# The controller's log: {directory.absolute() / 'logs' / f'{_CONTROLLER}.log'}")
        print(f"# Stop it all: {down}", flush=True)


def _controller_ready(log: Path) -> bool:
    """Asks the controller itself, at the address that its log names."""
    _, found, rest = log.read_text(errors="replace").partition("health on ")
    address, end, _ = rest.partition("\n")
    if not found or not end:
        return False
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=5):
            return " scheduling: " in rest and _DASHBOARD in rest
    except (urllib.error.URLError, OSError):
        return False


async def _with_beside(work: Coroutine[Any, Any, None], beside: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs `work` to its end, and the others only as long; what goes wrong with any of them is raised."""
    main = asyncio.create_task(work)
    tasks = [main, *map(asyncio.create_task, beside)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _end(tasks)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _look_after(testbed: Testbed) -> None:
    """Ends the demo when a part of it ends."""
    while True:
        testbed.check()
        await asyncio.sleep(0.5)


async def _refresh(live: Live) -> None:
    while True:
        live.refresh()
        await asyncio.sleep(1 / _FRAMES_PER_SECOND)


async def _until(true: Callable[[], bool], seconds: float) -> bool:
    """Waits until the watches have made it true; False when they have not in that time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
