"""No name is left in a scrubbed record, and it is decided alike."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nos._core import (
    GpuSpec,
    HostPort,
    NodeSpec,
    PodLabels,
    PodSelector,
    PodSpec,
    PodTerm,
    QuotaSpec,
    Requirement,
    SelectorTerm,
    SpreadConstraint,
    Taint,
    Toleration,
    VolumeClaim,
)
from nos.record.cluster import Recorded
from nos.record.codec import last_line
from nos.record.reader import RecordError
from nos.record.replay import Replayed, replay
from nos.record.scrub import scrub
from tests.cut_gpus import MODELS
from tests.record.scenes import GPU, SCENE, recorded, steps

A = "acme"  # in each name
HOST = "kubernetes.io/hostname"


def scrubbed(lines: list[bytes]) -> list[bytes]:
    """The same record without names."""
    into = io.BytesIO()
    scrub(io.BytesIO(b"".join(lines)), into)
    return into.getvalue().splitlines(keepends=True)


def numbers(done: Replayed) -> tuple[int, int, int, int]:
    """What a replay counts."""
    return done.edits, done.cycles, done.decisions, done.different


def _named(step: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same with the names of a firm."""
    return step[0], *(f"{A}-{one}" if isinstance(one, str) and one else one for one in step[1:])


@settings(deadline=None)
@given(st.lists(steps, max_size=20), st.lists(steps, max_size=40))
def test_what_is_scrubbed_is_decided_alike(before: list[Any], meanwhile: list[Any]) -> None:
    lines = recorded([_named(step) for step in before], [*(_named(step) for step in meanwhile), ("cycle",)])
    then, now = replay(lines), replay(scrubbed(lines))
    assert now.differences == []
    assert numbers(now) == numbers(then)
    assert A.encode() not in b"".join(scrubbed(lines))


def _requirements(key: str = f"{A}/rack") -> list[Requirement]:
    return [Requirement(key, "In", [f"{A}-1", f"{A}-2"]), Requirement(f"{A}/old", "DoesNotExist")]


def _nodes(cluster: Recorded) -> None:
    cluster.upsert_namespace(f"{A}-ml", {f"{A}/team": f"{A}-x", "kubernetes.io/metadata.name": f"{A}-ml"})
    a100 = MODELS["a100-40gb"].core
    labels = {f"{A}/rack": f"{A}-1", f"{A}/slots": "8", "nvidia.com/gpu.product": "A100", "kubernetes.io/os": "linux"}
    common: dict[str, Any] = {
        "images": {f"{A}.example/train:1": 1 << 30},
        "features": [f"{A}-feature"],
        "attach_limits": {f"{A}-csi": 4},
        "attached": [(f"{A}-csi", f"{A}-old")],
    }
    offers = {"cpu": 64_000, "memory": 1 << 40, "pods": 100}
    gpus = [GpuSpec(a100, mig=True, instances=[("3g.20gb", 0, True, f"{A}-stranger")]), GpuSpec(a100, pod=f"{A}-else")]
    for name, more in (
        (f"{A}-cut", {"gpus": gpus, "taints": [Taint(f"{A}/for", f"{A}-ml"), Taint("nvidia.com/gpu", "present")]}),
        (f"{A}-whole", {}),
    ):
        cluster.upsert_node(name, NodeSpec(offers | {GPU: 2}, labels=labels | {HOST: name}, **common, **more))


def _rules(cluster: Recorded) -> None:
    here = PodSelector([], namespaces=[f"{A}-ml"], namespace_labels=[Requirement(f"{A}/team", "In", [f"{A}-x"])])
    cluster.upsert_quota(f"{A}-all", QuotaSpec([], max={GPU: 9}))
    cluster.upsert_quota(f"{A}-ml", QuotaSpec([f"{A}-ml"], min={GPU: 1}, max={GPU: 4}, parent=f"{A}-all"))
    cluster.set_habit(f"{A}-ml", 7)
    cluster.upsert_gang(f"{A}-ml/gang", min_members=2, topology_key=f"{A}/rack", required=True)
    cluster.upsert_gang(f"{A}-ml/bad", min_members=1, problem=f"names {A}-queue, which does not exist")
    cluster.upsert_budget(f"{A}-ml/budget", here, 1)


