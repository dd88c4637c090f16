"""An agent for many nodes, without GPUs: it reads specs from the real API server and answers with status.

It keeps to the contract of docs/gpunode.md: it creates its GPUNode, observes a generation when it has acted on it,
never destroys what a running Pod holds, and is slow, fails, lies or says nothing where a test wants it to.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from nos.kube.gpunode import GPU_NODES
from nos.mig import find
from nos.testbed import Testbed
from nos.testbed.api import Api

Object = dict[str, Any]
MODEL = find("h100-80gb")
assert MODEL
PRODUCT = "NVIDIA H100 80GB HBM3"
REPORTED_MODEL = {
    "product": PRODUCT,
    "units": MODEL.units,
    "computeSlices": MODEL.compute_slices,
    "engines": MODEL.engine_totals,
    "profiles": [
        {
            "name": profile.name,
            "size": profile.size,
            "starts": list(profile.starts),
            "computeSlices": profile.compute_slices,
            "maxInstances": profile.max_instances,
            "engines": {name: getattr(profile.engines, name) for name in MODEL.engine_totals},
        }
        for profile in MODEL.profiles
    ],
}


class Node:
    """The GPUs of one node."""

    def __init__(self, name: str, gpus: int) -> None:
        self.name = name
        self.acts = True  # reads its spec at all
        self.delay = 0.0  # between taking note of a spec and having acted on it
        self.fails: Callable[[int], str] = lambda _: ""  # a message for a GPU that cannot be recut
        self.distorts: Callable[[Object], None] = lambda _: None  # what it reports instead of the truth
        self.gpus = [{"mig": False, "instances": {}} for _ in range(gpus)]  # instances: (profile, start) to uuid
        self.generation = 0  # that it has acted on
        self.seen = 0
        self.messages: dict[int, str] = {}
        self.made = self.destroyed = 0
        self.due = 0.0

    def status(self, holders: dict[tuple[int, str, int] | int, str]) -> Object:
        gpus = []
        for index, gpu in enumerate(self.gpus):
            instances = [
                {"uuid": uuid, "profile": profile, "start": start, "ready": True}
                | ({"pod": holders[index, profile, start]} if (index, profile, start) in holders else {})
                for (profile, start), uuid in sorted(gpu["instances"].items(), key=lambda item: item[0][1])
            ]
            pod = {"pod": holders[index]} if index in holders else {}
            message = {"message": self.messages[index]} if self.messages.get(index) else {}
            entry = {"index": index, "uuid": f"GPU-{self.name}-{index}", "product": PRODUCT, "memoryMiB": 81559}
            gpus.append(entry | {"mig": gpu["mig"], "ready": not gpu["mig"], "instances": instances} | pod | message)
        cut = " ".join(
            f"{i}:" + (",".join(p for p, _ in sorted(g["instances"], key=lambda at: at[1])) if g["mig"] else "whole")
            for i, g in enumerate(self.gpus)
        )
        ready = {"type": "Ready", "status": "True", "reason": "Serving", "message": ""}
        status = {
            "observedGeneration": self.generation,
            "gpuCount": len(gpus),
            "product": PRODUCT,
            "cut": cut,
            "models": [REPORTED_MODEL],
            "gpus": gpus,
            "conditions": [ready | {"lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }
        self.distorts(status)
        return status

    def act(self, spec: Object, in_use: set[tuple[int, str, int] | int]) -> None:
        """Make the GPUs as the spec wants them."""
        self.messages = {}
        for entry in spec.get("gpus", []):
            index, gpu = entry["index"], self.gpus[entry["index"]]
            wanted = {(i["profile"], i["start"]) for i in entry.get("instances", [])}
            if gpu["mig"] == entry["mig"] and set(gpu["instances"]) == wanted:
                continue
            if message := self.fails(index):
                self.messages[index] = message
                continue
            used = {(p, s) for p, s in gpu["instances"] if (index, p, s) in in_use}
            gone = set(gpu["instances"]) - wanted - used
            self.destroyed += len(gone)
            for place in gone:
                del gpu["instances"][place]
            if not entry["mig"] and (used or index in in_use):
                self.messages[index] = "it is in use"
                continue
            gpu["mig"] = entry["mig"]
            for profile, start in wanted - set(gpu["instances"]):
                self.made += 1
                gpu["instances"][profile, start] = f"MIG-{self.name}-{index}-{self.made}"


class Agents:
    """A thread that plays the agents of all nodes given to it."""

    def __init__(self, testbed: Testbed) -> None:
        self.api: Api = testbed.api
        self.nodes: dict[str, Node] = {}
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agents", daemon=True)

    def add(self, name: str, gpus: int = 1, *, fails: Callable[[int], str] = lambda _: "") -> Node:
        """Play the agent of this node too: its GPUNode is there when this returns."""
        uid = self.api.get(f"/api/v1/nodes/{name}")["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
        metadata = {"name": name, "ownerReferences": [owner]}
        body = {"apiVersion": "nos.nebuly.com/v1alpha1", "kind": "GPUNode", "metadata": metadata}
        assert self.api.create(GPU_NODES, body)
        node = Node(name, gpus)
        node.fails = fails
        node.generation = node.seen = 1
        self._report(node, self.get(name), {})
        self.nodes[name] = node
        return node

    def get(self, name: str) -> Object:
        """The GPUNode."""
        found: Object = self.api.get(f"{GPU_NODES}/{name}")
        return found

    def spec(self, name: str) -> dict[int, tuple[bool, list[str]]]:
        """What its GPUs are to become: MIG mode and instances, as profile@start."""
        return {
            gpu["index"]: (gpu["mig"], [f"{i['profile']}@{i['start']}" for i in gpu.get("instances", [])])
            for gpu in self.get(name).get("spec", {}).get("gpus", [])
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[Agents]:
        """They act until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
        assert not self.errors, self.errors

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            if not self.nodes:
                continue
            try:
                self._turn()
            except Exception as error:  # told to the test when it ends
                self.errors.append(f"{type(error).__name__}: {error}")

    def _turn(self) -> None:
        # Who begins to act while we read would act on a spec of before.
        acting = {name: node for name, node in list(self.nodes.items()) if node.acts}
        found = {item["metadata"]["name"]: item for item in self.api.get(GPU_NODES)["items"]}
        holders = self._holders()
        for name, node in acting.items():
            if not node.acts or (gpu_node := found.get(name)) is None:
                continue
            held = holders.get(name, {})
            generation = gpu_node["metadata"]["generation"]
            if generation > node.seen:
                node.seen, node.due = generation, time.monotonic() + node.delay
            if node.due and time.monotonic() >= node.due:
                node.due, node.generation = 0.0, generation
                node.act(gpu_node.get("spec", {}), set(held))
            self._report(node, gpu_node, held)

    def _report(self, node: Node, gpu_node: Object, holders: dict[tuple[int, str, int] | int, str]) -> None:
        status = node.status(holders)
        if gpu_node.get("status") == status:
            return
        body = gpu_node | {"status": status}
        code, answer = self.api.request("PUT", f"{GPU_NODES}/{node.name}/status", body)
        if code == 200:
            gpu_node.update(json.loads(answer))
        elif code not in (404, 409):
            self.errors.append(answer.decode())

    def _holders(self) -> dict[str, dict[tuple[int, str, int] | int, str]]:
        """By node: what its Pods hold. The kubelet of these nodes gives them what their Binding says."""
        holders: dict[str, dict[tuple[int, str, int] | int, str]] = {}
        for pod in self.api.get("/api/v1/namespaces/default/pods")["items"]:
            if not (node := pod["spec"].get("nodeName")) or pod["status"]["phase"] != "Running":
                continue
            key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            annotations = pod["metadata"].get("annotations", {})
            held = holders.setdefault(node, {})
            for part in filter(None, annotations.get("nos.nebuly.com/instances", "").split(",")):
                gpu, _, place = part.partition(":")
                profile, _, start = place.partition("@")
                held[int(gpu), profile, int(start)] = key
            for slot in filter(None, annotations.get("nos.nebuly.com/gpus", "").split(",")):
                held[int(slot)] = key
        return holders
