"""A double of Cluster API's controllers, for its own cannot be built here: their kinds are the real ones.

It acts when it is told to, so that a test sees every state between. Of Machines that are to go it takes those first
that are marked, and of the others the oldest, which is not the one that a test wants to be rid of.
"""

from __future__ import annotations

from typing import Any

from nos.testbed.api import Api
from nos.testbed.nodes import make_node, ready_nodes
from tests.controller.cluster import eventually

Object = dict[str, Any]
NODES = "/api/v1/nodes"
MARK = "cluster.x-k8s.io/delete-machine"
_FINALIZER = "machine.cluster.x-k8s.io"


class MachineController:
    """Everything of one namespace. set_name: the MachineSet of new Machines."""

    def __init__(self, api: Api, root: str, namespace: str) -> None:
        self.api = api
        self.deployments = f"{root}/namespaces/{namespace}/machinedeployments"
        self.machines = f"{root}/namespaces/{namespace}/machines"
        self.namespace = namespace
        self.set_name = "set-1"
        self.made: list[str] = []  # names of all Machines there ever were

    def settle(self) -> None:
        """All that is to be done is done, and nodes are ready."""
        self.count()
        self.boot()
        self.register()
        self.finish()
        wanted = {machine["metadata"]["name"] for machine in self.there()}
        eventually(lambda: wanted <= ready_nodes(self.api), why=f"{wanted} are ready")

    def count(self, *, most: int = 1_000_000) -> None:
        """Makes Machines, or begins to delete them, until there are as many as wanted; makes no more than `most`."""
        for deployment in self.api.get(self.deployments)["items"]:
            if deployment["spec"].get("paused"):
                continue
            name, wanted = deployment["metadata"]["name"], deployment["spec"]["replicas"]
            own = [m for m in self.there() if m["metadata"]["labels"]["cluster.x-k8s.io/deployment-name"] == name]
            for _ in range(min(most, wanted - len(own))):
                self._make(name, deployment["spec"]["template"]["spec"])
            own.sort(key=lambda m: (MARK not in m["metadata"].get("annotations", {}), m["metadata"]["name"]))
            for machine in own[: max(0, len(own) - wanted)]:
                self.api.request("DELETE", self.path(machine))

    def boot(self, shape: str = "8xH100", *, ready: bool = True) -> None:
        """Every Machine gets a Node, of its name. Without `ready`, its kubelet is not kwok's but nobody's."""
        for machine in self.there():
            made = make_node(shape, 0)
            made["metadata"]["name"] = machine["metadata"]["name"]
            if not ready:
                made["metadata"]["annotations"] = {}
                made["status"]["conditions"][0]["status"] = "False"
                # As a real API server does at once; the testbed's leaves it to the controller manager.
                made["spec"]["taints"].append({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"})
            made["metadata"]["labels"]["kubernetes.io/hostname"] = made["metadata"]["name"]
            made["spec"]["providerID"] = machine["spec"]["providerID"]
            self.api.create(NODES, made)

    def register(self) -> None:
        """Every Machine and its Node get to know each other."""
        for machine in self.there():
            name = machine["metadata"]["name"]
            if self.api.request("GET", f"{NODES}/{name}")[0] == 200:
                self.annotate_node(name)
                self.say(name, phase="Running", nodeRef={"name": name})

    def annotate_node(self, name: str) -> None:
        noted = {"cluster.x-k8s.io/machine": name, "cluster.x-k8s.io/cluster-namespace": self.namespace}
        self.api.merge(f"{NODES}/{name}", {"metadata": {"annotations": noted}})

    def finish(self) -> None:
        """Machines that are being deleted are gone, and their nodes."""
        for machine in self.api.get(self.machines)["items"]:
            if "deletionTimestamp" in machine["metadata"]:
                self.api.request("DELETE", f"{NODES}/{machine['metadata']['name']}")
                self.api.merge(self.path(machine), {"metadata": {"finalizers": None}})

    def there(self) -> list[Object]:
        """Machines that are not being deleted."""
        return [one for one in self.api.get(self.machines)["items"] if "deletionTimestamp" not in one["metadata"]]

    def say(self, machine: str, **status: Any) -> None:
        self.api.merge(f"{self.machines}/{machine}/status", {"status": status})

    def path(self, machine: Object) -> str:
        return f"{self.machines}/{machine['metadata']['name']}"

    def _make(self, deployment: str, spec: Object) -> None:
        name = f"{deployment}-{len(self.made):03}"
        self.made.append(name)
        labels = {
            "cluster.x-k8s.io/cluster-name": spec["clusterName"],
            "cluster.x-k8s.io/deployment-name": deployment,
            "cluster.x-k8s.io/set-name": self.set_name,
        }
        body = {
            "apiVersion": self.machines.removeprefix("/apis/").partition("/namespaces")[0],
            "kind": "Machine",
            "metadata": {"name": name, "labels": labels, "finalizers": [_FINALIZER]},
            "spec": spec | {"providerID": f"metal://{name}"},
        }
        assert self.api.create(self.machines, body)
