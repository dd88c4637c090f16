"""ProvisioningRequests: what is answered, and that booked room is there for whom it was booked, and for nobody else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nos import _core
from nos.controller.waiting import State
from nos.controller.watches import Watches
from nos.kube.errors import ApiError, Unreachable
from nos.kube.node import decode_node
from tests.controller.in_loop import in_loop
from tests.controller.scaling.pool import template
from tests.controller.scaling.provisioning_rig import ATOMIC, Object, Rig, used
from tests.controller.test_ledger import node


@in_loop
async def test_room_that_is_there_is_found_and_kept_for_the_pods_that_name_the_request() -> None:
    rig = Rig(nodes=2)
    rig.ask("r", (2, 4), (1, 8))  # 2 x 4 + 8 = all of the 16 GPUs
    await rig.turn()
    assert rig.says() == {"Accepted": ("True", "Accepted"), "Provisioned": ("True", "CapacityIsFound")}
    details = rig.server.requests["r"]["status"]["provisioningClassDetails"]
    assert sorted(details.values()) in (["n0", "n1*2"], ["n0*2", "n1"])
    rig.come("other")
    assert await rig.turn() == set()  # there is no room beside what is booked
    rig.come("small0", 4, of="r")
    rig.come("large", 8, of="r")
    assert await rig.turn() == {"small0", "large"}
    rig.come("small1", 4, of="r")
    assert await rig.turn() == {"small1"}
    assert used(rig) == 16
    rig.come("more", 4, of="r")  # nobody asked for that one
    assert await rig.turn() == set()


@in_loop
async def test_no_room_is_no_booking_and_is_looked_for_until_it_is_there() -> None:
    rig = Rig(nodes=1)
    rig.ask("r", (2, 8))
    await rig.turn()
    assert rig.says()["Provisioned"][0] == "False"
    assert used(rig) == 0  # all or nothing: half of it is not kept
    rig.come("p", 8)
    assert await rig.turn() == {"p"}
    rig.ledger.nodes.changed(node("n1"))
    rig.ledger.nodes.changed(node("n2"))
    await rig.turn()
    assert rig.is_booked()


@in_loop
async def test_who_does_not_want_to_wait_is_told_at_once_what_forbids_it() -> None:
    rig = Rig(nodes=1)
    rig.ask("r", (2, 8), parameters={"noRetry": "true"})
    await rig.turn()
    assert rig.says()["Failed"][0] == "True"
    assert rig.message("Failed").startswith("1 of 2 Pods of pod group ml/r (ProvisioningRequest) fit. 0/1 nodes")
    writes = len(rig.server.writes)
    for _ in range(3):
        await rig.turn()
    assert len(rig.server.writes) == writes  # it is over


@in_loop
async def test_a_check_orders_no_nodes() -> None:
    rig = Rig("order")
    rig.ask("r", (2, 8))
    for _ in range(3):
        await rig.turn()
    assert [call for call in rig.pool.calls if call != "survey"] == []
    assert rig.says()["Provisioned"][0] == "False"


@in_loop
async def test_nodes_for_others_are_not_more_for_a_check() -> None:
    rig = Rig("order")
    rig.ask("r", (2, 8))
    await rig.turn()
    assert rig.stage.up.latest is None  # nobody looked for nodes
    rig.come("p")
    await rig.turn()
    assert [call for call in rig.pool.calls if call != "survey"] == ["increase a 1"]


@in_loop
async def test_nobody_is_evicted_for_a_request() -> None:
    rig = Rig(nodes=1)
    rig.come("p", 8)
    await rig.turn()
    rig.ask("r", (1, 8))
    rig.template("r-0", 8, priorityClassName="high")
    await rig.turn()  # a Rig's cycle evicts nobody, or it fails
    assert rig.says()["Provisioned"] == ("False", "GangDoesNotFit")


@in_loop
async def test_what_is_atomic_orders_its_nodes_once_and_has_room_when_all_are_up() -> None:
    rig = Rig("order")
    rig.ask("r", (3, 8), kind=ATOMIC)
    for _ in range(3):
        await rig.turn()
    assert [call for call in rig.pool.calls if call != "survey"] == ["increase a 3"]
    assert rig.says()["Provisioned"] == ("False", "NodeOrdered")
    rig.comes_up("a-0")
    await rig.turn()
    assert rig.says()["Provisioned"] == ("False", "NodeOrdered")
    rig.comes_up("a-1")
    rig.comes_up("a-2")
    await rig.turn()
    assert rig.is_booked()
    for i in range(3):
        rig.come(f"p{i}", 8, of="r")
    assert await rig.turn() == {"p0", "p1", "p2"}
    assert [call for call in rig.pool.calls if call != "survey"] == ["increase a 3"]


@in_loop
async def test_a_restart_in_mid_order_orders_nothing_twice() -> None:
    rig = Rig("order")
    rig.ask("r", (3, 8), kind=ATOMIC)
    await rig.turn()
    rig.comes_up("a-0")
    await rig.restart()
    for _ in range(3):
        await rig.turn()
    assert rig.says()["Provisioned"] == ("False", "NodeOrdered")
    rig.comes_up("a-1")
    rig.comes_up("a-2")
    await rig.turn()
    assert rig.is_booked()
    assert [call for call in rig.pool.calls if call != "survey"] == ["increase a 3"]


@in_loop
async def test_what_is_booked_is_not_taken_away_by_scale_down() -> None:
    rig = Rig("order")
    rig.ask("r", kind=ATOMIC)
    await rig.turn()
    rig.comes_up("a-0")
    await rig.turn()
    assert rig.is_booked()
    assert (await rig.stage.down.look()).steps == []
    rig.later("r", 601)
    await rig.turn()
    steps = (await rig.stage.down.look()).steps
    assert [list(step.nodes) for step in steps] == [["n0"]]


@in_loop
async def test_a_request_that_goes_while_it_is_answered_leaves_nothing_to_look_after() -> None:
    rig = Rig(nodes=1)
    rig.ask("r", (1, 8))
    request = rig.server.request

    async def and_it_goes(method: str, path: str, **more: Any) -> bytes:
        if method == "PATCH" and "r" in rig.server.requests:
            rig.withdraw("r")
        return await request(method, path, **more)

    rig.server.request = and_it_goes  # type: ignore[method-assign]
    await rig.turn()
    assert "r" not in rig.server.requests
    assert not rig.answerer._pauses  # while there are any, it wakes each second


@in_loop
async def test_a_booking_ends_and_its_room_is_for_everybody() -> None:
    rig = Rig(nodes=1)
    rig.ask("r", (1, 8))
    await rig.turn()
    rig.later("r", 598)  # the API server's times are whole seconds
    rig.come("p", 8)
    assert await rig.turn() == set()
    assert rig.is_booked()
    rig.later("r", 601)
    assert await rig.turn() == {"p"}
    assert rig.says()["BookingExpired"] == ("True", "CapacityReservationTimeExpired")


@in_loop
async def test_a_node_that_goes_takes_its_booking_elsewhere_or_along() -> None:
    rig = Rig(nodes=2)
    rig.ask("r", (1, 8))
    await rig.turn()
    (name,) = rig.server.requests["r"]["status"]["provisioningClassDetails"]["nodes-0"].split(",")
    rig.ledger.nodes.deleted(node(name))
    await rig.turn()
    await rig.turn()
    assert rig.is_booked()  # the other node has room
    assert used(rig) == 8
    for other in {"n0", "n1"} - {name}:
        rig.ledger.nodes.deleted(node(other))
    await rig.turn()
    await rig.turn()
    assert rig.says()["CapacityRevoked"][0] == "True"
    assert not rig.ledger.waiting


@in_loop
async def test_a_node_that_shrinks_takes_its_booking_along() -> None:
    rig = Rig(nodes=1)
    rig.ask("r", (1, 8))
    await rig.turn()
    rig.ledger.nodes.changed(node("n0", 7))
    await rig.turn()
    await rig.turn()
    assert rig.says()["CapacityRevoked"] == ("True", "GangDoesNotFit")


@in_loop
async def test_who_has_pods_that_run_is_not_told_that_its_room_is_revoked() -> None:
    rig = Rig(nodes=2)
    rig.ask("r", (2, 8))
    await rig.turn()
    rig.come("p", 8, of="r")
    await rig.turn()
    (other,) = {"n0", "n1"} - {rig.pods["p"]["on"]}
    rig.ledger.nodes.deleted(node(other))
    await rig.turn()
    await rig.turn()
    assert "CapacityRevoked" not in rig.says()
    assert rig.says()["BookingExpired"] == ("True", "GangDoesNotFit")


@in_loop
async def test_a_booking_whose_template_is_gone_ends_with_a_restart() -> None:
    rig = Rig(nodes=1)
    rig.ask("r", (2, 4))
    await rig.turn()
    rig.server.templates.clear()
    await rig.turn()
    assert rig.is_booked()
    await rig.restart()
    assert rig.says()["BookingExpired"] == ("True", "NoPodTemplate")
    assert "Failed" not in rig.says()


@in_loop
async def test_without_the_kind_nothing_is_watched() -> None:
    rig = Rig(nodes=1)
    rig.server.fails = ApiError(404, "NotFound", "the server could not find the requested resource")
    async with asyncio.TaskGroup() as parts:
        await rig.stage.restore(parts, Watches(rig.server, rig.ledger))  # else the group would never end


@in_loop
async def test_a_restart_finds_what_is_booked_and_how_much_of_it_is_used() -> None:
    rig = Rig(nodes=2)
    rig.ask("r", (3, 4))
    rig.come("first", 4, of="r", creationTimestamp="2020-01-01T00:00:00Z")
    await rig.turn()
    await rig.turn()
    assert rig.is_booked()
    where = rig.server.requests["r"]["status"]["provisioningClassDetails"]["nodes-0"]
    rig.come("other", 8)
    await rig.restart()
    assert rig.cycle() <= {"first"}
    await rig.turn()
    assert rig.is_booked()
    assert used(rig) == 12, where  # the first one, and two to come
    rig.come("second", 4, of="r")
    rig.come("third", 4, of="r")
    assert await rig.turn() == {"second", "third"}
    assert used(rig) == 12


@in_loop
async def test_a_gang_takes_its_room_when_it_can_start() -> None:
    rig = Rig(nodes=1)
    rig.ask("r", (2, 4))
    await rig.turn()
    labels = {"nos.nebuly.com/pod-group": "g", "nos.nebuly.com/pod-group-min-available": "2"}
    rig.come("g0", 4, of="r", labels=labels)
    rig.come("other", 4)
    assert await rig.turn() == set()
    assert used(rig) == 8
    rig.come("g1", 4, of="r", labels=labels)
    assert await rig.turn() == {"g0", "g1"}


@in_loop
async def test_priorities_and_topology_of_the_templates_count() -> None:
    rig = Rig()
    for i, zone in enumerate(["a", "b", "b"]):
        body = {
            "metadata": {"name": f"n{i}", "labels": {"zone": zone}},
            "status": {"allocatable": template().status.allocatable},
        }
        rig.ledger.nodes.changed(decode_node(json.dumps(body).encode()))
    rig.ask("r", (2, 8))
    together = {"nos.nebuly.com/pod-group": "g", "nos.nebuly.com/pod-group-topology": "zone"}
    rig.template("r-0", 8, annotations=together, priorityClassName="high")
    await rig.turn()
    details = rig.server.requests["r"]["status"]["provisioningClassDetails"]
    assert details["nodes-0"] == "n1,n2"  # in one zone
    assert {waiting.priority for waiting in rig.ledger.waiting.values()} == {100}


@in_loop
async def test_quotas_hold_for_bookings() -> None:
    rig = Rig(nodes=2)
    quota = _core.QuotaSpec(["ml"], min={"nvidia.com/gpu": 4}, max={"nvidia.com/gpu": 4})
    rig.ledger.cluster.upsert_quota("q", quota)
    rig.ask("r", (5, 1))
    await rig.turn()
    assert rig.says()["Provisioned"] == ("False", "QuotaMax")
    rig.ask("s", (4, 1))
    await rig.turn()
    assert rig.is_booked("s")


# ---- Bad input


@in_loop
async def test_other_classes_are_for_others() -> None:
    rig = Rig(nodes=1)
    rig.ask("r", kind="check-capacity.autoscaling.x-k8s.io")
    await rig.turn()
    assert rig.says() == {}
    assert not rig.ledger.waiting


@in_loop
async def test_a_template_may_come_a_little_late() -> None:
    rig = Rig(nodes=1)
    rig.ask("r")
    late = rig.server.templates.pop("r-0")
    await rig.turn()
    assert rig.says() == {"Accepted": ("False", "NoPodTemplate")}
    assert rig.message("Accepted") == "There is no PodTemplate r-0 in ml"
    rig.server.templates["r-0"] = late
    rig.later("r", 5)
    await rig.turn()
    assert rig.is_booked()
    assert rig.says()["Accepted"] == ("True", "Accepted")


@in_loop
async def test_a_template_that_does_not_come_fails_the_request() -> None:
    rig = Rig(nodes=1)
    rig.ask("r")
    rig.server.templates.clear()
    rig.later("r", 61)
    await rig.turn()
    assert rig.says()["Failed"] == ("True", "NoPodTemplate")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"schedulerName": "default-scheduler"}, "OtherScheduler"),
        ({"priorityClassName": "nobodys"}, "NoPriorityClass"),
        ({"containers": 5}, "PodTemplateInvalid"),
        ({"resourceClaims": [{"name": "gpu"}]}, "Unsupported"),
        ({"containers": [{"name": "c", "resources": {"requests": {"cpu": "lots"}}}]}, "Unsupported"),
    ],
)
def test_what_cannot_be_is_said(spec: Object, reason: str) -> None:
    async def run() -> None:
        rig = Rig(nodes=1)
        rig.ask("r")
        rig.template("r-0", 1, **spec)
        rig.later("r", 61)
        await rig.turn()
        await rig.turn()
        assert rig.says()["Failed"] == ("True", reason)
        assert rig.message("Failed")
        assert not rig.ledger.waiting

    asyncio.run(run())


@in_loop
async def test_absurd_numbers_and_parameters_are_said() -> None:
    rig = Rig(nodes=1)
    rig.ask("many", (2_000_000_000, 1))
    rig.ask("soon", parameters={"ValidUntilSeconds": "soon"})
    rig.ask("never", (1, 9), parameters={"ValidUntilSeconds": "60"})
    await rig.turn()
    assert rig.says("many")["Failed"] == ("True", "TooManyPods")
    assert rig.says("soon")["Failed"] == ("True", "ParameterInvalid")
    assert rig.says("never")["Provisioned"][0] == "False"
    rig.later("never", 61)
    await rig.turn()
    assert rig.says("never")["Failed"] == ("True", "Expired")
    assert rig.message("Failed", "never").startswith("No room within 60 s. ")


@in_loop
async def test_a_request_that_ends_says_what_forbids_it_now() -> None:
    rig = Rig("order")
    rig.pool.group("a", max=1)
    rig.ask("r", (2, 8), kind=ATOMIC)
    await rig.turn()
    assert "No new node would help: " in rig.message("Provisioned")
    rig.pool.group("a", max=1, template=template(**{"nvidia.com/gpu": "4"}))
    await rig.turn()
    rig.later("r", 7 * 24 * 3600 + 1)
    await rig.turn()
    assert rig.says()["Failed"] == ("True", "Expired")
    assert rig.message("Failed").startswith("No room within 604800 s. ")
    assert rig.message("Failed").split("help: ")[1] != rig.message("Provisioned").split("help: ")[1]


@in_loop
async def test_a_request_that_is_withdrawn_leaves_nothing_behind() -> None:
    rig = Rig("order")
    rig.ask("r", (2, 8), kind=ATOMIC)
    await rig.turn()
    assert len(rig.ledger.waiting) == 2
    rig.withdraw("r")
    assert not rig.ledger.waiting
    assert rig.ledger.cluster.pod_count == 0
    await rig.turn()
    # Another one by its name is another one.
    rig.ask("r", (1, 8))
    rig.server.requests["r"]["metadata"]["uid"] = "another"
    rig.echo()
    await rig.turn()
    assert {uid.partition("/")[0] for uid in rig.ledger.waiting} == {"another"}


@in_loop
async def test_an_api_server_that_is_away_or_refuses_loses_nothing() -> None:
    rig = Rig(nodes=1)
    rig.ask("r")
    rig.server.fails = Unreachable("gone")
    await rig.turn()
    rig.server.fails = ApiError(403, "Forbidden", "no")
    rig.later("r", 1)
    await rig.turn()
    assert rig.says() == {}
    rig.server.fails = None
    rig.later("r", 2)
    await rig.turn()
    assert rig.is_booked()


class Trial:
    """What may happen, chosen by numbers: three nodes, requests and Pods of one to eight GPUs."""

    def __init__(self) -> None:
        self.rig = Rig(nodes=3)
        self.left: dict[str, list[int]] = {}  # by request: the GPUs of each Pod that has not come
        self.number = 0

    async def step(self, kind: int, number: int) -> str:
        """The name of a Pod that has to get its node now; empty where that is open."""
        rig = self.rig
        self.number += 1
        gpus, names, pod = 1 << number % 4, sorted(self.left), f"p{self.number}"
        name = names[number % len(names)] if names else ""
        if kind == 0:
            name, count = f"r{self.number}", number % 3 + 1
            self.left[name] = [gpus] * count
            rig.ask(name, (count, gpus))
        elif kind == 1 and name and self.left[name]:
            is_booked = rig.is_booked(name)
            rig.come(pod, self.left[name].pop(), of=name)
            return pod if is_booked else ""
        elif kind == 2:
            rig.come(pod, gpus)
        elif kind == 3 and name:
            rig.later(name, 601)
        elif kind == 4 and name:
            rig.withdraw(name)
            del self.left[name]
        elif kind == 5:
            await rig.restart()
        return ""


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=25))
def test_whoever_names_a_booked_request_has_its_room_at_once(steps: list[tuple[int, int]]) -> None:
    async def run() -> None:
        trial = Trial()
        rig = trial.rig
        for kind, number in steps:
            has_to_run = await trial.step(kind, number)
            bound = await rig.turn()
            assert not has_to_run or has_to_run in bound
            # No GPU is promised twice: all that run, and all that is booked and not used, fit into 3 x 8.
            running = sum(int(body["gpus"]) for body in rig.pods.values() if body.get("on"))
            booked = [w.uid for w in rig.ledger.waiting.values() if w.request and w.state is State.BINDING]
            assert used(rig) == running + sum(len(rig.ledger.cluster.pod(uid).gpus) for uid in booked) <= 24

    asyncio.run(run())
