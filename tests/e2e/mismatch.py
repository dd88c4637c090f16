"""Where nos and kube-scheduler differ, in words for a person."""

from __future__ import annotations

from typing import Protocol

import yaml

from tests.e2e.kube_verdicts import Verdicts
from tests.e2e.nos_verdicts import by_name
from tests.e2e.world import Object, namespace_of

_TELLING = (
    *("containers", "initContainers", "resources", "overhead", "hostNetwork"),
    *("nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "volumes"),
)


class Judge(Protocol):
    """Somebody with an opinion on which nodes would do for a Pod, and on Pods that he leaves alone."""

    def passed(self, pod: Object) -> set[str]: ...
    def not_handled(self, pod: Object) -> tuple[str, ...]: ...


def mismatches(verdicts: Verdicts, judge: Judge) -> dict[str, tuple[set[str], set[str]]]:
    """By Pod what only the judge, and what only kube-scheduler lets pass. A Pod that the judge leaves alone fits
    nowhere."""
    found = {}
    for name, pod in by_name(verdicts).items():
        ours, theirs = judge.passed(pod), set() if judge.not_handled(pod) else verdicts.passed[name]
        if ours != theirs:
            found[name] = ours - theirs, theirs - ours
    return found


def described(verdicts: Verdicts, name: str, ours: set[str], theirs: set[str]) -> str:
    """What a person needs to know about one Pod on which the two disagree."""
    pod = by_name(verdicts)[name]
    shown = {
        "namespace": namespace_of(pod),
        "labels": pod["metadata"].get("labels"),
        **{key: value for key, value in pod["spec"].items() if key in _TELLING},
    }
    return "\n".join(
        [
            f"Pod {name}: only nos {sorted(ours)}, only kube-scheduler {sorted(theirs)}",
            yaml.safe_dump(shown, sort_keys=False),
            *(_about(node, verdicts) for node in sorted(ours | theirs)[:2]),
        ]
    )


def _about(name: str, verdicts: Verdicts) -> str:
    node = next(node for node in verdicts.nodes if node["metadata"]["name"] == name)
    shown = {
        "labels": node["metadata"].get("labels"),
        "spec": node["spec"],
        "allocatable": node["status"].get("allocatable"),
        "pods": [
            {"phase": pod["status"].get("phase"), "status": pod["status"].get("containerStatuses")}
            | {"conditions": pod["status"].get("conditions"), "labels": pod["metadata"].get("labels")}
            | {key: value for key, value in pod["spec"].items() if key in _TELLING}
            for pod in verdicts.pods
            if pod["spec"].get("nodeName") == name
        ],
    }
    return f"Node {name}:\n{yaml.safe_dump(shown, sort_keys=False)}"
