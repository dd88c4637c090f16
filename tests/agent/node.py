"""One node of a test: its GPUs, its kubelet, and its agent, here or as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nos.agent.driver import Driver, Gpu, Instance, Place, Xid
from nos.agent.journal import Journal
from nos.agent.run import Agent, Settings, serving
from nos.kube.access import Access
from nos.kube.client import Client

from .fake_kubelet import FakeKubelet

_MAIN = "from nos.cli import main; main()"


class Share:
    """A driver that shows some of the GPUs of another."""

    def __init__(self, driver: Driver, first: int, count: int) -> None:
        self._driver, self._first, self._count = driver, first, count
        self._never = threading.Event()

    def indices(self) -> range:
        return range(self._count)

    def read(self, index: int) -> Gpu:
        gpu = self._driver.read(self._first + index)
        return Gpu(**{name: getattr(gpu, name) for name in gpu.__dataclass_fields__} | {"index": index})

    def set_mig(self, index: int, on: bool) -> None:
        self._driver.set_mig(self._first + index, on)

    def create(self, index: int, place: Place) -> Instance:
        return self._driver.create(self._first + index, place)

    def destroy(self, index: int, instance: Instance) -> None:
        self._driver.destroy(self._first + index, instance)

    def wait_xid(self, milliseconds: int) -> Xid | None:
        self._never.wait(milliseconds / 1000)
        return None


def write_kubeconfig(path: Path, server: str) -> Path:
    """Of an API server that nobody needs to prove anything to."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(config))
    return path


class Node:
    """A node's directories and its kubelet; an asynchronous context manager."""

    def __init__(self, folder: Path, name: str, kubeconfig: Path) -> None:
        self.name = name
        self.settings = Settings(name, folder / name, folder / name / "state", kubeconfig=str(kubeconfig))
        (folder / name / "device-plugins").mkdir(parents=True)
        (folder / name / "pod-resources").mkdir()
        self.kubelet = FakeKubelet(
            self.settings.kubelet / "device-plugins", self.settings.kubelet / "pod-resources" / "kubelet.sock"
        )
        self.log = folder / name / "log"
        self.process: asyncio.subprocess.Process | None = None
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self.kubelet)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process and self.process.returncode is None:
                await self.stop()
        finally:
            await self._open.aclose()
            if kind is not None and self.log.exists():
                print(self.log.read_text())

    async def start_here(self, driver: Driver) -> Agent:
        """The agent in this process, until the node goes."""
        client = await self._open.enter_async_context(Client(Access.load(self.settings.kubeconfig)))
        agent = await self._open.enter_async_context(
            serving(self.settings, client, driver, Journal(self.settings.state))
        )
        life = asyncio.create_task(agent.run())

        async def end() -> None:
            assert not life.done(), life.exception()
            life.cancel()
            await asyncio.wait({life})

        self._open.push_async_callback(end)
        return agent

    async def start(self, environment: Mapping[str, str], more: Iterable[str] = ()) -> None:
        """The agent as a process."""
        settings = self.settings
        argv = ["--node", self.name, "--kubelet", str(settings.kubelet), "--state", str(settings.state)]
        argv += ["--kubeconfig", str(settings.kubeconfig), "--health-address", "127.0.0.1:0", *more]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _MAIN, "agent", *argv, env=os.environ | dict(environment), stdout=log, stderr=log
            )

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code; it left nothing on its standard error that is no log."""
        assert self.process
        self.process.send_signal(number)
        try:
            code = await asyncio.wait_for(self.process.wait(), 20)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise
        assert "Traceback" not in self.said(), self.said()
        return code

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text()


def node_object(name: str) -> dict[str, Any]:
    """As a kubelet makes it."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
