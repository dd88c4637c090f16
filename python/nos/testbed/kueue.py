"""The real Kueue, which lets Jobs start by quota and by what admission checks say, such as a ProvisioningRequest.

    with Testbed() as testbed:
        kueue = testbed.add_kueue()
        # ClusterQueues, AdmissionChecks, ... are served, and acted upon; Jobs wait for it

It runs outside the cluster and handles Jobs only. The API server calls its webhooks, as in a cluster, by a Service,
whose name here is an alias of localhost; it makes their certificates itself, and a test's files are its mounted Secret.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from . import binaries
from .api import Api
from .port import free_port
from .process import Supervisor, is_ready
from .versions import AUTOSCALER_APIS, KUEUE, KUEUE_MODULE

NAME = "kueue"
_NAMESPACE, _SERVICE, _SECRET = "kueue-system", "kueue-webhook-service", "kueue-webhook-server-cert"
_CRDS, _WEBHOOKS = "config/components/crd/bases", "config/components/webhook"
_REQUESTS = "config/crd"
_PATHS = re.compile(r"batch-v1-job|kueue-x-k8s-io")  # of the webhooks for what it handles here
_HOOKS = "/apis/admissionregistration.k8s.io/v1"
_PROBE = re.compile(r'"starting server".*"name": *"health probe".*"addr": *"[^"]*:(\d+)"')


class Kueue:
    """One process of a testbed, outside the cluster."""

    def __init__(
        self,
        binary: Path,
        directory: Path,
        supervisor: Supervisor,
        start: Callable[[str, Sequence[str | Path], Mapping[str, str] | None], int],
        kubeconfig: Path,
        api: Api,
        timeout: float,
    ) -> None:
        self._binary = binary
        self._directory = directory
        self._supervisor = supervisor
        self._start = start
        self._kubeconfig = kubeconfig
        self._api = api
        self._timeout = timeout

    def start(self) -> None:
        """Starts it; returns when it says that it is ready."""
        port, certificates = free_port(), self._directory / "kueue-certificates"
        certificates.mkdir(mode=0o700, exist_ok=True)
        for path, body in _objects(port):
            self._api.create(path, body)
        config = self._directory / "kueue.yaml"
        config.write_text(json.dumps(_config(port, certificates)))
        log = self._supervisor.log(NAME)
        log.unlink(missing_ok=True)  # the port in it is that of the last one
        self._start(NAME, [self._binary, f"--config={config}"], {**os.environ, "KUBECONFIG": str(self._kubeconfig)})
        for what, is_done in (
            ("it had made its certificates", lambda: self._mounted(certificates)),
            ("it was ready", lambda: is_ready(log, _PROBE)),
        ):
            self._supervisor.wait_until(is_done, NAME, what=what, timeout=self._timeout)

    def stop(self) -> None:
        """Stops it; Jobs can be made without it again."""
        for kind in ("mutating", "validating"):
            self._api.request("DELETE", f"{_HOOKS}/{kind}webhookconfigurations/kueue-{kind}-webhook-configuration")
        self._supervisor.stop(NAME)

    def _mounted(self, directory: Path) -> bool:
        """Does what a kubelet does: writes the Secret's files. That for which it waits comes last, and whole."""
        data = self._api.get(f"/api/v1/namespaces/{_NAMESPACE}/secrets/{_SECRET}").get("data", {})
        for name in sorted(data, key="tls.crt".__eq__):
            unfinished = directory / f"{name}.tmp"
            unfinished.write_bytes(base64.b64decode(data[name]))
            unfinished.rename(directory / name)
        return bool(data)


def crds() -> list[dict[str, Any]]:
    """The kinds that it serves, and ProvisioningRequest, which it asks with."""
    (own,) = binaries.ensure_folders(f"{KUEUE_MODULE}@{KUEUE}", [_CRDS])
    return [yaml.safe_load(file.read_text()) for file in sorted(own.glob("*.yaml"))] + [request_crd()]


def request_crd() -> dict[str, Any]:
    """The kind ProvisioningRequest."""
    (folder,) = binaries.ensure_folders(AUTOSCALER_APIS, [_REQUESTS])
    found: dict[str, Any] = yaml.safe_load((folder / "autoscaling.x-k8s.io_provisioningrequests.yaml").read_text())
    return found


def _objects(port: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What it needs in the cluster, each with the path that makes it."""
    yield "/api/v1/namespaces", {"metadata": {"name": _NAMESPACE}}
    yield f"/api/v1/namespaces/{_NAMESPACE}/secrets", {"metadata": {"name": _SECRET}}
    alias = {"type": "ExternalName", "externalName": "localhost"}
    yield f"/api/v1/namespaces/{_NAMESPACE}/services", {"metadata": {"name": _SERVICE}, "spec": alias}
    (folder,) = binaries.ensure_folders(f"{KUEUE_MODULE}@{KUEUE}", [_WEBHOOKS])
    for found in yaml.safe_load_all((folder / "manifests.yaml").read_text()):
        found["metadata"]["name"] = f"kueue-{found['metadata']['name']}"
        hooks = [hook for hook in found["webhooks"] if _PATHS.search(hook["clientConfig"]["service"]["path"])]
        for hook in hooks:
            hook["clientConfig"]["service"] |= {"name": _SERVICE, "namespace": _NAMESPACE, "port": port}
        yield f"{_HOOKS}/{found['kind'].lower()}s", found | {"webhooks": hooks}


def _config(port: int, certificates: Path) -> dict[str, Any]:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta1",
        "kind": "Configuration",
        "namespace": _NAMESPACE,
        "health": {"healthProbeBindAddress": "127.0.0.1:0"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": port, "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": True, "webhookServiceName": _SERVICE, "webhookSecretName": _SECRET},
        "integrations": {"frameworks": ["batch/job"]},
        "featureGates": {"VisibilityOnDemand": False},
    }
