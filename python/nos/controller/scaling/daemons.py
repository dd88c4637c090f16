"""What the DaemonSets will take of a new node: no Pod that it is ordered for can have that."""

import asyncio
import logging
from typing import NamedTuple

from msgspec import DecodeError
from msgspec.structs import replace

from nos import _core
from nos.kube.client import Client
from nos.kube.daemonset import DAEMON_SETS, decode_daemons
from nos.kube.decode import node_spec, requests_of, template, waiting_spec
from nos.kube.errors import ApiError, Unreachable
from nos.kube.node import Node
from nos.kube.quantity import NANO, nano

_FRESH_S = 60.0
_PAGE = "500"

_log = logging.getLogger(__name__)


class _Daemon(NamedTuple):
    spec: _core.PodSpec
    requests: dict[str, int]  # in nano-units


class Daemons:
    """The DaemonSets as they were when `look` last read them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: list[_Daemon] = []
        self._read: float | None = None  # when, by the loop's time

    async def look(self) -> None:
        """Read them, if that is a while ago. What cannot be read is as it was."""
        now = asyncio.get_running_loop().time()
        if self._read is not None and now - self._read < _FRESH_S:
            return
        self._read = now
        found, token = [], ""
        try:
            while True:
                params = {"limit": _PAGE} | ({"continue": token} if token else {})
                pods, token = decode_daemons(await self._client.request("GET", DAEMON_SETS, params=params))
                found += [_Daemon(waiting_spec(pod), requests_of(template(pod))) for pod in pods]
                if not token:
                    break
        except (ApiError, Unreachable, DecodeError) as error:
            _log.warning("what DaemonSets take of new nodes is not known: %s", error)
        else:
            self._known = found

    def leave(self, node: Node) -> Node:
        """The template of a node without what they take there."""
        cluster = _core.Cluster()
        cluster.upsert_node("new", node_spec(node))
        taken: dict[str, int] = {}
        for daemon in self._known:
            if _core.Scheduler(cluster).feasible(daemon.spec):
                for resource, amount in daemon.requests.items():
                    taken[resource] = taken.get(resource, 0) + amount
                taken["pods"] = taken.get("pods", 0) + NANO
        if not taken:
            return node
        allocatable = {
            resource: f"{max(0, nano(text) - taken[resource])}n" if taken.get(resource) else text
            for resource, text in node.status.allocatable.items()
        }
        return replace(node, status=replace(node.status, allocatable=allocatable))