def _pods(cluster: Recorded) -> None:
    tolerates = [Toleration(f"{A}/for", "Equal", f"{A}-ml", "NoSchedule"), Toleration("nvidia.com/gpu", "Exists")]
    some = SelectorTerm(_requirements(), [Requirement("metadata.name", "In", [f"{A}-cut", f"{A}-whole"])])
    many = SelectorTerm([Requirement(f"{A}/slots", "Gt", ["7"]), Requirement(f"{A}/slots", "Lt", ["9"])])
    near = PodTerm(f"{A}/rack", PodSelector([Requirement(f"{A}/app", "Exists")], namespaces=[f"{A}-ml"]))
    apart = PodTerm(HOST, PodSelector([Requirement(f"{A}/app", "In", [f"{A}-nobody"])], namespaces=[f"{A}-ml"]))
    spread = SpreadConstraint(f"{A}/rack", PodSelector([], namespaces=[f"{A}-ml"]), max_skew=5)
    claim = VolumeClaim([(f"{A}-pv-1", [some]), (f"{A}-pv-2", None)], provision=[[some]])
    asks: dict[str, dict[str, Any]] = {
        "near": {"affinity": [some], "pod_anti_affinity": [apart], "preferred_pod_affinity": [(5, near)]},
        "large": {"affinity": [many], "preferred_affinity": [(3, some)], "spread": [spread], "spread_by_default": True},
        "port": {"host_ports": [HostPort(80, "TCP", f"{A}-address")], "node_selector": {f"{A}/rack": f"{A}-1"}},
        "image": {"images": [f"{A}.example/train:1"], "features": [f"{A}-feature"]},
        "volume": {"claims": [claim], "sole_claims": [f"{A}-ml/only"], "volumes": [(f"{A}-csi", f"{A}-new")]},
        "bound": {"volume_affinity": [[some]], "pod_affinity": [near]},
        "early": {"waits_for": f"PersistentVolumeClaim {A}-ml/late is not bound"},
        "odd": {"unsupported": [f"{A}-thing"]},
        "nowhere": {"node_selector": {f"{A}/rack": f"{A}-9"}},
    }
    for number, (name, more) in enumerate(asks.items()):
        labels = PodLabels(f"{A}-ml", {f"{A}/app": f"{A}-{name}"})
        spec = PodSpec({"cpu": 100 + number, "nvidia.com/mig-1g.5gb": number % 2}, tolerations=tolerates, **more)
        cluster.upsert_pod(f"{A}-{name}", spec, labels=labels, arrival=number, wish=f"{A}-whole")
    for number, gang in enumerate(("gang", "gang", "bad")):
        spec = PodSpec({"cpu": 100, GPU: 1}, tolerations=tolerates)
        cluster.upsert_pod(f"{A}-g{number}", spec, labels=PodLabels(f"{A}-ml"), gang=f"{A}-ml/{gang}")
    cluster.upsert_pod(f"{A}-there", PodSpec({"cpu": 1}), node=f"{A}-whole")


EVERYTHING = [
    ("do", _nodes),
    ("do", _rules),
    ("do", _pods),
    ("cycle",),
    ("do", lambda one: one.remove_node(f"{A}-cut")),
]


def test_no_name_is_left_of_all_that_there_can_be() -> None:
    lines = recorded([], [*EVERYTHING, ("cycle",)])
    lines[-1] = last_line(f"the connection was lost: {A}.example does not answer")
    found = b"".join(scrubbed(lines)).decode()
    assert A not in found
    assert not re.search("#[0-9a-f]{16}", found)  # an image, by a hash that can be guessed
    # What is no name is still there, and so is what makes the record one.
    for kept in ('"Gt","values":["7"]', '"kubernetes.io/hostname"', '"nvidia.com/gpu.product":"A100"', '"3g.20gb"'):
        assert kept in found, kept
    assert json.loads(found.splitlines()[0])["scrubbed"] is True
    then, now = replay(lines), replay(found.encode().splitlines())
    assert (now.differences, now.ended) == ([], "the connection was lost")
    assert numbers(now) == numbers(then)


