"""Races lost at the kubelet: seen, counted, told, and the room read again.

Arrives: Pods that left their node before they ran. Ended Pods are not selected by the watch, so a Pod that its kubelet
does not admit comes as `deleted`, in the state before; a read tells whether it failed, and why. Leaves: a metric by
reason, an event on a Pod of ours, and what the node says of itself now: that it had less than we knew is likely.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from msgspec import DecodeError

from nos.controller.ledger import Ledger
from nos.kube.client import Client
from nos.kube.encode import pod_path
from nos.kube.errors import ApiError, Unreachable
from nos.kube.node import NODES, decode_node
from nos.kube.pod import Pod, decode_pod
from nos.kube.rejection import rejection

_log = logging.getLogger(__name__)
_MOST = 1000  # that wait to be looked at; of a namespace that is emptied by force, say, none is a rejection


class Rejections:
    """`left_unrun` takes note, `run` reads."""

    def __init__(self, client: Client, ledger: Ledger, *, on_rejected: Callable[[Pod, str], None]) -> None:
        self.reasons: Counter[str] = Counter()
        self._client = client
        self._ledger = ledger
        self._on_rejected = on_rejected
        self._suspects: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue(_MOST)

    def left_unrun(self, pod: Pod) -> None:
        """This Pod left its node before it ran."""
        if not self._suspects.full():
            self._suspects.put_nowait((pod.metadata.namespace, pod.metadata.name, pod.metadata.uid))

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            namespace, name, uid = await self._suspects.get()
            try:
                pod = decode_pod(await self._client.request("GET", pod_path(namespace, name)))
                if pod.metadata.uid == uid and (reason := rejection(pod)):
                    await self._rejected(pod, reason)
            except ApiError as error:
                if error.status != 404:
                    _log.warning("why Pod %s/%s left its node is not known: %s", namespace, name, error)
            except (Unreachable, DecodeError) as error:
                _log.warning("why Pod %s/%s left its node is not known: %s", namespace, name, error)

    async def _rejected(self, pod: Pod, reason: str) -> None:
        node = pod.spec.node_name
        self.reasons[reason] += 1
        _log.warning(
            "the kubelet of %s did not admit Pod %s/%s: %s: %s",
            node,
            pod.metadata.namespace,
            pod.metadata.name,
            pod.status.reason,
            pod.status.message,
        )
        if self._ledger.pods.is_for_us(pod):
            self._on_rejected(pod, f"Node {node} did not admit this Pod: {pod.status.message or reason}")
        await self._read_again(node)

    async def _read_again(self, node: str) -> None:
        try:
            self._ledger.nodes.changed(decode_node(await self._client.request("GET", f"{NODES}/{node}")))
        except (ApiError, Unreachable, DecodeError) as error:  # what there is to know the watch will say
            _log.info("node %s was not read again: %s", node, error)
