"""GPUs cut to order on a real kubelet: a Pod asks for a slice, and runs with that slice and no other.

What a Pod got is read from its environment, what is on the GPUs from the simulated driver's own books: neither by way
of nos.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nos.testbed import Testbed
from nos.testbed.realnode import IMAGE
from tests.e2e.mig_node import MigNode, eventually, install, mig_node

pytestmark = pytest.mark.cluster

WHOLE = {"nvidia.com/gpu": 1}


@pytest.fixture(scope="module")
def kubeconfigs(real_testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of the controller and the agent, each in its own role and held to its policies."""
    return install(real_testbed, tmp_path_factory.mktemp("users"))


@pytest.fixture
def node(real_testbed: Testbed, kubeconfigs: tuple[Path, Path]) -> Iterator[MigNode]:
    """Two A100s, whole."""
    with mig_node(real_testbed, kubeconfigs, ["a100-40gb"] * 2) as made:
        yield made


def slice_of(profile: str, count: int = 1) -> dict[str, int]:
    return {f"nvidia.com/mig-{profile}": count}


def test_slices_are_cut_for_the_pods_that_ask(node: MigNode) -> None:
    asked = {"a": "3g.20gb", "b": "3g.20gb", "c": "2g.10gb", "d": "1g.5gb", "e": "1g.10gb"}
    for name, profile in asked.items():
        node.create(name, limits=slice_of(profile))
    node.runs(*asked)
    given = {name: node.devices(name) for name in asked}
    assert all(len(devices) == 1 for devices in given.values())
    assert len({devices[0] for devices in given.values()}) == len(asked)
    for profile in set(asked.values()):
        names = [name for name in asked if asked[name] == profile]
        planned = [place for name in names for place in node.planned(name)]
        assert [planned_profile for _, planned_profile, _ in planned] == [profile] * len(names)
        # Of two that come together it is the kubelet who gives each one of two equal slices.
        assert sorted(node.place_of(device) for name in names for device in given[name]) == sorted(planned)
    eventually(lambda: set(node.holders().values()) == set(asked), "the report has all holders")
    assert node.holders() == {devices[0]: name for name, devices in given.items()}


def test_a_gpu_is_whole_again_for_who_wants_it_whole(node: MigNode) -> None:
    node.create("small", limits=slice_of("1g.5gb"))
    node.create("other", limits=slice_of("7g.40gb"))
    node.runs("small", "other")
    kept = node.devices("small")
    node.create("whole", limits=WHOLE)
    eventually(lambda: node.pod("whole")["status"].get("conditions"), "nos says why it waits")
    (condition,) = (c for c in node.pod("whole")["status"]["conditions"] if c["type"] == "PodScheduled")
    assert condition["reason"] == "Unschedulable", condition
    node.delete("other")
    node.runs("whole")
    (device,) = node.devices("whole")
    assert device.startswith("GPU-")
    assert node.place_of(kept[0])[1] == "1g.5gb"  # it runs on, on the same instance
    gpu = next(gpu.index for gpu in node.sim.gpus if gpu.uuid == device)
    assert node.sim.mig_mode(gpu) == (False, False)


def test_a_recut_spares_what_is_in_use(node: MigNode) -> None:
    ones = [f"one-{number}" for number in range(14)]
    for name in ones:
        node.create(name, limits=slice_of("1g.5gb"))
    node.runs(*ones)
    by_place = {node.place_of(node.devices(name)[0]): name for name in ones}
    assert sorted(by_place) == [(gpu, "1g.5gb", start) for gpu in (0, 1) for start in range(7)]
    stays = {place: by_place[place] for place in ((0, "1g.5gb", 0), (1, "1g.5gb", 6))}
    before = {name: node.devices(name) for name in stays.values()}
    node.delete(*(name for place, name in by_place.items() if place not in stays))
    node.create("four", limits=slice_of("4g.20gb"))
    node.create("three", limits=slice_of("3g.20gb"))
    node.runs("four", "three")
    # 4g starts at 0 alone, so it is on GPU 1, whose start 0 is free; there its units 0 to 3 leave 4 and 5 beside the
    # 1g at 6. 3g starts at 0 or 4: of GPU 0, where 0 is taken, it is 4 to 7.
    assert node.planned("four") == [(1, "4g.20gb", 0)]
    assert node.planned("three") == [(0, "3g.20gb", 4)]
    assert {name: node.devices(name) for name in stays.values()} == before
    assert all(node.place_of(device) for devices in before.values() for device in devices)


