"""Who may be evicted so as to run elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from nos.kube.decode import MOVABLE_ANNOTATION, movable
from tests.kube.objects import pod

OWNED = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "controller": True}]
SAYS = {MOVABLE_ANNOTATION: "true"}


@pytest.mark.parametrize(
    ("metadata", "volumes", "may"),
    [
        ({"annotations": SAYS, "ownerReferences": OWNED}, [], True),
        ({"annotations": SAYS, "ownerReferences": OWNED}, [{"name": "v", "emptyDir": {}}], True),
        ({"annotations": {MOVABLE_ANNOTATION: "false"}, "ownerReferences": OWNED}, [], False),
        ({"annotations": {"other": MOVABLE_ANNOTATION}, "ownerReferences": OWNED}, [], False),
        ({"ownerReferences": OWNED}, [], False),
        ({"annotations": SAYS}, [], False),  # nobody would make another one
        (
            {"annotations": SAYS, "ownerReferences": OWNED},
            [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
            False,
        ),
        ({"annotations": SAYS, "ownerReferences": OWNED}, [{"name": "v", "ephemeral": {}}], False),
    ],
)
def test_who_may_move(metadata: dict[str, Any], volumes: list[dict[str, Any]], may: bool) -> None:
    assert movable(pod({"volumes": volumes}, **metadata)) == may
