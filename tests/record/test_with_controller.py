"""A real controller on a real API server, recorded in the middle of its life."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nos.record.replay import replay
from tests.autoscaler.cluster_api_rig import Rig
from tests.controller.cluster import Cluster, Controller, eventually
from tests.controller.scaling.test_with_cluster_api import ordering
from tests.observe.dashboard.test_with_controller import Viewers

pytestmark = pytest.mark.cluster
SECRET = "hunter2-nobody-may-read-this"


def _nos(*arguments: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", "from nos.cli import main; main()", *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _recording(url: str, file: Path) -> subprocess.Popen[str]:
    recorder = _nos("record", "-o", str(file), "--url", url)
    eventually(
        lambda: recorder.poll() is not None or (file.exists() and '{"checkpoint"' in file.read_text()),
        why="the record begins",
    )
    assert recorder.poll() is None, recorder.communicate()
    return recorder


def _ended(recorder: subprocess.Popen[str]) -> str:
    recorder.send_signal(signal.SIGINT)
    _, said = recorder.communicate(timeout=20)
    assert recorder.returncode == 0, said
    assert "Traceback" not in said
    return said


def test_what_a_controller_did_is_decided_again_alike(
    cluster: Cluster, controller: Callable[..., Controller], tmp_path: Path
) -> None:
    cluster.testbed.add_nodes({"8xH100": 2})
    url = controller(dashboard={"address": "127.0.0.1:0"}).schedules().dashboard
    cluster.pod("before", 2)
    cluster.bound("before")
    files = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    recorders = [_recording(url, file) for file in files]
    cluster.pod("large", 8)
    cluster.bound("large")
    cluster.pod("waits", 7)
    cluster.waits("waits", because="nvidia.com/gpu")
    cluster.delete("before")
    cluster.bound("waits")
    for recorder in recorders:
        assert " cycles, " in _ended(recorder)
    for file in files:
        with file.open("rb") as lines:
            done = replay(lines)
        assert done.differences == []
        assert done.cycles >= 3  # large, waits in vain, waits
        again = _nos("replay", str(file))
        said, _ = again.communicate(timeout=30)
        assert (again.returncode, "all the same" in said) == (0, True), said


def test_nodes_that_are_ordered_and_removed_are_planned_again_alike(
    cluster: Cluster, rig: Rig, controller: Callable[..., Controller], tmp_path: Path
) -> None:
    quick = ordering(enabled=True, unneededSeconds=1, minimumAgeSeconds=0)
    quick["scaling"] |= {"settleSeconds": 3, "longestSettleSeconds": 6}  # so that one plan is for both Pods
    url = controller(dashboard={"address": "127.0.0.1:0"}, **quick).schedules().dashboard
    file = tmp_path / "record.jsonl"
    recorder = _recording(url, file)
    for name in ("a", "b"):
        cluster.pod(name, 8)  # each fills a node
    eventually(lambda: rig.replicas() == 2, why="two nodes are ordered")
    rig.double.settle()
    cluster.delete(next(name for name in ("a", "b") if cluster.bound(name)["spec"]["nodeName"] == "h100-001"))
    eventually(lambda: rig.replicas() == 1, why="one is removed")
    _ended(recorder)
    said = [json.loads(line) for line in file.read_text().splitlines()]
    ups, downs = ([one["decided"] for one in said if one.get("plan") == plan] for plan in ("scale_up", "scale_down"))
    assert max(len(up["nodes"]) for up in ups) == 2
    assert ["h100-001"] in [step[0] for down in downs for step in down["steps"]]
    assert {one["happened"] for one in said if "happened" in one} >= {"NodesOrdered", "NodeUp", "NodeDraining"}
    with file.open("rb") as lines:
        done = replay(lines)
    assert done.differences == []
    assert done.plans == len(ups) + len(downs)


def test_secrets_and_environments_are_in_no_record(
    cluster: Cluster, controller: Callable[..., Controller], tmp_path: Path
) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    url = controller(dashboard={"address": "127.0.0.1:0"}).schedules().dashboard
    file = tmp_path / "record.jsonl"
    recorder = _recording(url, file)
    container = {
        "name": "main",
        "image": "example.com/train:1",
        "command": [SECRET],
        "args": [SECRET],
        "env": [{"name": "TOKEN", "value": SECRET}],
        "resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "777m"}},
    }
    volume = {"name": "key", "secret": {"secretName": SECRET, "optional": True}}
    annotations = {"annotations": {"example.com/key": SECRET}}
    cluster.pod("holder", metadata=annotations, containers=[container], volumes=[volume])
    cluster.bound("holder")
    _ended(recorder)
    assert '"cpu":777' in file.read_text()  # the Pod is there
    assert SECRET not in file.read_text()


@pytest.mark.parametrize(
    ("number", "why"),
    [(signal.SIGKILL, "the connection was lost"), (signal.SIGTERM, "the controller stops, or leads no more")],
)
def test_a_controller_that_goes_leaves_a_whole_record(
    cluster: Cluster, controller: Callable[..., Controller], tmp_path: Path, number: signal.Signals, why: str
) -> None:
    cluster.testbed.add_nodes({"8xH100": 1})
    started = controller(dashboard={"address": "127.0.0.1:0"}).schedules()
    file = tmp_path / "record.jsonl"
    recorder = _recording(started.dashboard, file)
    cluster.pod("one", 1)
    cluster.bound("one")
    started.stop(number)
    _, said = recorder.communicate(timeout=20)
    assert (recorder.returncode, f"nos record: ended: {why}" in said, "Traceback" in said) == (1, True, False), said
    with file.open("rb") as lines:
        done = replay(lines)
    assert done.differences == []
    assert done.ended.startswith(why)


def test_elsewhere_the_right_to_record_is_needed(
    cluster: Cluster, controller: Callable[..., Controller], tmp_path: Path
) -> None:
    viewers = Viewers(cluster.testbed)
    tokens = {
        "wrong": "wrong",
        "viewer": viewers.token("viewer", may_look=True),
        "recorder": viewers.token("recorder", may_record=True),
    }
    started = controller(dashboard={"address": "0.0.0.0:0", "allowInsecure": True}).schedules()
    url = started.dashboard.replace("0.0.0.0", "127.0.0.1")
    file = tmp_path / "record.jsonl"
    for who, why in (
        ("", "401: a Bearer token of the cluster is needed"),
        ("wrong", "401: this token is not valid"),
        ("viewer", "403: system:serviceaccount:default:viewer may not get /record"),
    ):
        (tmp_path / "token").write_text(tokens.get(who, ""))
        refused = _nos("record", "-o", str(file), "--url", url, *(["--token-file", f"{tmp_path}/token"] if who else []))
        _, said = refused.communicate(timeout=20)
        assert (refused.returncode, why in said) == (2, True), said
    (tmp_path / "token").write_text(tokens["recorder"])
    taken = _nos(
        "record", "-o", str(file), "--url", url, "--token-file", f"{tmp_path}/token", "--seconds", "2", "--most", "1Mi"
    )
    _, said = taken.communicate(timeout=20)
    assert taken.returncode == 0, said
    with file.open("rb") as lines:
        assert replay(lines).ended == "asked to"
