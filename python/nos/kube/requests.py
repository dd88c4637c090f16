"""Effective requests: what a Pod takes from its node, as `k8s.io/component-helpers/resource` computes it.

In comes what each container asks for (and, for a Pod on a node, what the kubelet gave it), out goes one map of
nano-units by resource. All in nano-units: only the caller rounds, once, at the end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Resources = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Container:
    """What one container asks for, and what it was given; None where the kubelet has not said."""

    requests: Resources
    restartable: bool = False  # of an init container: a sidecar, which keeps running beside the containers
    allocated: Resources | None = None
    actual: Resources | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """All that decides a Pod's effective requests."""

    containers: Sequence[Container]
    init_containers: Sequence[Container] = ()
    overhead: Resources | None = None
    pod: Resources | None = None  # pod-level requests
    pod_allocated: Resources | None = None
    pod_actual: Resources | None = None  # {} where the status has a part for it without requests
    resize_infeasible: bool = False  # the kubelet has refused the resize: the spec is a wish


def effective_requests(ask: Ask) -> dict[str, int]:
    """For a Pod without a status this is the spec alone; else the largest of what was asked, allocated and given."""
    drop_spec = ask.resize_infeasible
    spec = _of_containers(ask, lambda c: c.requests)
    if ask.pod_allocated and ask.pod_actual:
        allocated, actual = ask.pod_allocated, ask.pod_actual
    else:
        allocated = _of_containers(ask, lambda c: _first(c.allocated, None if drop_spec else c.requests))
        actual = _of_containers(ask, lambda c: _first(c.actual, c.allocated, None if drop_spec else c.requests))
    total = _largest(allocated, actual) if drop_spec else _largest(spec, allocated, actual)

    if ask.pod and any(map(_is_pod_level, ask.pod)):
        whole = ask.pod
        if ask.pod_actual is not None:
            whole = _largest({} if drop_spec else ask.pod, ask.pod_actual, ask.pod_allocated or {})
        total.update({name: amount for name, amount in whole.items() if _is_pod_level(name)})
    _add(total, ask.overhead or {})
    return total


def _of_containers(ask: Ask, resources_of: Callable[[Container], Resources]) -> dict[str, int]:
    """max(containers + sidecars, each init container + the sidecars that started before it), per resource."""
    running: dict[str, int] = {}
    for container in ask.containers:
        _add(running, resources_of(container))
    sidecars: dict[str, int] = {}
    starting: dict[str, int] = {}
    for container in ask.init_containers:
        if container.restartable:
            _add(running, resources_of(container))
            _add(sidecars, resources_of(container))
            starting = _largest(starting, sidecars)
        else:
            while_it_runs = dict(sidecars)
            _add(while_it_runs, resources_of(container))
            starting = _largest(starting, while_it_runs)
    return _largest(running, starting)


def _is_pod_level(resource: str) -> bool:
    return resource in ("cpu", "memory") or resource.startswith("hugepages-")


def _first(*choices: Resources | None) -> Resources:
    return next((choice for choice in choices if choice is not None), {})


def _add(total: dict[str, int], more: Resources) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _largest(*each: Resources) -> dict[str, int]:
    result: dict[str, int] = {}
    for resources in each:
        for name, amount in resources.items():
            if amount > result.get(name, -1):
                result[name] = amount
    return result
