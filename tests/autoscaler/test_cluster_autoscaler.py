"""Cluster Autoscaler's external cloud provider: clients of both generations, and a real HTTPS backend behind nos."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from aiohttp import web

from nos.autoscaler.cluster_autoscaler import front as front_module
from nos.autoscaler.cluster_autoscaler.front import Front
from nos.autoscaler.cluster_autoscaler.server import serve
from nos.autoscaler.cluster_autoscaler.settings import ClusterAutoscalerSettings
from nos.autoscaler.webhook import Webhook, WebhookSettings
from tests.autoscaler.autoscaler_client import BEFORE, GENERATIONS, Autoscaler
from tests.autoscaler.platform_server import Platform

PYTHON = Path(__file__).parents[2] / "python"
ALLOCATABLE = {"cpu": "190", "memory": "2000Gi", "pods": "110", "nvidia.com/gpu": "8"}
H100 = {
    "allocatable": ALLOCATABLE,
    "labels": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nos.nebuly.com/gpu-partitioning": "mig"},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
}
HALVES = {"h100": {"halves": "3g.40gb@0,3g.40gb@4"}}
BOTH = {"h100": {"halves": "3g.40gb@0,3g.40gb@4", "sevenths": ",".join(f"1g.10gb@{start}" for start in range(7))}}


class Rig:
    """An autoscaler, nos, and a platform."""

    def __init__(self, platform: Platform, front: Front, autoscaler: Autoscaler) -> None:
        self.platform, self.front, self.autoscaler = platform, front, autoscaler

    async def sizes(self) -> dict[str, tuple[int, int, int]]:
        """Least, target and most of each group."""
        groups = (await self.autoscaler.NodeGroups()).nodeGroups
        return {
            group.id: (
                group.minSize,
                (await self.autoscaler.NodeGroupTargetSize(id=group.id)).targetSize,
                group.maxSize,
            )
            for group in groups
        }

    async def members(self, id_: str) -> dict[str, int]:
        """The state of each instance."""
        found = (await self.autoscaler.NodeGroupNodes(id=id_)).instances
        return {instance.id: instance.status.instanceState for instance in found}

    def up(self, name: str, node: str = "") -> None:
        """An instance of the platform is a Node now."""
        self.platform.instances[name] |= {"state": "up", "node": node or f"node-{name}"}


@asynccontextmanager
async def rig(
    generation: str, layouts: Mapping[str, Mapping[str, str]] | None = None, ids: dict[str, str] | None = None
) -> AsyncIterator[Rig]:
    platform = Platform()
    platform.group("h100", template=H100, price=55.04, max=5)

    async def provider_ids() -> dict[str, str]:
        return ids if ids is not None else {f"node-vm-{n}": f"cloud://vm-{n}" for n in range(9)}

    async with platform.serving() as url:
        front = Front(Webhook(WebhookSettings(url, timeout_seconds=30.0)), layouts or {}, provider_ids)
        await front.look()
        settings = ClusterAutoscalerSettings("127.0.0.1:0", allow_insecure=True)
        async with serve(settings, lambda: None, front) as address, grpc.aio.insecure_channel(address) as channel:
            yield Rig(platform, front, Autoscaler(generation, channel))


def both(test: Callable[[str], Coroutine[Any, Any, None]]) -> Callable[[str], None]:
    """Run it with a client of either generation."""

    @pytest.mark.parametrize("generation", GENERATIONS)
    def run(generation: str) -> None:
        asyncio.run(test(generation))

    run.__name__ = test.__name__
    return run


def refused(code: grpc.StatusCode, words: str) -> Any:
    return pytest.raises(grpc.aio.AioRpcError, check=lambda e: e.code() is code and re.search(words, e.details() or ""))


def test_the_generated_code_is_that_of_the_protos(tmp_path: Path) -> None:
    protos = sorted((PYTHON / "nos/autoscaler/cluster_autoscaler").glob("*.proto"))
    assert [proto.stem for proto in protos] == ["core", "expander", "provider"]
    out = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{PYTHON}", *out, *protos], check=True)
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 6
    for path in made:
        committed = PYTHON / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), (
            f"{committed.name} is stale: python -m grpc_tools.protoc -Ipython --python_out=python --pyi_out=python "
            "python/nos/autoscaler/cluster_autoscaler/*.proto"
        )


@both
async def test_a_group_grows_and_shrinks(generation: str) -> None:
    async with rig(generation) as it:
        autoscaler = it.autoscaler
        await autoscaler.Refresh()
        assert await it.sizes() == {"webhook/h100": (0, 0, 5)}
        await autoscaler.NodeGroupIncreaseSize(id="webhook/h100", delta=3)
        assert await it.sizes() == {"webhook/h100": (0, 3, 5)}  # at once, before any survey
        await it.front.look()
        assert await it.sizes() == {"webhook/h100": (0, 3, 5)}
        assert await it.members("webhook/h100") == {f"nos://webhook/vm-{n}": 2 for n in range(3)}
        assert it.platform.groups["h100"]["target"] == 3

        it.up("vm-0")
        await it.front.look()
        assert (await it.members("webhook/h100"))["cloud://vm-0"] == 1
        node = autoscaler.wire.ExternalGrpcNode(providerID="cloud://vm-0", name="node-vm-0")
        assert (await autoscaler.NodeGroupForNode(node=node)).nodeGroup.id == "webhook/h100"
        other = autoscaler.wire.ExternalGrpcNode(providerID="cloud://other", name="other")
        assert (await autoscaler.NodeGroupForNode(node=other)).nodeGroup.id == ""

        await autoscaler.NodeGroupDecreaseTargetSize(id="webhook/h100", delta=-2)  # those that are coming
        assert await it.sizes() == {"webhook/h100": (0, 1, 5)}
        assert sorted(it.platform.instances) == ["vm-0"]
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "0 of its nodes are still to come"):
            await autoscaler.NodeGroupDecreaseTargetSize(id="webhook/h100", delta=-1)
        assert sorted(it.platform.instances) == ["vm-0"]

        await autoscaler.NodeGroupDeleteNodes(id="webhook/h100", nodes=[node])
        await autoscaler.NodeGroupDeleteNodes(id="webhook/h100", nodes=[node])  # its answer was lost
        await it.front.look()
        await autoscaler.NodeGroupDeleteNodes(id="webhook/h100", nodes=[node])
        assert await it.sizes() == {"webhook/h100": (0, 0, 5)}
        assert it.platform.groups["h100"]["target"] == 0
        await autoscaler.Cleanup()


@both
async def test_what_cannot_be_is_refused_in_words_and_nothing_is_changed(generation: str) -> None:
    async with rig(generation) as it:
        autoscaler, id_ = it.autoscaler, "webhook/h100"
        it.platform.groups["h100"] |= {"min": 1}
        await autoscaler.NodeGroupIncreaseSize(id=id_, delta=2)
        it.up("vm-0")
        it.up("vm-1")
        await it.front.look()
        asked = list(it.platform.seen)
        one, two = (
            autoscaler.wire.ExternalGrpcNode(providerID=f"cloud://vm-{n}", name=f"node-vm-{n}") for n in range(2)
        )
        stranger = autoscaler.wire.ExternalGrpcNode(providerID="cloud://vm-7", name="node-vm-7")
        with refused(grpc.StatusCode.NOT_FOUND, "there is no node group a; there are webhook/h100"):
            await autoscaler.NodeGroupTargetSize(id="a")
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "may have 3 more nodes, not 4"):
            await autoscaler.NodeGroupIncreaseSize(id=id_, delta=4)
        for delta in (0, -1):
            with refused(grpc.StatusCode.INVALID_ARGUMENT, "name a number above 0"):
                await autoscaler.NodeGroupIncreaseSize(id=id_, delta=delta)
        for delta in (0, 1):
            with refused(grpc.StatusCode.INVALID_ARGUMENT, "name a number below 0"):
                await autoscaler.NodeGroupDecreaseTargetSize(id=id_, delta=delta)
        with refused(grpc.StatusCode.NOT_FOUND, r"node-vm-7 \(cloud://vm-7\) is no node of webhook/h100"):
            await autoscaler.NodeGroupDeleteNodes(id=id_, nodes=[one, stranger])
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "has 2 nodes and keeps 1: not 2 can go"):
            await autoscaler.NodeGroupDeleteNodes(id=id_, nodes=[one, two])
        it.platform.groups["h100"] |= {"namesVictims": False}
        await it.front.look()
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "cannot be told which of its nodes is to go"):
            await autoscaler.NodeGroupDeleteNodes(id=id_, nodes=[one])
        it.platform.groups["h100"] |= {"problem": "the zone is closed"}
        await it.front.look()
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "the zone is closed"):
            await autoscaler.NodeGroupIncreaseSize(id=id_, delta=1)
        assert (await it.sizes())[id_] == (1, 2, 2)
        assert it.platform.seen == asked


@both
async def test_a_refusal_and_a_failure_are_told(generation: str) -> None:
    async with rig(generation) as it:
        autoscaler, id_ = it.autoscaler, "webhook/h100"
        it.platform.answers = [web.json_response({"message": "no capacity in this zone"}, status=409)]
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "no capacity in this zone"):
            await autoscaler.NodeGroupIncreaseSize(id=id_, delta=1)
        it.platform.answers = [web.json_response({"message": "bad token"}, status=401)]
        with refused(grpc.StatusCode.UNAVAILABLE, "bad token"):
            await autoscaler.NodeGroupIncreaseSize(id=id_, delta=1)
        assert (await it.sizes())[id_] == (0, 0, 5)

        await autoscaler.NodeGroupIncreaseSize(id=id_, delta=1)
        it.platform.instances["vm-0"] |= {"state": "failed", "message": "out of H100s"}
        it.platform.groups["h100"]["target"] = 0
        await it.front.look()
        (instance,) = (await autoscaler.NodeGroupNodes(id=id_)).instances
        assert instance.status.instanceState == 2
        error = instance.status.errorInfo
        assert (error.errorCode, error.errorMessage, error.instanceErrorClass) == ("NodeNotMade", "out of H100s", 1)
        # The autoscaler then removes it, under the only name that it knows.
        node = autoscaler.wire.ExternalGrpcNode(providerID=instance.id, name=instance.id)
        await autoscaler.NodeGroupDeleteNodes(id=id_, nodes=[node])
        assert it.platform.instances == {}
        assert (await it.sizes())[id_] == (0, 0, 5)


@both
async def test_a_backend_that_hangs_costs_one_answer(generation: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front_module, "_ANSWER_S", 0.3)
        async with rig(generation) as it:
            autoscaler, id_ = it.autoscaler, "webhook/h100"
            it.platform.answers = [600.0]
            with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "webhook has not answered within 0.3 s"):
                await autoscaler.NodeGroupIncreaseSize(id=id_, delta=2)
            assert (await it.sizes())[id_] == (0, 0, 5)  # from memory
            patch.setattr(front_module, "_ANSWER_S", 4.0)
            await autoscaler.NodeGroupIncreaseSize(id=id_, delta=2)
            assert (await it.sizes())[id_] == (0, 2, 5)


@both
async def test_an_order_whose_answer_was_lost_is_not_made_twice(generation: str) -> None:
    async with rig(generation) as it:
        autoscaler, id_ = it.autoscaler, "webhook/h100"
        for _ in range(3):  # so often the webhook tries
            it.platform.answers.append(web.Response(status=502))  # it is made, and the answer lost
        with refused(grpc.StatusCode.UNAVAILABLE, "502"):
            await autoscaler.NodeGroupIncreaseSize(id=id_, delta=2)
        await autoscaler.NodeGroupIncreaseSize(id=id_, delta=2)  # it has not seen them yet
        assert it.platform.groups["h100"]["target"] == 2
        await it.front.look()
        assert (await it.sizes())[id_] == (0, 2, 5)
        await autoscaler.NodeGroupDecreaseTargetSize(id=id_, delta=-2)
        await it.front.look()
        await autoscaler.NodeGroupIncreaseSize(id=id_, delta=2)  # back to where it began: other nodes
        assert it.platform.groups["h100"]["target"] == 2


@both
async def test_without_a_fresh_survey_the_autoscaler_is_to_do_nothing(generation: str) -> None:
    async with rig(generation) as it:
        it.platform.answers = [web.json_response({"message": "the database is away"}, status=500) for _ in range(3)]
        await it.front.look()
        assert await it.sizes() == {"webhook/h100": (0, 0, 5)}  # what it said before is not old
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(front_module, "_OLD_S", -1.0)
            for ask in (it.autoscaler.Refresh, it.autoscaler.NodeGroups):
                with refused(grpc.StatusCode.UNAVAILABLE, "webhook: .*the database is away"):
                    await ask()
        await it.front.look()
        await it.autoscaler.Refresh()


@both
async def test_a_node_that_was_ordered_for_a_layout_is_in_its_group(generation: str) -> None:
    async with rig(generation, BOTH) as it:
        autoscaler = it.autoscaler
        whole, halves, sevenths = "webhook/h100", "webhook/h100@halves", "webhook/h100@sevenths"
        assert await it.sizes() == {whole: (0, 0, 5), halves: (0, 0, 5), sevenths: (0, 0, 5)}
        await autoscaler.NodeGroupIncreaseSize(id=halves, delta=2)
        # 5 - 2 = 3 more nodes may come of any kind.
        assert await it.sizes() == {whole: (0, 0, 3), halves: (0, 2, 5), sevenths: (0, 0, 3)}
        await autoscaler.NodeGroupIncreaseSize(id=sevenths, delta=1)
        await autoscaler.NodeGroupIncreaseSize(id=whole, delta=1)
        await it.front.look()
        # 5 - 4 = 1
        assert await it.sizes() == {whole: (0, 1, 2), halves: (0, 2, 3), sevenths: (0, 1, 2)}
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "may have 1 more nodes, not 2"):
            await autoscaler.NodeGroupIncreaseSize(id=halves, delta=2)
        assert sorted(await it.members(halves)) == ["nos://webhook/vm-0", "nos://webhook/vm-1"]
        assert list(await it.members(sevenths)) == ["nos://webhook/vm-2"]
        layouts = [instance["layout"] for instance in it.platform.instances.values()]
        assert layouts[0] == ",".join(f"{slot}:3g.40gb@{start}" for slot in range(8) for start in (0, 4))
        assert layouts[3] == ""


@both
async def test_the_template_of_a_group_without_nodes(generation: str) -> None:
    async with rig(generation, BOTH) as it:
        # What nobody cuts may offer anything, too.
        odd = {"allocatable": ALLOCATABLE | {"nvidia.com/mig-1g.10gb.me": "3", "example.com/fpga": "2"}}
        it.platform.group("odd", template=odd)
        await it.front.look()
        found = {}
        for id_ in ("webhook/h100", "webhook/h100@halves", "webhook/h100@sevenths", "webhook/odd"):
            answer = await it.autoscaler.NodeGroupTemplateNodeInfo(id=id_)
            wire = it.autoscaler.wire
            node = answer.nodeInfo if generation == BEFORE else wire.Node.FromString(answer.nodeBytes)
            found[id_] = {name: amount.string for name, amount in node.status.allocatable.items()}
            assert node.status.capacity == node.status.allocatable
            assert [(c.type, c.status) for c in node.status.conditions] == [("Ready", "True")]
            assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", node.metadata.name)
        whole = {name: text for name, text in ALLOCATABLE.items() if name != "nvidia.com/gpu"}
        assert found["webhook/h100"] == ALLOCATABLE
        assert found["webhook/h100@halves"] == whole | {"nvidia.com/mig-3g.40gb": "16"}  # 8 GPUs x 2
        assert found["webhook/h100@sevenths"] == whole | {"nvidia.com/mig-1g.10gb": "56"}  # 8 x 7
        assert found["webhook/odd"] == odd["allocatable"]
        answer = await it.autoscaler.NodeGroupTemplateNodeInfo(id="webhook/h100@halves")
        node = answer.nodeInfo if generation == BEFORE else it.autoscaler.wire.Node.FromString(answer.nodeBytes)
        assert dict(node.metadata.labels) == H100["labels"]
        assert [(t.key, t.value, t.effect) for t in node.spec.taints] == [("nvidia.com/gpu", "present", "NoSchedule")]
        label = (await it.autoscaler.GPULabel()).label
        assert label
        assert label not in node.metadata.labels
        assert not (await it.autoscaler.GetAvailableGPUTypes()).gpuTypes


@both
async def test_prices(generation: str) -> None:
    async with rig(generation, HALVES) as it:
        autoscaler, wire = it.autoscaler, it.autoscaler.wire
        it.platform.group("small", price=1.0)
        await it.front.look()
        names = ("startTime", "endTime") if generation == BEFORE else ("startTimestamp", "endTimestamp")
        span = dict(zip(names, ({"seconds": 1_000_000}, {"seconds": 1_007_200}), strict=True))  # two hours
        template = await autoscaler.NodeGroupTemplateNodeInfo(id="webhook/h100@halves")
        node = template.nodeInfo if generation == BEFORE else wire.Node.FromString(template.nodeBytes)
        known = wire.ExternalGrpcNode(annotations=node.metadata.annotations)
        assert (await autoscaler.PricingNodePrice(node=known, **span)).price == pytest.approx(2 * 55.04)
        with refused(grpc.StatusCode.NOT_FOUND, "there is no node group"):
            await autoscaler.PricingNodePrice(node=wire.ExternalGrpcNode(providerID="cloud://a", name="a"), **span)
        field = "pod" if generation == BEFORE else "pod_bytes"
        # 4 of 16 halves are more of the node than 19 of 190 CPUs; nobody else has any.
        pod = autoscaler.pod("u", **{"nvidia.com/mig-3g.40gb": "4", "cpu": "19"})
        price = (await autoscaler.PricingPodPrice(**{field: pod}, **span)).price
        assert price == pytest.approx(2 * 55.04 * 4 / 16)
        # 6.4 of 64 CPUs of the small one: 1 $ x 0.1; of an H100 they were 55.04 x 6.4 / 190 = 1.85.
        price = (await autoscaler.PricingPodPrice(**{field: autoscaler.pod("u", cpu="6400m")}, **span)).price
        assert price == pytest.approx(2 * 0.1)
        with refused(grpc.StatusCode.NOT_FOUND, "no node group has all that pod-u asks for"):
            await autoscaler.PricingPodPrice(**{field: autoscaler.pod("u", **{"example.com/fpga": "1"})}, **span)


@both
async def test_a_node_without_a_provider_id_counts_nowhere(generation: str) -> None:
    """The autoscaler would take it for one that never registered, and have it deleted after a while."""
    async with rig(generation, ids={"node-vm-0": "", "node-vm-1": "cloud://vm-1"}) as it:
        id_ = "webhook/h100"
        await it.autoscaler.NodeGroupIncreaseSize(id=id_, delta=2)
        it.up("vm-0")
        it.up("vm-1")
        await it.front.look()
        assert await it.members(id_) == {"cloud://vm-1": 1}
        assert (await it.sizes())[id_] == (0, 1, 4)  # 5 - 2 = 3 more
        node = it.autoscaler.wire.ExternalGrpcNode(providerID="", name="node-vm-0")
        assert (await it.autoscaler.NodeGroupForNode(node=node)).nodeGroup.id == ""


@both
async def test_a_node_that_is_made_anew_under_its_name_is_looked_up_again(generation: str) -> None:
    ids = {"node-vm-0": "cloud://old"}
    async with rig(generation, ids=ids) as it:
        await it.autoscaler.NodeGroupIncreaseSize(id="webhook/h100", delta=1)
        it.up("vm-0")
        await it.front.look()
        ids["node-vm-0"] = "cloud://new"
        node = it.autoscaler.wire.ExternalGrpcNode(providerID="cloud://new", name="node-vm-0")
        assert (await it.autoscaler.NodeGroupForNode(node=node)).nodeGroup.id == ""
        await it.front.look()
        assert (await it.autoscaler.NodeGroupForNode(node=node)).nodeGroup.id == "webhook/h100"
        assert await it.members("webhook/h100") == {"cloud://new": 1}


def test_golden_bytes() -> None:
    """Put down by hand from the numbers that each generation has; neither client nor server made them."""

    def of(number: int, kind: int, content: bytes) -> bytes:
        head = bytes([number << 3 | kind])
        return head + (bytes([len(content)]) + content if kind == 2 else content)

    nanoseconds_600 = of(1, 0, b"\x80\xe0\xa5\x96\xbb\x11")  # varint of 600 * 10**9
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(b"\x80\xe0\xa5\x96\xbb\x11")) == 600 * 10**9
    nanoseconds_900 = of(1, 0, b"\x80\xd0\xb8\xe1\x98\x1a")  # 900 s: what a node of the webhook has to boot
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(b"\x80\xd0\xb8\xe1\x98\x1a")) == 900 * 10**9
    seconds_600, seconds_900 = of(1, 0, b"\xd8\x04"), of(1, 0, b"\x84\x07")
    half = of(1, 1, b"\x00\x00\x00\x00\x00\x00\xe0\x3f")  # 0.5
    old = half + b"".join(of(number, 2, nanoseconds_600) for number in (3, 4, 5))
    new = half + b"".join(of(number, 2, seconds_600) for number in (8, 9, 10)) + of(11, 2, seconds_600)
    answer = half + of(3, 2, nanoseconds_600) + of(4, 2, nanoseconds_600) + of(5, 2, nanoseconds_900)
    answer += of(8, 2, seconds_600) + of(9, 2, seconds_600) + of(10, 2, seconds_900)

    async def run() -> None:
        async with rig(BEFORE) as it:
            ask, id_ = it.autoscaler.raw, of(1, 2, b"webhook/h100")
            assert await ask("NodeGroupGetOptions", id_ + of(2, 2, old)) == of(1, 2, answer)
            # 11 came later still, and nos does not know it: it goes back as it came.
            assert await ask("NodeGroupGetOptions", id_ + of(2, 2, new)) == of(1, 2, answer + of(11, 2, seconds_600))
            assert await ask("NodeGroupIncreaseSize", b"\x08\x02" + of(2, 2, b"webhook/h100")) == b""
            minus_one = b"\x08" + b"\xff" * 9 + b"\x01"  # int32 -1 is a varint of ten bytes
            assert await ask("NodeGroupDecreaseTargetSize", minus_one + of(2, 2, b"webhook/h100")) == b""
            assert await ask("NodeGroupTargetSize", id_) == b"\x08\x01"
            template = await ask("NodeGroupTemplateNodeInfo", id_)
            length = len(template) // 2
            assert template[0] == 1 << 3 | 2
            assert template[length] == 2 << 3 | 2
            assert template[1:length] == template[length + 1 :]  # the same Node, under both numbers
            assert of(1, 2, b"nvidia.com/gpu") + of(2, 2, of(1, 2, b"8")) in template
            assert of(11, 2, of(1, 2, b"nos.nebuly.com/gpu-partitioning") + of(2, 2, b"mig")) in template

    asyncio.run(run())
