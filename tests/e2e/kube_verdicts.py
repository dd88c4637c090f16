"""kube-scheduler's own verdict on a Pod: every node that it would use, from one of its cycles.

A scheduler extender makes it tell. After all its own filters kube-scheduler posts the Pod and the names of the nodes
that passed to its extender; this one writes the names down and answers that none will do. So the Pod is never bound,
the cluster stays as it is, and one cycle per Pod gives the whole set. With fewer than 100 nodes, and with
`percentageOfNodesToScore: 100` anyway, kube-scheduler filters every node. Where its own filters leave none it does not
ask, and says Unschedulable.

kube-scheduler is started when a world is complete: it lists everything before its first cycle, so there is nothing that
it could learn too late, and nothing to wait for.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nos.testbed import Testbed
from nos.testbed.api import in_parallel

Object = dict[str, Any]
SCHEDULER = "same-verdicts"  # the profile; Pods of the default scheduler are left alone meanwhile
LET_PASS = {"same-verdicts": "bind"}  # label of Pods that the extender lets through, to be bound for real
NODE_PREFIX = "sv-"
_NAMESPACE = "same-verdicts"
_PODS = f"/api/v1/namespaces/{_NAMESPACE}/pods"
_AT_ONCE = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
_RUNTIME_CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"
RUNTIME_CLASSES: Sequence[Object] = (
    {"metadata": {"name": "sv-heavy"}, "overhead": {"podFixed": {"cpu": "500m", "memory": "2"}}},
    {
        "metadata": {"name": "sv-elsewhere"},
        "scheduling": {"nodeSelector": {"zone": "b"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]},
    },
)


@dataclass(frozen=True)
class Resident:
    """A Pod that is on a node already. status: what the kubelet wrote, before the Pod was bound or afterwards."""

    pod: Object
    node: str
    phase: str = ""
    status: Object = field(default_factory=dict)
    terminating: bool = False


@dataclass(frozen=True)
class World:
    """What is there before anybody asks."""

    nodes: Sequence[Object]
    residents: Sequence[Resident]


@dataclass
class Verdicts:
    """Everything as the API server has it, and for each Pod that was asked about the nodes that passed, by name."""

    nodes: list[Object]
    pods: list[Object]
    passed: dict[str, set[str]]
    refused: dict[str, str]  # Pods, probes and residents, that the API server did not take, and why


class _InvalidError(Exception):
    """The API server takes no such object, and says why."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """kube-scheduler is stopped amid a retry; of errors before that it tells itself: reason SchedulerError."""


class _Extender:
    """The loopback server that kube-scheduler asks."""

    def __init__(self) -> None:
        self.heard: dict[str, list[set[str]]] = {}  # by Pod name, once per cycle
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                metadata, names = asked["Pod"]["metadata"], asked["NodeNames"]
                heard.setdefault(metadata["name"], []).append(set(names))
                let_pass = LET_PASS.items() <= metadata.get("labels", {}).items()
                answer = (
                    {"NodeNames": names} if let_pass else {"NodeNames": [], "FailedNodes": dict.fromkeys(names, "")}
                )
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL."""
        thread = threading.Thread(target=self.server.serve_forever, name="extender")
        thread.start()
        try:
            yield f"http://127.0.0.1:{self.server.server_port}"
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