def test_the_world_above_has_every_argument_with_a_name() -> None:
    """Else one could be forgotten, there as here."""
    said: dict[str, set[str]] = {}
    for line in map(json.loads, recorded([], EVERYTHING)):
        for kind, arguments in {**line, line.get("edit", ""): line.get("with", {})}.items():
            named = (
                {name for name, one in arguments.items() if A in json.dumps(one)} if isinstance(arguments, dict) else ()
            )
            if named and kind not in ("with", "cycle"):
                said.setdefault(kind, set()).update(named)
    assert said == {
        "NodeSpec": {"labels", "features", "attach_limits", "attached"},  # its images have hashes
        "PodSpec": {"node_selector", "images", "features", "sole_claims", "volumes", "waits_for", "unsupported"},
        "GpuSpec": {"pod", "instances"},
        "QuotaSpec": {"namespaces", "parent"},
        "Requirement": {"key", "values"},
        "Taint": {"key", "value"},
        "Toleration": {"key", "value"},
        "HostPort": {"address"},
        "PodLabels": {"namespace", "labels"},
        "PodSelector": {"namespaces"},
        "PodTerm": {"topology_key"},
        "SpreadConstraint": {"topology_key"},
        "VolumeClaim": {"volumes"},
        "upsert_namespace": {"name", "labels"},
        "upsert_quota": {"name"},
        "set_habit": {"name"},
        "upsert_gang": {"name", "topology_key", "problem"},
        "upsert_budget": {"name"},
        "upsert_node": {"name"},
        "remove_node": {"name"},
        "upsert_pod": {"uid", "node", "gang", "wish"},
    }


def test_what_was_equal_stays_equal_and_what_came_first_by_name_still_does() -> None:
    lines = scrubbed(recorded([], [("do", lambda one: one.upsert_namespace("b", {"a": "Z", "é": "b"})), ("cycle",)]))
    (edit,) = [json.loads(line)["with"] for line in lines if b'"upsert_namespace"' in line]
    # By code point: Z, a, b, é.
    assert edit == {"name": "n2", "labels": {"n1": "n0", "n3": "n2"}}


def test_an_image_is_the_same_on_a_node_and_in_a_pod() -> None:
    def edit(cluster: Recorded) -> None:
        cluster.upsert_node("n", NodeSpec({}, images={"a": 5}))
        cluster.upsert_pod("u", PodSpec({}, images=["a"]))

    values = {kind: one for line in scrubbed(recorded([], [("do", edit)])) for kind, one in json.loads(line).items()}
    assert list(values["NodeSpec"]["images"]) == values["PodSpec"]["images"]


def test_a_record_that_is_decided_otherwise_is_refused() -> None:
    lines = [line.replace(b'["u0","n0",[0,1]', b'["u0","n0",[1,0]') for line in recorded([], SCENE)]
    with pytest.raises(RecordError, match="with other names something else is decided: Pod n"):
        scrubbed(lines)


def test_a_record_of_another_format_is_refused_before_anything_else() -> None:
    with pytest.raises(RecordError, match="line 1: the format is 2"):
        scrub(io.BytesIO(b'{"nosRecord":2,"nos":"9.0"}\n{"edit":"upsert_node","by":"another way"}\n'), io.BytesIO())


def test_a_hash_that_is_a_number_is_scrubbed_too() -> None:
    digits = "#1234567890123456"
    spec = PodSpec({}, images=[digits])
    lines, scrubbed = recorded([("do", lambda cluster: cluster.upsert_pod("u", spec))], []), io.BytesIO()
    assert digits.encode() in b"".join(lines)
    scrub(io.BytesIO(b"".join(lines)), scrubbed)
    assert digits.encode() not in scrubbed.getvalue()
