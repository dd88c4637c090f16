"""`nos simulate --from-cluster`: what would happen, on a real cluster that does not change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nos.cli.rehearsal import lines
from nos.controller.rehearsal import BindLine, CutLine, EvictionLine, OrderLine, Outcome, WaitLine, pods_of
from nos.kube.decode import requests_of, template
from nos.kube.errors import ConfigError
from nos.kube.pod import decode_pod
from nos.kube.quantity import NANO
from tests.cli.test_main import nos
from tests.controller.cluster import Cluster

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: train, namespace: ml}
spec:
  parallelism: 3
  template:
    metadata: {labels: {app: train}}
    spec:
      schedulerName: nos-scheduler
      nodeName: elsewhere
      containers: [{name: c, image: x, resources: {limits: {nvidia.com/gpu: 4}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec: {containers: [{name: c, image: x}]}
"""


def test_manifests_become_pods_that_wait() -> None:
    pods = [decode_pod(raw) for raw in pods_of(JOB, "f")]
    assert [pod.metadata.name for pod in pods] == ["train-0", "train-1", "train-2", "alone"]
    assert [pod.metadata.namespace for pod in pods] == ["ml"] * 3 + ["default"]
    assert {pod.spec.node_name for pod in pods} == {""}
    assert [pod.spec.scheduler_name for pod in pods] == ["nos-scheduler"] * 3 + ["default-scheduler"]
    assert len({pod.metadata.uid for pod in pods}) == 4
    asked = [requests_of(template(pod)).get("nvidia.com/gpu", 0) // NANO for pod in pods]
    assert asked == [4, 4, 4, 0]  # as their limits say


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "f: no valid YAML"),
        ("kind: Service\nspec: {}", "f: document 1: kind Service: expected Pod, Deployment"),
        ("kind: Pod", "f: document 1: is no Kubernetes object with a spec"),
        ("- 1", "f: document 1: is no Kubernetes object"),
        ("kind: Job\nspec: {parallelism: many}", "f: document 1: spec.parallelism: 'many' is no number"),
        ("kind: Pod\nspec: {containers: 7}", "f: document 1: Pod default/pod: "),
    ],
)
def test_what_is_no_pod_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        pods_of(text, "f")
    assert str(error.value).startswith(said)


def test_a_line_for_each_thing() -> None:
    outcome = Outcome(
        ("ml/x",),
        (BindLine("ml/a", "n", (0, 1)), BindLine("ml/b", "m", slices="0:3g.20gb@4", cut_first=True)),
        (CutLine("m", 0, "3g.20gb@4"), CutLine("m", 1, "")),
        (EvictionLine("ml/c", "n", "of a lower priority"),),
        (WaitLine("ml/d", "InsufficientGpu", "0/2 nodes"),),
        (OrderLine("karpenter/p5", ("ml/d",), "0:1g.10gb@0", 55.04),),
    )
    assert lines(outcome) == [
        "lost     ml/x: it has no controller that nos would serve",
        "bind     ml/a to n, GPUs 0,1",
        "bind     ml/b to m, slices 0:3g.20gb@4, which are cut first",
        "cut      GPU 0 of m into 3g.20gb@4",
        "cut      GPU 1 of m into one piece",
        "evict    ml/c from n: of a lower priority",
        "order    a node of karpenter/p5, cut 0:1g.10gb@0, $55.04 per hour, for ml/d",
        "wait     ml/d: InsufficientGpu: 0/2 nodes",
    ]
    assert lines(Outcome((), (), (), (), (), ())) == ["Nothing would happen."]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from-cluster", "--cut", "gpu-1"], "--cut gpu-1: expected NODE/GPU=INSTANCES"),
        (["--from-cluster", "--add", "/nowhere"], "--add /nowhere: No such file or directory"),
        (["--from-cluster", "--kubeconfig", "/nowhere"], "/nowhere"),
        (["--from-cluster", "--generate", "1x8"], "--from-cluster"),
        (["--add", "x.yaml", "--generate", "1x8"], "--from-cluster"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], said: str) -> None:
    done = nos("simulate", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.cluster
def test_on_a_real_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """Two nodes of eight GPUs, six in use on the first: of three Pods of four GPUs, two go on the other node."""
    first, second = cluster.testbed.add_nodes({"8xH100": 2})
    # Any object will do that is there: the owner of a Pod that is not is collected, and the Pod with it.
    path = "/api/v1/namespaces/default/configmaps"
    cluster.api.create(path, {"metadata": {"name": "sim"}})
    uid = cluster.api.get(f"{path}/sim")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "sim", "uid": uid, "controller": True}
    cluster.pod("sim-1", gpus=5, nodeName=first, metadata={"ownerReferences": [owner]})
    cluster.pod("sim-2", gpus=1, nodeName=first)
    job = tmp_path / "job.yaml"
    job.write_text(JOB.replace("containers:", "tolerations: [{operator: Exists}]\n      containers:", 1))
    kubeconfig = ["--kubeconfig", str(cluster.testbed.kubeconfig)]

    def outcome(*arguments: str) -> dict[str, list[dict[str, str]]]:
        done = nos("simulate", "--from-cluster", *arguments, *kubeconfig, "--json", "-")
        assert (done.returncode, done.stderr) == (0, "")
        found: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
        return found

    added = outcome("--add", str(job))
    assert [(one["pod"], one["node"]) for one in added["binds"]] == [("ml/train-0", second), ("ml/train-1", second)]
    assert [(one["pod"], one["code"]) for one in added["waits"]] == [("ml/train-2", "InsufficientGpu")]
    removed = outcome("--remove-node", first)
    assert [(one["pod"], one["node"]) for one in removed["binds"]] == [("default/sim-1 (anew)", second)]
    assert removed["lost"] == ["default/sim-2"]
    assert nos("simulate", "--from-cluster", *kubeconfig).stdout == "Nothing would happen.\n"
    done = nos("simulate", "--from-cluster", "--remove-node", "nobody", *kubeconfig)
    assert (done.returncode, done.stderr) == (2, "nos simulate: --remove-node nobody: there is no such node\n")
    assert len(cluster.pods()) == 2
