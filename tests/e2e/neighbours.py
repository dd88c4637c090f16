"""Words for cases about Pods near by: places, labels, who wants to be near whom.

All keys are the case's own (see tests/e2e/case.py), so that no case is near another.
"""

from __future__ import annotations

from typing import Any

from tests.e2e.case import affinity, node, pod, term
from tests.e2e.world import HOME, Object, Resident

ZONE, HOST, APP = "*zone", "*host", "*app"


def place(zone: str = "", host: str = "", *, taints: list[str] | None = None, **labels: str) -> Object:
    """A node; what is left out it has no label for."""
    made = node(taints=taints or [])
    own = {ZONE: zone, HOST: host} | {f"*{key}": value for key, value in labels.items()}
    made["metadata"]["labels"] = {key: value for key, value in own.items() if value}
    return made


def called(app: str = "", *, within: str = HOME, like: Object | None = None, **labels: str) -> Object:
    """A Pod of that app, in that namespace."""
    own = {APP: app} | {f"*{key}": value for key, value in labels.items()}
    metadata: dict[str, Any] = {"labels": {key: value for key, value in own.items() if value}, "namespace": within}
    return {**(like or pod()), "metadata": metadata}


def there(app: str = "", **how: Any) -> Resident:
    """A resident of that app."""
    known = {key: how.pop(key) for key in ("phase", "terminating", "nominated") if key in how}
    return Resident(called(app, **how), "", **known)


def select(**labels: str) -> Object:
    return {"matchLabels": {f"*{key}": value for key, value in labels.items()}}


def where(*each: tuple[str, str, list[str]]) -> Object:
    return {
        "matchExpressions": [
            {"key": f"*{key}", "operator": operator, **({"values": values} if values else {})}
            for key, operator, values in each
        ]
    }


def near(key: str, selector: Object | None, **more: Any) -> Object:
    """A term: selector None is one that is not there."""
    return {"topologyKey": key, **({} if selector is None else {"labelSelector": selector}), **more}


def with_terms(*, near: list[Object] | None = None, apart: list[Object] | None = None, **spec: Any) -> Object:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = {"podAffinity": near, "podAntiAffinity": apart}
    return pod(affinity={kind: {required: each} for kind, each in terms.items() if each}, **spec)


def even(key: str, selector: Object | None, skew: int = 1, **more: Any) -> Object:
    """A spread constraint that must hold."""
    chosen = {} if selector is None else {"labelSelector": selector}
    return {"topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule", **chosen, **more}


def spread(*constraints: Object, app: str = "web", within: str = HOME, **spec: Any) -> Object:
    """A Pod of that app that is to be spread."""
    return called(app, within=within, like=pod(topologySpreadConstraints=list(constraints), **spec))


def only_in(key: str, *values: str) -> Object:
    """Node affinity."""
    return affinity(term((f"*{key}", "In", list(values))))
