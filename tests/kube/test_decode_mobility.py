"""Which Pods may be moved when their node is to go."""

from __future__ import annotations

from typing import Any

import pytest

from nos.kube.decode import WITH_ITS_NODE, stays
from tests.kube.objects import pod

REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "controller": True}
DAEMON_SET = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "log", "controller": True}
CLAIM = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
SCRATCH = {"volumes": [{"name": "scratch", "emptyDir": {}}]}


@pytest.mark.parametrize(
    ("owner", "annotations", "spec", "because"),
    [
        (REPLICA_SET, {}, {}, ""),
        (REPLICA_SET, {}, SCRATCH, ""),
        (REPLICA_SET, {"example.com/note": "x"}, {}, ""),
        (REPLICA_SET, {"karpenter.sh/do-not-disrupt": "false"}, {}, ""),
        (REPLICA_SET, {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}, {}, ""),
        (REPLICA_SET, {"karpenter.sh/do-not-disrupt": "true"}, {}, "its annotation karpenter.sh/do-not-disrupt"),
        (REPLICA_SET, {"karpenter.sh/do-not-disrupt": "5m"}, {}, "its annotation karpenter.sh/do-not-disrupt"),
        (
            REPLICA_SET,
            {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            {},
            "its annotation cluster-autoscaler.kubernetes.io/safe-to-evict",
        ),
        (REPLICA_SET, {}, CLAIM, "its volumes"),
        (None, {}, {}, "nobody would make another one"),
        (None, {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}, {}, ""),
        (DAEMON_SET, {"karpenter.sh/do-not-disrupt": "true"}, CLAIM, WITH_ITS_NODE),
        (None, {"kubernetes.io/config.mirror": "a1b2"}, {}, WITH_ITS_NODE),
    ],
)
def test_who_stays(
    owner: dict[str, Any] | None, annotations: dict[str, str], spec: dict[str, Any], because: str
) -> None:
    found = pod(spec, annotations=annotations, ownerReferences=[owner] if owner else [])
    assert stays(found) == because
