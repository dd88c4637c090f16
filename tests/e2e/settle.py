"""Puts a World into the API server, and takes it out again.

What controllers add of their own is waited for, so that whoever looks sees a world at rest: the controller manager
binds claims and volumes that name each other, marks the others, and makes the claims of ephemeral volumes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence

from nos.testbed.api import Api, in_parallel
from tests.e2e.world import (
    HOME,
    NAMESPACES,
    PATHS,
    PRIORITY_CLASSES,
    RUNTIME_CLASSES,
    Object,
    Resident,
    World,
    namespace_of,
    path_of,
    pods_path,
)

OTHER_SCHEDULER = "same-verdicts-other"  # whose Pods may be nominated to nodes
_AT_ONCE = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
_CLASSES = {
    "/apis/node.k8s.io/v1/runtimeclasses": [{"handler": "runc", **each} for each in RUNTIME_CLASSES],
    "/apis/scheduling.k8s.io/v1/priorityclasses": list(PRIORITY_CLASSES),
}
_MERGE = "application/merge-patch+json"
_BOUND = "pv.kubernetes.io/bind-completed"


class InvalidError(Exception):
    """The API server takes no such object, and says why."""


def until(condition: Callable[[], object], what: str, *, timeout: float = 120.0, pause: float = 0.05) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(pause)


class Settlement:
    """The namespaces of the test, and one world at a time in them."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def open(self) -> None:
        for name in NAMESPACES:
            self._api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        # Admission looks the service account up in a cache of its own, which may learn of it after everybody else.
        trial = {"metadata": {"name": "trial"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        for name in NAMESPACES:
            path = f"{pods_path(name)}?dryRun=All"
            until(lambda path=path: self._api.request("POST", path, trial)[0] == 201, f"{name} takes Pods")  # type: ignore[misc]
        for path, classes in _CLASSES.items():
            for each in classes:
                self._api.create(path, each)

    def close(self) -> None:
        for path, classes in _CLASSES.items():
            for each in classes:
                self._api.request("DELETE", f"{path}/{each['metadata']['name']}")
        for name in NAMESPACES:
            self._api.request("DELETE", f"/api/v1/namespaces/{name}")

    def enter(self, world: World) -> dict[str, str]:
        """Which of the residents the API server refuses, and why. All else must be taken."""
        for name, labels in NAMESPACES.items():
            wanted = world.namespaces.get(name, labels)
            said = {key: wanted.get(key) for key in ("team", "tier")}
            self._write("PATCH", f"/api/v1/namespaces/{name}", {"metadata": {"labels": said}}, _MERGE)
        in_parallel(lambda node: self._write("POST", "/api/v1/nodes", node), world.nodes, lambda _: None)
        for kind in PATHS:
            of_kind = [thing for thing in world.storage if thing["kind"] == kind]
            in_parallel(lambda thing: self._write("POST", path_of(thing), thing), of_kind, lambda _: None)
        refused: dict[str, str] = {}
        residents = [(f"resident-{number}", resident) for number, resident in enumerate(world.residents)]
        in_parallel(lambda one: self._settle(*one, refused), residents, lambda _: None)
        return refused

    def create(self, pods: Iterable[Object]) -> dict[str, str]:
        """Creates Pods; which of them the API server refuses, and why."""
        refused: dict[str, str] = {}

        def create(pod: Object) -> None:
            try:
                self._write("POST", pods_path(namespace_of(pod)), pod)
            except InvalidError as error:
                refused[pod["metadata"]["name"]] = str(error)

        in_parallel(create, list(pods), lambda _: None)
        return refused

    def wait_until_at_rest(self, world: World) -> None:
        if world.storage or any("ephemeral" in volume for volume in self._volumes()):
            until(lambda: not self._nudged(world), "volumes and claims are bound or known not to be")

    def pods(self) -> list[Object]:
        return [pod for name in NAMESPACES for pod in self._api.get(pods_path(name))["items"]]

    def storage(self) -> dict[str, list[Object]]:
        """Everything of each kind, whoever made it."""
        return {kind: self._api.get(path.replace("/namespaces/{}", ""))["items"] for kind, path in PATHS.items()}

    def clear(self, world: World) -> None:
        for name in NAMESPACES:
            self._api.request("DELETE", pods_path(name), _AT_ONCE)
        paths = [f"/api/v1/nodes/{node['metadata']['name']}" for node in world.nodes]
        in_parallel(lambda path: self._api.request("DELETE", path), paths, lambda _: None)
        until(lambda: not self.pods(), "the Pods of the test are gone")
        if world.storage or self._claims():
            until(lambda: not self._remove_storage(world), "the storage of the test is gone")

    def _remove_storage(self, world: World) -> Sequence[object]:
        """What is still there."""
        made = {(thing["kind"], thing["metadata"]["name"]) for thing in world.storage}
        left = [
            {**thing, "kind": kind}
            for kind, things in self.storage().items()
            for thing in things
            if kind == "PersistentVolumeClaim" or (kind, thing["metadata"]["name"]) in made
        ]

        def remove(thing: Object) -> None:
            # Finalizers protect what is in use. Nobody is left who could use it.
            path = f"{path_of(thing)}/{thing['metadata']['name']}"
            self._api.request("DELETE", path)
            if thing["metadata"].get("finalizers"):
                self._api.request("PATCH", path, {"metadata": {"finalizers": None}}, _MERGE)

        in_parallel(remove, left, lambda _: None)
        return left

    def _settle(self, name: str, resident: Resident, refused: dict[str, str]) -> None:
        """Puts a resident where it is. Its status is there before it has a node: a node's Pods come in whole."""
        metadata = {**resident.pod.get("metadata", {}), "name": name}
        pods = pods_path(metadata.get("namespace", HOME))
        path = f"{pods}/{name}"
        # Tolerates all, or the controller manager would evict it from nodes with a NoExecute taint.
        spec = {**resident.pod["spec"], "schedulerName": "nobody", "tolerations": [{"operator": "Exists"}]}
        status = resident.status
        if resident.nominated:
            # A gate keeps it from being scheduled; its nomination holds all the same.
            spec |= {"schedulerName": OTHER_SCHEDULER, "schedulingGates": [{"name": "test/gate"}]}
            status = status | {"nominatedNodeName": resident.node}
        try:
            pod = self._write("POST", pods, {"metadata": metadata, "spec": spec})
            if status:
                self._write("PUT", f"{path}/status", {**pod, "status": pod["status"] | status})
        except InvalidError as error:
            refused[name] = str(error)
            self._api.request("DELETE", path, _AT_ONCE)
            return
        if resident.nominated:
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

    def _write(self, method: str, path: str, body: Object, content_type: str = "application/json") -> Object:
        status, answer = self._api.request(method, path, body, content_type)
        if status in (403, 422):
            raise InvalidError(json.loads(answer)["message"])
        assert status in (200, 201), (method, path, status, answer)
        written: Object = json.loads(answer)
        return written

    def _claims(self) -> list[Object]:
        items: list[Object] = self._api.get("/api/v1/persistentvolumeclaims")["items"]
        return items

    def _volumes(self) -> Iterable[Object]:
        return (volume for pod in self.pods() for volume in pod["spec"].get("volumes", []))

    def _nudged(self, world: World) -> bool:
        """Whether something has not come to rest. Where the controller manager met a conflict it would wait for 15 s
        before it looks at a claim again; a change makes it look now."""
        claims = {f"{namespace_of(c)}/{c['metadata']['name']}": c for c in self._claims()}
        volumes = {v["metadata"]["name"]: v for v in self._api.get("/api/v1/persistentvolumes")["items"]}
        restless = False
        for thing in world.storage:
            if thing["kind"] != "PersistentVolume":
                continue
            name, held = thing["metadata"]["name"], thing["spec"].get("claimRef", {})
            claim = claims.get(f"{held.get('namespace')}/{held.get('name')}")
            if claim and claim["spec"].get("volumeName", name) == name and not _is_bound(claim):
                restless = True
                path = f"{path_of({**claim, 'kind': 'PersistentVolumeClaim'})}/{claim['metadata']['name']}"
                self._write("PATCH", path, {"metadata": {"annotations": {"test/nudge": str(time.monotonic())}}}, _MERGE)
            restless |= volumes[name]["status"].get("phase", "Pending") == "Pending"
        made = {
            f"{namespace_of(pod)}/{pod['metadata']['name']}-{volume['name']}"
            for pod in self.pods()
            for volume in pod["spec"].get("volumes", [])
            if "ephemeral" in volume
        }
        return restless or not made <= claims.keys()


def _is_bound(claim: Object) -> bool:
    return claim["status"].get("phase") == "Bound" and _BOUND in claim["metadata"].get("annotations", {})
