"""`nos why` as people meet it."""

from __future__ import annotations

import json
import time

import pytest

from nos.cli.why import _lines
from nos.observe.why import Change, Why
from tests.cli.test_main import nos
from tests.controller.cluster import Cluster


def test_a_pod_that_waits() -> None:
    found = Why(
        "ml/p",
        "waits",
        "2 gpu, 8 cpu",
        int(time.time()) - 125,
        5,
        "ml/g",
        "ElasticQuota ml/q",
        code="InsufficientGpu",
        message="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        changes=(
            Change("asks", "with 1 gpu instead of 2", "n"),
            Change("evictions", "if a Pod went that it may not evict", "n", ("ml/b",)),
            Change("nodes", "on new nodes: 1 more like n"),
        ),
    )
    lines = "\n".join(_lines(found)).splitlines()
    assert lines == [
        "Pod ml/p waits",
        "  asks for 2 gpu, 8 cpu",
        "  for 2 min 5 s",
        "  priority 5",
        "  pod group ml/g",
        "  ElasticQuota ml/q",
        "",
        "InsufficientGpu: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        "",
        "It would run, each by itself:",
        "  with 1 gpu instead of 2, on n",
        "  if a Pod went that it may not evict, on n",
        "    ml/b",
        "  on new nodes: 1 more like n",
    ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Why("ml/p", "placed", node="n", gpus=(0, 3)), ["Pod ml/p is on node n, GPUs 0,3"]),
        (Why("ml/p", "placed", node="n", slices=("1:3g.20gb@4",)), ["Pod ml/p is on node n, slices 1:3g.20gb@4"]),
        (
            Why("ml/p", "decided", node="n", note="its GPU is cut first"),
            ["Pod ml/p waits, and the next cycle places it on node n", "  its GPU is cut first"],
        ),
        (
            Why("ml/p", "making-room", node="n", evicts=("ml/a",), code="MakingRoom", message="m"),
            ["Pod ml/p waits until there is room on node n", "", "These go for it:", "  ml/a", "", "MakingRoom: m"],
        ),
        (
            Why("ml/p", "waits", code="NodeAffinity", message="m"),
            ["Pod ml/p waits", "", "NodeAffinity: m", "", "No single change would let it run."],
        ),
        (Why("ml/p", "waits", note="it is another scheduler's"), ["Pod ml/p waits", "  it is another scheduler's"]),
    ],
)
def test_the_other_states(found: Why, said: list[str]) -> None:
    assert _lines(found) == said


def test_what_is_wrong_is_said_in_a_line() -> None:
    done = nos("why", "p", "-o", "xml")
    assert (done.returncode, done.stderr) == (2, "nos why: --output xml: expected text, json or yaml\n")
    assert nos("why").returncode == 2


@pytest.mark.cluster
def test_on_a_real_cluster(cluster: Cluster) -> None:
    (node,) = cluster.testbed.add_nodes({"8xH100": 1})
    cluster.pod("why-1", gpus=16)
    kubeconfig = ["--kubeconfig", str(cluster.testbed.kubeconfig)]
    done = nos("why", "why-1", *kubeconfig)
    assert (done.returncode, done.stderr) == (0, "")
    assert "InsufficientGpu: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu" in done.stdout
    assert f"  with 8 gpu instead of 16, on {node}" in done.stdout.splitlines()
    found = json.loads(nos("why", "default/why-1", "-o", "json", *kubeconfig).stdout)
    assert (found["state"], found["code"]) == ("waits", "InsufficientGpu")
    assert "state: waits" in nos("why", "why-1", "-o", "yaml", *kubeconfig).stdout.splitlines()
    cluster.pod("why-2", gpus=1, schedulerName="default-scheduler")
    cluster.bound("why-2")
    assert nos("why", "why-2", *kubeconfig).stdout.startswith(f"Pod default/why-2 is on node {node}")
    done = nos("why", "nobody", *kubeconfig)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "nos why: there is no Pod default/nobody; name its namespace with -n, or as NAMESPACE/NAME\n"
    )