def test_several_slices_and_a_gpu_for_one_pod(node: MigNode) -> None:
    node.create("mixed", limits=slice_of("1g.5gb", 2) | slice_of("2g.10gb") | WHOLE)
    node.runs("mixed")
    eventually(lambda: len(node.holders()) == 4, "it holds four devices")
    assert set(node.holders().values()) == {"mixed"}
    profiles = sorted(profile for _, profile, _ in node.planned("mixed"))
    assert profiles == ["1g.5gb", "1g.5gb", "2g.10gb"]


def test_pods_outlive_kubelet_and_agent(node: MigNode) -> None:
    node.create("first", limits=slice_of("2g.10gb"))
    node.runs("first")
    device = node.devices("first")
    node.node.restart_kubelet(kill=True)
    node.create("second", limits=slice_of("3g.20gb"))
    node.runs("second")
    node.gpus.stop_agent()
    node.create("third", limits=slice_of("1g.5gb"))
    node.gpus.start_agent()
    node.runs("third")
    assert node.devices("first") == device
    (status,) = node.pod("first")["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    eventually(lambda: len(node.holders()) == 3, "the new agent knows who holds what")
    assert node.holders()[device[0]] == "first"


def test_an_agent_that_is_killed_in_the_middle_of_a_cut(node: MigNode) -> None:
    node.sim.fault("nvmlGpuInstanceCreateComputeInstance", kill="before")
    node.create("a", limits=slice_of("3g.20gb"))
    eventually(lambda: not node.sim.faults(), "the agent was killed")
    halves = [i for gpu in (0, 1) for i in node.sim.instances(gpu)]
    assert [(half.profile, half.devices) for half in halves] == [("3g.20gb", ())]
    node.gpus.start_agent()
    node.runs("a")
    assert [node.place_of(device) for device in node.devices("a")] == node.planned("a")
    assert [i.profile for gpu in (0, 1) for i in node.sim.instances(gpu)] == ["3g.20gb"]  # half was made whole


def test_a_driver_that_refuses_is_tried_again(node: MigNode) -> None:
    insufficient = 23
    node.sim.fault("nvmlDeviceCreateGpuInstanceWithPlacement", result=insufficient, count=2)
    node.create("a", limits=slice_of("3g.20gb"))
    node.runs("a", within=60)
    assert [node.place_of(device) for device in node.devices("a")] == node.planned("a")


def test_an_init_container_keeps_its_slice(node: MigNode) -> None:
    """The kubelet does not tell who has the devices of an init container: the decision on the Pod does."""
    init = {"name": "init", "image": IMAGE, "resources": {"limits": slice_of("7g.40gb")}}
    main = {"name": "main", "image": IMAGE, "resources": {}}
    node.create("begins", limits={}, initContainers=[init], containers=[main])
    eventually(lambda: node.pod("begins")["spec"].get("nodeName"), "it is bound")
    eventually(
        lambda: (node.pod("begins")["status"].get("initContainerStatuses") or [{}])[0].get("state", {}).get("running"),
        "its init container runs",
    )
    ((gpu, profile, start),) = node.planned("begins")
    (before,) = node.sim.instances(gpu)
    # Everybody wants slices now; the other GPU has room for two.
    for name in ("x", "y", "z"):
        node.create(name, limits=slice_of("3g.20gb"))
    eventually(lambda: sum(bool(p["spec"].get("nodeName")) for p in node.pods()) == 3, "two of them are bound")
    assert node.sim.instances(gpu) == (before,)
    assert (profile, start) == (before.profile, before.start)
