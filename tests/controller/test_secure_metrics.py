"""Metrics over TLS: who may read them is what the real API server says, and a real Prometheus reads them."""

from __future__ import annotations

import itertools
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nos.testbed.api import Api
from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.fault_proxy import FaultProxy
from tests.prometheus import Prometheus

pytestmark = pytest.mark.cluster
DEPLOY = Path(__file__).parents[2] / "deploy" / "kustomize"
GROUP = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
SECURE = {"address": "127.0.0.1:0"}
Start = Callable[..., Controller]


class Readers:
    """The roles that users install, and service accounts that have some of it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._made: list[str] = []
        for item in yaml.safe_load_all((DEPLOY / "controller" / "metrics.yaml").read_text()):
            if "subjects" in item:
                item["subjects"][0]["namespace"] = "nos-system"  # where the testbed's nos user lives
            self.make(f"{GROUP}/{item['kind'].lower()}s", item)

    def make(self, path: str, item: dict[str, Any]) -> None:
        self.api.create(path, item)
        self._made.append(f"{path}/{item['metadata']['name']}")

    def token(self, name: str, *, may: bool) -> str:
        """Of a new account."""
        self.make(ACCOUNTS, {"metadata": {"name": name}})
        if may:
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "nos-metrics-reader"}
            subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
            binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
            self.make(f"{GROUP}/clusterrolebindings", binding)
        status, answer = self.api.request("POST", f"{ACCOUNTS}/{name}/token", {})
        assert status == 201, answer
        return str(json.loads(answer)["status"]["token"])

    def remove(self) -> None:
        for path in reversed(self._made):
            self.api.request("DELETE", path)


@pytest.fixture
def readers(cluster: Cluster) -> Iterator[Readers]:
    readers = Readers(cluster.api)
    yield readers
    readers.remove()


def get(url: str, token: str = "") -> tuple[int, str]:
    """The status and the body, whoever has signed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metrics_of(running: Controller) -> str:
    """The URL."""
    eventually(lambda: "metrics on " in running.said() or running.process.poll() is not None)
    return re.findall(r'metrics on (https://[^\s"]+)', running.said())[0]


def test_who_may_read_them(readers: Readers, controller: Start) -> None:
    good, other = readers.token("prometheus", may=True), readers.token("stranger", may=False)
    running = controller(metrics=SECURE).schedules()
    url = metrics_of(running)
    assert get(url) == (401, "a Bearer token of the cluster is needed\n")
    for wrong in ("wrong", good[:-4] + "AAAA"):
        assert get(url, wrong) == (401, "this token is not valid in this cluster\n")
    why = "system:serviceaccount:default:stranger may not get /metrics in this cluster; bind nos-metrics-reader to it\n"
    assert get(url, other) == (403, why)
    status, text = get(url, good)
    assert (status, "\nnos_lease_held 1.0\n" in text) == (200, True)
    assert get(url.replace("/metrics", "/"), good)[0] == 404
    assert running.probe("/livez") == (200, "ok")  # kubelets have no token
    assert running.probe("/readyz") == (200, "ok")
    assert running.probe("/metrics")[0] == 404  # there is one way to them
    with pytest.raises(OSError, match=r".+"):
        urllib.request.urlopen(url.replace("https", "http"), timeout=10)
    assert not [token for token in (good, other) if token in running.said()]


@pytest.mark.refused
def test_nobody_is_let_in_when_it_cannot_be_told_who_may(
    readers: Readers, controller: Start, proxy: FaultProxy
) -> None:
    good, later = readers.token("prometheus", may=True), readers.token("later", may=True)
    running = controller(proxy.kubeconfig, metrics=SECURE).schedules()
    url = metrics_of(running)
    assert get(url, good)[0] == 200
    proxy.refuse()
    status, why = get(url, later)
    proxy.accept()
    assert (status, "the API server cannot be asked who may look" in why) == (503, True)
    eventually(lambda: get(url, later)[0] == 200, why="it can be asked again")

    assert readers.api.request("DELETE", f"{GROUP}/clusterrolebindings/nos-scheduler-metrics-reviews")[0] == 200
    number = itertools.count()  # what was said of a token holds
    eventually(lambda: get(url, f"wrong-{next(number)}")[0] == 503, why="the API server tells the controller no more")
    assert get(url, readers.token("last", may=True))[0] == 503
    assert "who may get /metrics is not known" in running.said()


def test_prometheus_reads_them(readers: Readers, controller: Start, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(readers.token("prometheus", may=True))
    running = controller(metrics=SECURE).schedules()
    address = metrics_of(running).split("/")[2]
    # What the ServiceMonitor says, in Prometheus's own words.
    (monitor,) = (
        item["spec"]["endpoints"]
        for item in yaml.safe_load_all((DEPLOY.parent / "monitoring" / "services.yaml").read_text())
        if item["kind"] == "ServiceMonitor" and item["metadata"]["name"] == "nos-scheduler"
    )
    (asks,) = monitor
    assert asks.pop("bearerTokenFile") == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert asks == {
        "port": "metrics",
        "path": "/metrics",
        "scheme": "https",
        "tlsConfig": {"insecureSkipVerify": True},
    }
    bare = {"scheme": "https", "tls_config": {"insecure_skip_verify": True}}
    more = {"nos": bare | {"authorization": {"credentials_file": str(token)}}, "nobody": bare}
    targets = dict.fromkeys(more, address)
    with Prometheus(tmp_path, targets, more, unwelcome=1) as prometheus:
        eventually(lambda: prometheus.query('nos_lease_held{job="nos"} == 1'))
        eventually(lambda: prometheus.query('up{job="nobody"} == 0'))
        assert prometheus.query('nos_lease_held{job="nobody"}') == []
        told = {each["labels"]["job"]: each["lastError"] for each in prometheus.get("targets")["activeTargets"]}
        assert told["nos"] == ""
        assert "401" in told["nobody"]
