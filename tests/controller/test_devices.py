"""Nodes whose devices are known by DRA only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nos.controller.devices import DeviceOffers
from nos.kube.dra import DeviceClass, Devices, decode_device_class, decode_resource_slice
from tests.kube.objects import node

GPU = {"name": "gpu-0", "attributes": {"type": {"string": "gpu"}}, "capacity": {"memory": {"value": "80Gi"}}}
ON_A = {"nodeName": "a"}


def device_class(name: str, resource: str | None, *expressions: str) -> DeviceClass:
    spec = {"selectors": [{"cel": {"expression": e}} for e in expressions]}
    spec |= {"extendedResourceName": resource} if resource else {}  # type: ignore[dict-item]
    return decode_device_class(json.dumps({"metadata": {"name": name}, "spec": spec}).encode())


def resource_slice(name: str, where: dict[str, Any], driver: str = "gpu.nvidia.com", *devices: Any) -> Devices:
    pool = {"name": name, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": driver, "pool": pool, "devices": list(devices or (GPU,))} | where
    return decode_resource_slice(json.dumps({"metadata": {"name": name}, "spec": spec}).encode())


class Told:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.offers = DeviceOffers(lambda names: self.nodes.append(None if names is None else set(names)))

    def of(self, name: str, **labels: str) -> list[str]:
        return self.offers.of(node(name, labels=labels))


def test_a_slice_of_nvidia_is_gpus_whatever_classes_there_are() -> None:
    told = Told()
    assert told.of("a") == []
    told.offers.slices.changed(resource_slice("s", ON_A))
    assert told.of("a") == ["nvidia.com/gpu"]
    assert told.of("b") == []
    told.offers.slices.deleted(resource_slice("s", ON_A))
    assert told.of("a") == []
    assert told.nodes == [{"a"}, {"a"}]


def test_classes_name_the_resources_of_the_drivers_that_they_select() -> None:
    told = Told()
    told.offers.slices.changed(resource_slice("s", ON_A, "fpga.example.com"))
    told.offers.classes.changed(device_class("fpga", "example.com/fpga", "device.driver == 'fpga.example.com'"))
    told.offers.classes.changed(device_class("nic", "example.com/nic", 'device.driver=="nic.example.com" && true'))
    told.offers.classes.changed(device_class("unnamed", None, "device.driver == 'nic.example.com'"))
    told.offers.classes.changed(device_class("any", "example.com/any", "device.capacity['x'].memory.isGreaterThan(q)"))
    implicit = [f"deviceclass.resource.kubernetes.io/{name}" for name in ("any", "fpga")]
    assert told.of("a") == [*implicit, "example.com/any", "example.com/fpga"]
    assert told.of("b") == []  # no device, whatever the classes
    told.offers.classes.deleted(device_class("fpga", "example.com/fpga"))
    assert told.of("a") == [implicit[0], "example.com/any"]


@pytest.mark.parametrize(
    ("where", "devices", "nodes"),
    [
        ({"allNodes": True}, [GPU], "abc"),
        ({"nodeName": "b"}, [GPU], "b"),
        (
            {"nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "rack", "operator": "Exists"}]}]}},
            [GPU],
            "ac",
        ),
        ({"perDeviceNodeSelection": True}, [GPU | {"nodeName": "a"}, GPU | {"nodeName": "c"}], "ac"),
        ({"perDeviceNodeSelection": True}, [GPU | {"allNodes": True}], "abc"),
        ({"perDeviceNodeSelection": True}, [GPU], ""),
    ],
)
def test_where_a_slice_can_be_used(where: dict[str, Any], devices: list[Any], nodes: str) -> None:
    told = Told()
    told.offers.slices.changed(resource_slice("s", where, "gpu.nvidia.com", *devices))
    rack = {"a": {"rack": "1"}, "c": {"rack": "2"}}
    assert [name for name in "abc" if told.of(name, **rack.get(name, {}))] == list(nodes)
    told.offers.slices.changed(resource_slice("s", ON_A, "other.example.com"))  # it has moved
    assert [name for name in "abc" if told.of(name, **rack.get(name, {}))] == []


def test_a_slice_without_devices_is_nowhere() -> None:
    told = Told()
    body = {"metadata": {"name": "s"}, "spec": {"driver": "gpu.nvidia.com", "nodeName": "a"}}
    told.offers.slices.changed(decode_resource_slice(json.dumps(body).encode()))
    assert told.of("a") == []


def test_only_nodes_for_which_something_changed_are_looked_at() -> None:
    told = Told()
    told.offers.slices.changed(resource_slice("s", ON_A))
    told.offers.slices.changed(resource_slice("s", ON_A, "gpu.nvidia.com", GPU, GPU))  # more devices, same place
    told.offers.slices.changed(resource_slice("s", {"nodeName": "b"}))
    assert told.nodes == [{"a"}, {"a", "b"}]
    told.offers.classes.changed(device_class("gpu", "nvidia.com/gpu"))
    told.offers.classes.changed(device_class("gpu", "nvidia.com/gpu"))
    assert told.nodes[2:] == [{"b"}]
    told.offers.slices.changed(resource_slice("all", {"allNodes": True}))
    told.offers.classes.deleted(device_class("gpu", "nvidia.com/gpu"))
    assert told.nodes[3:] == [None, None]


_wheres = st.sampled_from(
    [
        {"nodeName": "a"},
        {"nodeName": "b"},
        {"allNodes": True},
        {"nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "rack", "operator": "Exists"}]}]}},
        {"perDeviceNodeSelection": True},
    ]
)
_devices = st.lists(st.sampled_from([GPU, GPU | {"nodeName": "a"}, GPU | {"nodeName": "b"}]), max_size=2)
_slices = st.builds(resource_slice, st.sampled_from("st"), _wheres, st.sampled_from(["gpu.nvidia.com", "x.com"]))
_more_slices = st.builds(
    lambda name, where, devices: resource_slice(name, where, "x.com", *devices),
    st.sampled_from("st"),
    _wheres,
    _devices,
)
_classes = st.builds(
    device_class,
    st.sampled_from("kl"),
    st.sampled_from([None, "example.com/gpu"]),
    st.sampled_from(["device.driver == 'x.com'", "device.driver == 'y.com'", "true"]),
)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.one_of(_slices, _more_slices, _classes), st.booleans()), max_size=12))
def test_who_is_not_told_has_the_same_answer_as_before(events: list[tuple[Any, bool]]) -> None:
    nodes = {"a": node("a"), "b": node("b", labels={"rack": "1"}), "c": node("c")}
    told = Told()
    answers = {name: told.offers.of(one) for name, one in nodes.items()}
    for item, gone in events:
        store: Any = told.offers.classes if isinstance(item, DeviceClass) else told.offers.slices
        told.nodes.clear()
        (store.deleted if gone else store.changed)(item)
        now = {name: told.offers.of(one) for name, one in nodes.items()}
        asked = set(nodes) if None in told.nodes else set().union(*told.nodes)
        assert {name for name in nodes if now[name] != answers[name]} <= asked
        answers = now
    fresh = Told()
    for item in (*told.offers.classes.known.values(), *told.offers.slices.known.values()):
        (fresh.offers.classes if isinstance(item, DeviceClass) else fresh.offers.slices).changed(item)  # type: ignore[arg-type]
    assert answers == {name: fresh.offers.of(one) for name, one in nodes.items()}
