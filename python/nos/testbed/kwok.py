"""What kwok is told: how a node that has no machine behaves, and a Pod on it.

kwok run as a bare program has no stages of its own, and does nothing without them. These are small and quick: a node is
Ready at once and its lease is renewed; a Pod runs at once, a Job's Pod succeeds at once, a deleted Pod is gone at once.
Capacity is not theirs to write: the Node has it from its creation, and the tests' agents change it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

NODE_ANNOTATION = "kwok.x-k8s.io/node"  # its value is `fake`; a node without it is somebody else's, such as a kubelet's

_NODE_STATUS = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
addresses:
- {type: InternalIP, address: {{ NodeIP | Quote }}}
- {type: Hostname, address: {{ .metadata.name | Quote }}}
phase: Running
"""

# A Pod's conditions are replaced as a whole: PodScheduled, which the scheduler wrote, must be carried over.
_POD_RUNNING = """
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
{{ $meta := .metadata }}
podIP: {{ PodIPWith .spec.nodeName (or .spec.hostNetwork false) $meta.uid $meta.name $meta.namespace | Quote }}
conditions:
{{ range .status.conditions }}{{ if eq .type "PodScheduled" }}
- type: PodScheduled
  status: "True"
  lastTransitionTime: {{ .lastTransitionTime | Quote }}
{{ end }}{{ end }}
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ range .spec.readinessGates }}
- {type: {{ .conditionType | Quote }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
{{ with .spec.initContainers }}
initContainerStatuses:
{{ range . }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  {{ if eq .restartPolicy "Always" }}
  started: true
  state: {running: {startedAt: {{ $now | Quote }}}}
  {{ else }}
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
  {{ end }}
{{ end }}
{{ end }}
"""

_POD_SUCCEEDED = """
{{ $now := Now }}
phase: Succeeded
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: false
  started: false
  restartCount: 0
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
"""


def _match(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def _stage(name: str, kind: str, matches: list[dict[str, Any]], following: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": matches},
            "next": following,
        },
    }


def stages() -> list[dict[str, Any]]:
    """The life of a node and of a Pod. Heartbeats are the lease's alone, as a kubelet's are while nothing changes."""
    unlike = "NotIn"  # codespell:ignore notin
    ready = '.status.conditions.[] | select( .type == "Ready" ) | .status'
    alive = _match(".metadata.deletionTimestamp", "DoesNotExist")
    return [
        _stage("node-initialize", "Node", [_match(ready, unlike, "True")], {"statusTemplate": _NODE_STATUS}),
        _stage(
            "pod-ready",
            "Pod",
            [alive, _match(".status.phase", "In", "Pending"), _match(ready, unlike, "True")],
            {"statusTemplate": _POD_RUNNING},
        ),
        _stage(
            "pod-complete",
            "Pod",
            [
                alive,
                _match(".status.phase", "In", "Running"),
                _match(".metadata.ownerReferences.[].kind", "In", "Job"),
            ],
            {"statusTemplate": _POD_SUCCEEDED},
        ),
        # What is deleted without grace the API server removes by itself. kwok deletes by name alone, and so would
        # take the next Pod of that name with it.
        _stage(
            "pod-delete", "Pod", [_match(".metadata.deletionGracePeriodSeconds > 0", "In", "true")], {"delete": True}
        ),
    ]


def write_config(path: Path, *, lease_seconds: int) -> None:
    """The file for `kwok --config`."""
    configuration = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "options": {
            "manageNodesWithAnnotationSelector": f"{NODE_ANNOTATION}=fake",
            "nodeIP": "127.0.0.1",
            "cidr": "10.244.0.0/16",  # Pods' addresses; nothing answers there
            "nodeLeaseDurationSeconds": lease_seconds,
            # The defaults of 4 make kwok, not the scheduler under test, the slowest part.
            "podPlayStageParallelism": 16,
            "nodePlayStageParallelism": 16,
            "nodeLeaseParallelism": 16,
        },
    }
    path.write_text(yaml.safe_dump_all([configuration, *stages()], sort_keys=False))
