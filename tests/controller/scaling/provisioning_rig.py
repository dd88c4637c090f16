"""A stage that answers ProvisioningRequests, on a ledger and a server in memory, with the verbs of its tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from nos import _core
from nos.autoscaler.backend import State as InstanceState
from nos.controller.scaling.settings import ProvisioningRequestSettings, Scaling
from nos.controller.scaling.stage import Stage
from nos.controller.store import Store
from nos.kube.client import Client
from nos.kube.errors import ApiError
from nos.kube.node import decode_node
from nos.kube.provisioning_request import ProvisioningRequest, decode_provisioning_request
from tests.controller.in_loop import settled
from tests.controller.scaling.pool import Pool, template
from tests.controller.test_ledger import node, pod, synced

CHECK, ATOMIC = "check-capacity.nos.nebuly.com", "atomic.nos.nebuly.com"
CONSUMES = "autoscaling.x-k8s.io/consume-provisioning-request"
Object = dict[str, Any]


def at(seconds_ago: float = 0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Server(Client):
    """An API server with PodTemplates, PriorityClasses and ProvisioningRequests, and no DaemonSets."""

    def __init__(self) -> None:
        self.templates: dict[str, Object] = {}
        self.requests: dict[str, Object] = {}
        self.priorities = {"high": 100}
        self.writes: list[Object] = []
        self.fails: Exception | None = None

    async def request(self, method: str, path: str, *, body: bytes | None = None, **_: Any) -> bytes:
        await settled()
        if self.fails:
            raise self.fails
        if path.endswith("/priorityclasses"):
            items = [{"metadata": {"name": name}, "value": value} for name, value in self.priorities.items()]
            return json.dumps({"items": items}).encode()
        *_, kind, name = path.removesuffix("/status").split("/")
        if kind == "podtemplates":
            return json.dumps(self._found(self.templates, name)).encode()
        if kind == "provisioningrequests" and method == "PATCH":
            assert body
            found, patch = self._found(self.requests, name), json.loads(body)
            if patch["metadata"] != {key: found["metadata"][key] for key in ("uid", "resourceVersion")}:
                raise ApiError(409, "Conflict", "it has changed")
            assert all(c["lastTransitionTime"] and c["reason"] for c in patch["status"]["conditions"])
            found["status"] |= patch["status"]
            found["metadata"]["resourceVersion"] += "1"
            self.writes.append(patch)
            return json.dumps(found).encode()
        return b'{"metadata":{},"items":[]}'

    @staticmethod
    def _found(items: dict[str, Object], name: str) -> Object:
        if name not in items:
            raise ApiError(404, "NotFound", f"{name} not found")
        return items[name]


class Rig:
    """A stage with one pool of nodes of eight GPUs, a ledger, and a server."""

    def __init__(self, mode: str = "none", nodes: int = 0) -> None:
        self.server, self.pool = Server(), Pool()
        self.pool.group("a")
        self.settings = Scaling(mode=mode, provisioning_requests=ProvisioningRequestSettings(booking_seconds=600))
        self.ledger = synced(*(node(f"n{i}") for i in range(nodes)))
        self.there = nodes
        self.more: list[Store[ProvisioningRequest]] = []  # of others who watch
        self.pods: dict[str, Object] = {}  # what each says of itself
        self.start()

    def start(self) -> None:
        """A controller's stage, which remembers nothing. The ledger is that of the test."""
        self.stage = Stage(
            self.server,
            self.ledger,
            self.settings,
            [self.pool],
            score="nos",
            may_write=lambda: True,
            evict=lambda *_: None,
            on_change=lambda _: None,
            on_ordered=lambda *_: None,
            on_failed=lambda *_: None,
        )
        self.scheduler = _core.Scheduler(self.ledger.cluster)
        assert self.stage._answerer
        self.answerer = self.stage._answerer

    async def restart(self) -> None:
        """Another controller, which finds what is in the cluster."""
        was = self.ledger
        self.ledger = synced(*(node(name) for name in sorted(n.name for n in was.cluster.nodes() if n.present)))
        self.start()
        for name, body in self.pods.items():
            self.ledger.pods.changed(pod(name, **body))
        self.answerer.store.restart()
        self.echo()
        self.answerer.store.synced()
        await self.answerer.restore()

    # What users do.

    def ask(self, name: str = "r", *sets: tuple[int, int], kind: str = CHECK, **more: Any) -> None:
        """Ask for room: pod sets of so many Pods with so many GPUs."""
        pod_sets = []
        for number, (count, gpus) in enumerate(sets or [(1, 1)]):
            self.template(f"{name}-{number}", gpus)
            pod_sets.append({"count": count, "podTemplateRef": {"name": f"{name}-{number}"}})
        spec = {"provisioningClassName": kind, "podSets": pod_sets} | more
        metadata = {"name": name, "namespace": "ml", "uid": f"uid-{name}", "resourceVersion": "1"}
        created = {"creationTimestamp": at()}
        self.server.requests[name] = {"metadata": metadata | created, "spec": spec, "status": {}}
        self.echo()

    def template(self, name: str, gpus: int, *, annotations: Object | None = None, **spec: Any) -> None:
        containers = [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": str(gpus)}}}]
        whole = {"schedulerName": "nos-scheduler", "containers": containers} | spec
        self.server.templates[name] = {"template": {"metadata": {"annotations": annotations or {}}, "spec": whole}}

    def echo(self) -> None:
        """What the watch brings."""
        for body in self.server.requests.values():
            for store in (self.answerer.store, *self.more):
                store.changed(decode_provisioning_request(json.dumps(body).encode()))

    def withdraw(self, name: str) -> None:
        body = self.server.requests.pop(name)
        self.answerer.store.deleted(decode_provisioning_request(json.dumps(body).encode()))

    def come(self, name: str, gpus: int = 1, *, of: str = "", **metadata: Any) -> None:
        annotations = {CONSUMES: of} if of else {}
        body = {"gpus": gpus, "annotations": annotations | metadata.pop("annotations", {})} | metadata
        self.pods[name] = body
        self.ledger.pods.changed(pod(name, **body))

    def later(self, name: str, seconds: float) -> None:
        """So much time has gone by for a request."""
        body = self.server.requests[name]
        body["metadata"]["creationTimestamp"] = at(seconds)
        for condition in body["status"].get("conditions", []):
            condition["lastTransitionTime"] = at(seconds)
        self.answerer._pauses.clear()
        self.echo()

    # What the controller does.

    def cycle(self) -> set[str]:
        """As nos.controller.loop does it, with Bindings that all succeed; the names of Pods that were bound."""
        self.stage.hand_over()
        with self.ledger.scheduling():
            outcome = self.scheduler.schedule()
            decided = [(w, bind) for bind in outcome.binds if (w := self.ledger.decided(bind.uid))]
        assert not outcome.evictions
        for waiting, bind in decided:
            if not waiting.request:
                self.pods[waiting.name] |= {"on": bind.node}
                self.ledger.pods.changed(pod(waiting.name, **self.pods[waiting.name]))
        self.stage.waiting(outcome.waiting)
        self.ledger.cluster.check()
        return {waiting.name for waiting, _ in decided if not waiting.request}

    async def turn(self) -> set[str]:
        """Answer, a cycle, and answer."""
        await self.answerer.turn()
        bound = self.cycle()
        if self.stage.is_on:
            await self.stage.up.turn()
        self.answerer._bookings.look()
        await self.answerer.turn()
        await self.answerer.turn()
        return bound

    # What is there to be seen.

    def says(self, name: str = "r") -> dict[str, tuple[str, str]]:
        conditions = self.server.requests[name]["status"].get("conditions", [])
        return {c["type"]: (c["status"], c["reason"]) for c in conditions}

    def message(self, kind: str, name: str = "r") -> str:
        conditions = self.server.requests[name]["status"].get("conditions", [])
        return str(next(c["message"] for c in conditions if c["type"] == kind))

    def is_booked(self, name: str = "r") -> bool:
        says = self.says(name)
        return says.get("Provisioned", ("", ""))[0] == "True" and not says.keys() & {
            "BookingExpired",
            "CapacityRevoked",
        }

    def comes_up(self, id_: str) -> None:
        """An instance has become a node."""
        name = f"n{self.there}"
        self.there += 1
        self.pool.set(id_, state=InstanceState.UP, node=name)
        labels, allocatable = {"pool": "gpu", "zone": "z"}, template().status.allocatable
        body = {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": allocatable}}
        self.ledger.nodes.changed(decode_node(json.dumps(body).encode()))


def used(rig: Rig) -> int:
    """GPUs that are taken or booked."""
    return rig.ledger.cluster.gpu_used_milli // 1000