class KubeScheduler:
    """The testbed's kube-scheduler with our extender. A context manager; afterwards the testbed is as it was."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._api = testbed.api

    def __enter__(self) -> KubeScheduler:
        self._testbed.stop_scheduler()
        self._api.create("/api/v1/namespaces", {"metadata": {"name": _NAMESPACE}})
        # Admission looks the service account up in a cache of its own, which may learn of it after everybody else.
        trial = {"metadata": {"name": "trial"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        _until(lambda: self._api.request("POST", f"{_PODS}?dryRun=All", trial)[0] == 201, "the namespace takes Pods")
        for runtime_class in RUNTIME_CLASSES:
            self._api.create(_RUNTIME_CLASSES, {"handler": "runc", **runtime_class})
        return self

    def __exit__(self, *_: object) -> None:
        for runtime_class in RUNTIME_CLASSES:
            self._api.request("DELETE", f"{_RUNTIME_CLASSES}/{runtime_class['metadata']['name']}")
        self._api.request("DELETE", f"/api/v1/namespaces/{_NAMESPACE}")
        self._testbed.start_scheduler()

    @contextmanager
    def judging(self, world: World, probes: Sequence[Object]) -> Iterator[tuple[Verdicts, Callable[..., Object]]]:
        """What kube-scheduler says of each of the probes, alone in this world; and `bind`, see there."""
        extender = _Extender()
        try:
            in_parallel(lambda node: self._api.create("/api/v1/nodes", node), world.nodes, lambda _: None)
            refused: dict[str, str] = {}
            residents = [(f"resident-{number}", resident) for number, resident in enumerate(world.residents)]
            in_parallel(lambda one: self._settle(*one, refused), residents, lambda _: None)
            refused |= self._ask(probes)
            with extender.serving() as url:
                self._testbed.start_scheduler(_configuration(url))
                try:
                    asked = {probe["metadata"]["name"] for probe in probes} - refused.keys()
                    conditions = self._decided(asked)
                    nodes = self._api.get("/api/v1/nodes")["items"]
                    passed = {}
                    for name, condition in conditions.items():
                        assert condition["status"] == "False", (name, condition)
                        assert condition["reason"] == "Unschedulable", (name, condition)
                        # It knew all nodes, and gave each of its cycles the same answer.
                        assert condition["message"].startswith(f"0/{len(nodes)} nodes are available"), condition
                        heard = extender.heard.get(name, [set()])
                        assert all(names == heard[0] for names in heard), (name, heard)
                        passed[name] = heard[0]
                    yield Verdicts(nodes, self._api.get("/api/v1/pods")["items"], passed, refused), self._bind
                finally:
                    self._testbed.stop_scheduler()
        finally:
            self._clear(world)

    def _settle(self, name: str, resident: Resident, refused: dict[str, str]) -> None:
        """Puts a resident where it is. Its status is there before it has a node: a node's Pods come in whole."""
        path = f"{_PODS}/{name}"
        # Tolerates all, or the controller manager would evict it from nodes with a NoExecute taint.
        spec = {**resident.pod["spec"], "schedulerName": "nobody", "tolerations": [{"operator": "Exists"}]}
        try:
            pod = self._write("POST", _PODS, {"metadata": {"name": name}, "spec": spec})
            if resident.status:
                self._write("PUT", f"{path}/status", {**pod, "status": pod["status"] | resident.status})
        except _InvalidError as error:
            refused[name] = str(error)
            self._api.request("DELETE", path, _AT_ONCE)
            return
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": resident.node}}
        self._write("POST", f"{path}/binding", binding)
        if resident.phase:
            pod = self._api.get(path)
            self._write("PUT", f"{path}/status", {**pod, "status": pod["status"] | {"phase": resident.phase}})
        if resident.terminating:
            # A DELETE looks at the Pod in the API server's cache first. If that has it without a node still, the grace
            # period is lost and the Pod gone at once: wait until the cache has caught up (resourceVersion: not older).
            version = self._api.get(path)["metadata"]["resourceVersion"]
            self._api.get(f"{path}?resourceVersion={version}")
            self._write("DELETE", path, {**_AT_ONCE, "gracePeriodSeconds": 600})

    def _write(self, method: str, path: str, body: Object) -> Object:
        status, answer = self._api.request(method, path, body)
        if status in (403, 422):
            raise _InvalidError(json.loads(answer)["message"])
        assert status in (200, 201), (method, path, status, answer)
        written: Object = json.loads(answer)
        return written

    def _ask(self, probes: Sequence[Object]) -> dict[str, str]:
        """Creates the probes; which of them the API server refuses, and why."""
        refused: dict[str, str] = {}

        def create(probe: Object) -> None:
            body = {**probe, "spec": {**probe["spec"], "schedulerName": SCHEDULER}}
            try:
                self._write("POST", _PODS, body)
            except _InvalidError as error:
                refused[probe["metadata"]["name"]] = str(error)

        in_parallel(create, probes, lambda _: None)
        return refused

    def _decided(self, names: set[str]) -> dict[str, Object]:
        """The PodScheduled conditions of these Pods, when all have one."""
        found: dict[str, Object] = {}

        def all_found() -> bool:
            for pod in self._api.get(_PODS)["items"]:
                for condition in pod["status"].get("conditions", []):
                    if condition["type"] == "PodScheduled" and pod["metadata"]["name"] in names:
                        found[pod["metadata"]["name"]] = condition
            return found.keys() == names

        _until(all_found, f"kube-scheduler decided on {len(names)} Pods")
        return found

    def _bind(self, copies: Sequence[Object]) -> dict[str, bool]:
        """Whether each of these Pods is really bound. Each must be for another node: bound ones take room."""
        labelled = [{**copy, "metadata": {**copy["metadata"], "labels": LET_PASS}} for copy in copies]
        assert not self._ask(labelled)
        conditions = self._decided({copy["metadata"]["name"] for copy in copies})
        return {name: condition["status"] == "True" for name, condition in conditions.items()}

    def _clear(self, world: World) -> None:
        self._api.request("DELETE", _PODS, _AT_ONCE)
        paths = [f"/api/v1/nodes/{node['metadata']['name']}" for node in world.nodes]
        in_parallel(lambda path: self._api.request("DELETE", path), paths, lambda _: None)
        _until(lambda: not self._api.get(_PODS)["items"], "the Pods of the test are gone")


def _configuration(url: str) -> str:
    extender = {"urlPrefix": url, "filterVerb": "filter", "nodeCacheCapable": True, "httpTimeout": "60s"}
    configuration = {
        "percentageOfNodesToScore": 100,
        "clientConnection": {"qps": 5000, "burst": 10000},
        "profiles": [{"schedulerName": SCHEDULER}],
        "extenders": [extender],
    }
    return json.dumps(configuration)


def _until(condition: Callable[[], object], what: str, timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(0.05)
