"""The front of an agent: processes as their containers run them, the agent on a socket that is a file."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from nos.agent import front
from nos.observe import health
from tests.controller.cluster import eventually as soon
from tests.prometheus import promtool

from .conftest import Machine
from .fake_kubelet import eventually
from .node import Node, write_kubeconfig

_MAIN = "from nos.cli import main; main()"
# What it needs is read before, for the tests' own Python may be in root's home.
_AS_NOBODY = """
import os, sys
from nos.agent import front
from nos.observe import log
log.configure("text", verbose=False)
os.setgroups([]), os.setgid(65532), os.setuid(65532)
sys.exit(front.main(front.Settings(sys.argv[1], "127.0.0.1:0")))
"""


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def fronting(socket: Path, log: Path) -> Iterator[str]:
    """`nos front` as a user that may nothing, where the tests may start one; its URL."""
    agent = f"unix:{socket}"
    argv = ["-c", _MAIN, "front", "--agent", agent, "--health-address", "127.0.0.1:0"]
    if os.geteuid() == 0:
        argv = ["-c", _AS_NOBODY, agent]
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, *argv], stdout=file, stderr=file)
    try:
        soon(lambda: "health on " in log.read_text() or process.poll() is not None, why="the front is up")
        yield f"http://{log.read_text().partition('health on ')[2].split()[0]}"
        process.terminate()
        assert process.wait(20) == 0
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def test_what_the_agent_says_is_heard_and_the_agent_listens_to_no_network(folder: Path, machine: Machine) -> None:
    """It has no TCP socket that listens; what it is asked comes by the file."""
    sim = machine("a30-24gb")
    folder.chmod(0o755)
    socket, log = folder / "agent.sock", folder / "front.log"

    async def ready(url: str) -> None:
        async with asyncio.timeout(30):
            while await asyncio.to_thread(get, f"{url}/agent/readyz") != (200, "ok\n"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def scene(node: Node) -> None:
        with fronting(socket, log) as url:
            assert await asyncio.to_thread(get, f"{url}/livez") == (200, "ok\n")  # the front's own
            refusal = (503, "the agent does not answer; the log of its front has why\n")
            for path in ("/agent/livez", "/agent/readyz", "/metrics"):
                assert await asyncio.to_thread(get, url + path) == refusal
            await node.start(sim.environment, ["--health-address", f"unix:{socket}"])
            await eventually(lambda: "health on unix:" in node.said(), "it is up", 30)
            assert stat.S_ISSOCK(socket.stat().st_mode)
            assert node.process
            assert listeners(node.process.pid) == []
            await ready(url)
            assert await asyncio.to_thread(get, f"{url}/agent/livez") == (200, "ok\n")
            status, text = await asyncio.to_thread(get, f"{url}/metrics")
            assert (status, "nos_agent_gpu_info" in text) == (200, True)
            assert await asyncio.to_thread(promtool, "check", "metrics", text=text) == ""
            assert await node.stop() == 0
            assert (await asyncio.to_thread(get, f"{url}/agent/livez"))[0] == 503
            await node.start(sim.environment, ["--health-address", f"unix:{socket}"])  # over what is left of the other
            await ready(url)
            assert await node.stop() == 0

    async def all_of_it() -> None:
        async with Node(folder, "node", write_kubeconfig(folder / "kubeconfig", "http://127.0.0.1:1")) as node:
            await scene(node)

    asyncio.run(asyncio.wait_for(all_of_it(), 120))


def listeners(pid: int) -> list[str]:
    """The TCP addresses at which a process listens, as the kernel writes them."""
    own = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            own.add(os.readlink(file))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                found.append(fields[1])
    return found


def test_what_is_asked_of_the_front_does_not_reach_the_agent(folder: Path) -> None:
    """Neither headers, nor bodies, nor paths: the agent hears the same three requests from whoever asks."""

    async def play() -> None:
        heard: list[tuple[str, dict[str, str]]] = []

        async def hear(request: web.Request) -> web.Response:
            heard.append((request.path_qs, dict(request.headers)))
            return web.Response(text="ok\n")

        application = web.Application()
        application.router.add_get("/{path:.*}", hear)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.UnixSite(runner, str(folder / "agent.sock")).start()
        settings = front.Settings(f"unix:{folder / 'agent.sock'}", "127.0.0.1:0")
        async with front.serving(settings) as (address, _):
            evil = urllib.request.Request(
                f"http://{address}/agent/livez?a=b",
                data=b"x" * 1000,
                headers={"X-Evil": "1", "Cookie": "c"},
                method="GET",
            )
            with await asyncio.to_thread(urllib.request.urlopen, evil) as answer:
                assert answer.status == 200
            for path in ("/agent/../etc/passwd", "/agent", "/agent/metrics", "/readyz", "/agent/livez/x"):
                assert (await asyncio.to_thread(get, f"http://{address}{path}"))[0] == 404, path
        await runner.cleanup()
        assert [path for path, _ in heard] == ["/livez"]
        assert {"X-Evil", "Cookie", "Content-Length"}.isdisjoint(heard[0][1])

    asyncio.run(play())


def test_an_agent_that_hangs_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_PATIENCE_S", 0.2)

    async def play() -> None:
        hanging = asyncio.Event()

        async def scrape(_: str) -> tuple[bytes, str]:
            await hanging.wait()
            return b"", "text/plain"

        agent = f"unix:{folder / 'agent.sock'}"
        async with (
            health.serve(agent, lambda: "", scrape),
            front.serving(front.Settings(agent, "127.0.0.1:0")) as (address, _),
        ):
            assert (await asyncio.to_thread(get, f"http://{address}/metrics"))[0] == 503
            # Who does not hang has no more than the 0.2 s either, which a busy machine may take.
            await asyncio.to_thread(soon, lambda: get(f"http://{address}/agent/readyz")[0] == 200)
            hanging.set()

    asyncio.run(play())


def test_bad_input_is_answered_in_one_line() -> None:
    def refusal(*arguments: str) -> str:
        argv = [sys.executable, "-c", _MAIN, "front", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        return done.stderr

    assert "--log-format xml: choose text or json" in refusal("--log-format=xml")
    assert "--cert-file and --key-file: name both or none" in refusal("--cert-file=a")
    assert "--agent 127.0.0.1:1: name a socket" in refusal("--agent=127.0.0.1:1")
    assert "choose another with --health-address" in refusal("--health-address=127.0.0.1:99999")
