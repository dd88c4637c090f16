"""Storage objects on the real API server, and a double of a CSI driver's external provisioner.

The PV controller that binds claims and volumes is kube-controller-manager's own. The double does what it leaves to the
driver: it makes a volume for a claim with a selected node, or takes the selected node back, as it is told.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from nos.testbed.api import Api
from tests.controller.cluster import NAMESPACE, Cluster, eventually

Object = dict[str, Any]
HOSTNAME = "kubernetes.io/hostname"
DRIVER = "csi.example.com"
SELECTED = "volume.kubernetes.io/selected-node"
_CORE, _STORAGE = "/api/v1", "/apis/storage.k8s.io/v1"
_CLAIMS = f"{_CORE}/namespaces/{NAMESPACE}/persistentvolumeclaims"
_MERGE = "application/merge-patch+json"


class Volumes:
    """Makes the storage objects of one test, and removes them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.api: Api = cluster.api

    def storage_class(self, name: str, provisioner: str = DRIVER, *, wait: bool = True, **more: Any) -> None:
        mode = "WaitForFirstConsumer" if wait else "Immediate"
        self._create(f"{_STORAGE}/storageclasses", name, {"provisioner": provisioner, "volumeBindingMode": mode} | more)

    def local_class(self, name: str = "local") -> None:
        """A class whose volumes nobody makes."""
        self.storage_class(name, "kubernetes.io/no-provisioner")

    def local_volume(self, name: str, node: str, size: str = "1Gi", storage_class: str = "local") -> None:
        """A disk of a node."""
        spec = {"local": {"path": f"/disks/{name}"}, "persistentVolumeReclaimPolicy": "Retain"}
        self.volume(name, size, storage_class, **spec, **usable_on(node))

    def volume(self, name: str, size: str = "1Gi", storage_class: str = "local", **spec: Any) -> None:
        offer = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": storage_class}
        self._create(f"{_CORE}/persistentvolumes", name, {"spec": offer | spec})
        eventually(lambda: self.get_volume(name)["status"].get("phase") in ("Available", "Bound"))

    def claim(self, name: str, storage_class: str = "local", size: str = "1Gi", **spec: Any) -> None:
        ask = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        self._create(_CLAIMS, name, {"spec": ask | {"storageClassName": storage_class} | spec})

    def give(self, volume: str, claim: str) -> None:
        """Bind the volume to the claim, as the scheduler of another Pod would."""
        uid = self.get_claim(claim)["metadata"]["uid"]
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": NAMESPACE, "name": claim}
        body = {"spec": {"claimRef": reference | {"uid": uid}}}
        status, answer = self.api.request("PATCH", f"{_CORE}/persistentvolumes/{volume}", body, _MERGE)
        assert status == 200, answer.decode()

    def csi_node(self, node: str, limit: int | None = None) -> None:
        """The node has the driver, which lets it have that many volumes."""
        driver = {"name": DRIVER, "nodeID": node} | ({} if limit is None else {"allocatable": {"count": limit}})
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": node,
            "uid": self.api.get(f"{_CORE}/nodes/{node}")["metadata"]["uid"],
        }
        metadata = {"name": node, "ownerReferences": [owner]}
        assert self.api.create(f"{_STORAGE}/csinodes", {"metadata": metadata, "spec": {"drivers": [driver]}})

    def csi_driver(self, **spec: bool) -> None:
        self._create(f"{_STORAGE}/csidrivers", DRIVER, {"spec": spec})

    def capacity(self, node: str, amount: str, storage_class: str) -> None:
        """So much can still be made on the node."""
        path = f"{_STORAGE}/namespaces/{NAMESPACE}/csistoragecapacities"
        self.api.request("DELETE", f"{path}/on-{node}")
        topology = {"matchLabels": {HOSTNAME: node}}
        body = {"storageClassName": storage_class, "nodeTopology": topology, "capacity": amount}
        self._create(path, f"on-{node}", body)

    def claims(self) -> list[Object]:
        """All of the test."""
        found: list[Object] = self.api.get(_CLAIMS)["items"]
        return found

    def get_claim(self, name: str) -> Object:
        found: Object = self.api.get(f"{_CLAIMS}/{name}")
        return found

    def get_volume(self, name: str) -> Object:
        found: Object = self.api.get(f"{_CORE}/persistentvolumes/{name}")
        return found

    def volume_of(self, claim: str) -> str:
        """The volume that the claim is bound to; empty where it is not."""
        return self.get_claim(claim)["spec"].get("volumeName", "")

    def clear(self) -> None:
        """Remove all of it; the test's Pods are gone by now."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        self.api.request("DELETE", _CLAIMS, body)
        eventually(lambda: not self.api.get(_CLAIMS)["items"], why="all claims are gone")
        capacities = f"{_STORAGE}/namespaces/{NAMESPACE}/csistoragecapacities"
        for path in (f"{_CORE}/persistentvolumes", capacities, *(f"{_STORAGE}/{kind}" for kind in _KINDS)):
            self.api.request("DELETE", path, body)
        eventually(lambda: not self.api.get(f"{_CORE}/persistentvolumes")["items"], why="all volumes are gone")

    def _create(self, path: str, name: str, body: Object) -> None:
        status, answer = self.api.request("POST", path, {"metadata": {"name": name}} | body)
        assert status == 201, answer.decode()


class Provisioner:
    """A thread that plays the driver's external provisioner: a double."""

    def __init__(self, cluster: Cluster) -> None:
        self.acts = True
        self.refuses: set[str] = set()  # nodes on which it can make nothing
        self.refused: list[str] = []
        self.misplaces = ""  # the node on which it makes volumes, whatever it is asked
        self._api = cluster.api
        self._errors: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="provisioner", daemon=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[Provisioner]:
        """It acts until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
        assert not self._errors, self._errors

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            if not self.acts:
                continue
            try:
                for claim in self._api.get(_CLAIMS)["items"]:
                    self._serve(claim)
            except Exception as error:  # told to the test when it ends
                self._errors.append(f"{type(error).__name__}: {error}")

    def _serve(self, claim: Object) -> None:
        metadata, spec = claim["metadata"], claim["spec"]
        annotations = metadata.get("annotations", {})
        asked = annotations.get("volume.kubernetes.io/storage-provisioner") == DRIVER
        if not asked or spec.get("volumeName") or "deletionTimestamp" in metadata:
            return
        if (node := annotations.get(SELECTED, "")) in self.refuses:
            self.refused.append(node)
            body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": {SELECTED: None}}}
            status, answer = self._api.request("PATCH", f"{_CLAIMS}/{metadata['name']}", body, _MERGE)
            assert status in (200, 409), answer.decode()
        elif node:
            self._make(claim, self.misplaces or node)

    def _make(self, claim: Object, node: str) -> None:
        metadata, spec = claim["metadata"], claim["spec"]
        body = {
            "metadata": {
                "name": f"pvc-{metadata['uid']}",
                "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER},
            },
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "storageClassName": spec["storageClassName"],
                "csi": {"driver": DRIVER, "volumeHandle": metadata["uid"]},
                "claimRef": {
                    "kind": "PersistentVolumeClaim",
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
                "persistentVolumeReclaimPolicy": "Retain",
            }
            | usable_on(node),
        }
        status, answer = self._api.request("POST", f"{_CORE}/persistentvolumes", body)
        assert status in (201, 409), answer.decode()


def usable_on(node: str) -> Object:
    """Of a volume's spec: that it is of use on this node alone."""
    expression = {"key": HOSTNAME, "operator": "In", "values": [node]}
    return {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}


def using(*claims: str) -> Object:
    """Of a Pod's spec: that it uses these claims."""
    return {
        "volumes": [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims],
    }


_KINDS = ("storageclasses", "csinodes", "csidrivers", "volumeattachments")
