"""A device plugin beside a kubelet that misbehaves. What a real kubelet makes of it is in test_real_kubelet.py."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from nos.agent.kubelet import Device, DevicePlugin, DevicePlugins, Hand
from nos.agent.kubelet import deviceplugin_pb2 as wire

from .fake_kubelet import FakeKubelet, eventually, plugin_call

GPU = "nvidia.com/gpu"
SOURCES = Path(__file__).parents[2] / "python"


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nos-") as name:  # short: a socket's path has at most 107 bytes
        yield Path(name)


def play(directory: Path, scene: Callable[[FakeKubelet], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with FakeKubelet(directory) as kubelet:
            await scene(kubelet)

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def healthy(*devices: str) -> dict[str, str]:
    return dict.fromkeys(devices, "Healthy")


def test_each_change_is_pushed_whole(directory: Path) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        async with DevicePlugin(GPU, directory, [Device("GPU-a", numa_nodes=(1,))]) as plugin:
            await eventually(lambda: kubelet.lists.get(GPU) == healthy("GPU-a"), "the first list")
            plugin.set_devices([Device("GPU-a", healthy=False), Device("GPU-b")])
            both = {"GPU-a": "Unhealthy", "GPU-b": "Healthy"}
            await eventually(lambda: kubelet.lists[GPU] == both, "the second")
            plugin.hold_back("GPU-b")
            await eventually(lambda: kubelet.lists[GPU] == {"GPU-a": "Unhealthy"}, "less what is held back")
            plugin.put_back("GPU-b")
            await eventually(lambda: kubelet.lists[GPU] == both, "and with it")
            heard = kubelet.heard
            plugin.set_devices([Device("GPU-a", healthy=False), Device("GPU-b")])
            plugin.set_devices([])
            await eventually(lambda: kubelet.lists[GPU] == {}, "the empty list")
            assert kubelet.heard == heard + 1  # what is no change is not pushed
        await eventually(lambda: GPU not in kubelet.lists, "the stream ended")
        assert [name for name in names_in(directory) if "gpu" in name] == []
        assert len(kubelet.registered) == 1

    play(directory, scene)


def test_a_burst_of_changes_ends_with_the_last(directory: Path) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        async with DevicePlugin(GPU, directory) as plugin:
            await eventually(lambda: GPU in kubelet.lists, "it listens")
            for count in range(200):
                plugin.set_devices([Device(f"GPU-{number}") for number in range(count)])
                if count % 7 == 0:
                    await asyncio.sleep(0)
            await eventually(lambda: len(kubelet.lists[GPU]) == 199, "the last list")

    play(directory, scene)


def test_a_refused_registration_is_tried_again_with_growing_pauses(directory: Path) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        kubelet.refuse = 4
        async with DevicePlugin(GPU, directory, [Device("GPU-a")]):
            await eventually(lambda: kubelet.lists.get(GPU) == healthy("GPU-a"), "the fifth is taken")
        pauses = [later - earlier for earlier, later in zip(kubelet.attempts, kubelet.attempts[1:], strict=False)]
        # 0.1 s, doubled each time, of which a random half may be left out
        assert [round(pause, 3) for pause in pauses if pause < 0.05] == []
        assert pauses[3] >= 0.4

    play(directory, scene)


def test_it_waits_for_a_kubelet_that_is_not_there_yet(directory: Path) -> None:
    async def all_of_it() -> None:
        async with DevicePlugin(GPU, directory, [Device("GPU-a")]) as plugin:
            await asyncio.sleep(0)
            assert not plugin.connected
            async with FakeKubelet(directory) as kubelet:
                await eventually(lambda: kubelet.lists.get(GPU) == healthy("GPU-a"), "it registers")

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def test_a_dropped_stream_is_a_reason_to_register_again(directory: Path) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        async with DevicePlugin(GPU, directory, [Device("GPU-a")]):
            await eventually(lambda: GPU in kubelet.lists, "it listens")
            await kubelet.drop(GPU)
            await eventually(lambda: kubelet.lists.get(GPU) == healthy("GPU-a"), "it listens again")
            assert len(set(kubelet.registered)) == 2  # never the same socket

    play(directory, scene)


def test_a_kubelet_that_takes_the_registration_and_does_not_listen(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nos.agent.kubelet.device_plugin.CALL_TIMEOUT_S", 0.2)

    async def scene(kubelet: FakeKubelet) -> None:
        kubelet.deaf = True
        async with DevicePlugin(GPU, directory, [Device("GPU-a")]):
            await eventually(lambda: len(kubelet.registered) == 2, "it tries again")
            kubelet.deaf = False
            await eventually(lambda: kubelet.lists.get(GPU) == healthy("GPU-a"), "it listens")

    play(directory, scene)
    assert (
        "nvidia.com/gpu: not registered with the kubelet: it took the registration, and does not listen" in caplog.text
    )


def test_a_kubelet_that_dies_after_it_took_the_registration(directory: Path) -> None:
    """The next one is not kept waiting for as long as the dead one might have taken to listen."""

    async def scene(kubelet: FakeKubelet) -> None:
        kubelet.deaf = True
        async with DevicePlugin(GPU, directory, [Device("GPU-a")]):
            await eventually(lambda: kubelet.registered, "it is registered")
            await kubelet.stop()
            kubelet.deaf = False
            await kubelet.start()
            await eventually(lambda: kubelet.lists.get(GPU) == healthy("GPU-a"), "the next one listens", within=5)

    play(directory, scene)


def test_it_stops_at_once_whatever_happens_at_that_moment(directory: Path) -> None:
    """The stream ends and the plugin is to stop, in every order: both are said in one turn of the loop."""

    async def scene(kubelet: FakeKubelet) -> None:
        for turns in range(20):
            async with DevicePlugin(GPU, directory, [Device("GPU-a")]) as plugin:
                await eventually(lambda: GPU in kubelet.lists, "it listens")
                plugin._stream_came_or_went.set()
                for _ in range(turns % 4):
                    await asyncio.sleep(0)
                async with asyncio.timeout(5):
                    await plugin.stop()

    play(directory, scene)


def test_a_new_kubelet_in_the_same_place(directory: Path) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        async with DevicePlugin(GPU, directory, [Device("GPU-a")]) as plugin:
            await eventually(lambda: GPU in kubelet.lists, "it listens")
            await kubelet.stop()
            await eventually(lambda: not plugin.connected, "the plugin sees it go")
            plugin.set_devices([Device("GPU-b")])
            await kubelet.start()
            await eventually(lambda: kubelet.lists.get(GPU) == healthy("GPU-b"), "the new one hears what is now")

    play(directory, scene)


def test_a_socket_that_somebody_removed_is_made_anew(directory: Path) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        async with DevicePlugin(GPU, directory, [Device("GPU-a")]):
            await eventually(lambda: GPU in kubelet.lists, "it listens")
            (directory / kubelet.registered[0]).unlink()
            await eventually(lambda: len(kubelet.registered) == 2, "it registers again")

    play(directory, scene)


def test_sockets_of_killed_plugins_are_removed_and_no_others(directory: Path) -> None:
    for name in ("gpu-0a1b2c3d.sock", "mig-1g.5gb-0a1b2c3d.sock"):
        script = f"import socket; socket.socket(socket.AF_UNIX).bind({str(directory / name)!r})"
        subprocess.run([sys.executable, "-c", script], check=True)

    async def all_of_it() -> None:
        async with DevicePlugin(GPU, directory, [Device("GPU-a")]) as first, DevicePlugin(GPU, directory) as second:
            kubelet = FakeKubelet(directory)
            kubelet._channels  # noqa: B018
            (directory / "kubelet.sock").touch()  # nobody listens: both make their sockets, and fail
            await eventually(lambda: first._socket and second._socket, "both listen")
            names = names_in(directory)
            assert "gpu-0a1b2c3d.sock" not in names
            assert "mig-1g.5gb-0a1b2c3d.sock" in names
            assert first._socket
            assert first._socket.name in names

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


@pytest.mark.parametrize("hand", Hand)
def test_a_container_gets_its_devices(directory: Path, hand: Hand) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        async with DevicePlugin(GPU, directory, [Device("GPU-a"), Device("GPU-b")], hand=hand):
            await eventually(lambda: GPU in kubelet.lists, "it listens")
            (container,) = (await kubelet.allocate("GPU-b", "GPU-a")).containers
            if hand is Hand.ENVIRONMENT:
                assert dict(container.environment) == {"NVIDIA_VISIBLE_DEVICES": "GPU-b,GPU-a"}
                assert not container.cdi_devices
            else:
                assert [device.name for device in container.cdi_devices] == [
                    "nvidia.com/gpu=GPU-b",
                    "nvidia.com/gpu=GPU-a",
                ]
                assert not container.environment

    play(directory, scene)


def test_what_a_container_does_not_get(directory: Path) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        devices = [Device("GPU-a"), Device("GPU-sick", healthy=False), Device("GPU-going")]
        async with DevicePlugin(GPU, directory, devices) as plugin:
            await eventually(lambda: GPU in kubelet.lists, "it listens")
            plugin.hold_back("GPU-going")
            assert (await kubelet.allocate("GPU-going")).containers  # the kubelet chose it before it knew
            plugin.keep_back("GPU-going")
            for device, why in (
                ("GPU-gone", "is not there any more"),
                ("GPU-sick", "is unhealthy"),
                ("GPU-going", "is withdrawn"),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match=f"{device} {why}"):
                    await kubelet.allocate("GPU-a", device)
                assert plugin.granted("GPU-a") is None  # all or nothing
            plugin.put_back("GPU-going")
            assert (await kubelet.allocate("GPU-going")).containers

    play(directory, scene)


def test_the_preferred_devices_come_first(directory: Path) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        async with DevicePlugin(GPU, directory, [Device(f"GPU-{name}") for name in "dcba"]) as plugin:
            await eventually(lambda: GPU in kubelet.lists, "it listens")
            assert kubelet.options
            assert kubelet.options.preferred_allocation_available
            assert not kubelet.options.pre_start_required
            call = plugin_call(kubelet.channel(), "GetPreferredAllocation", wire.PreferenceResponse)

            async def chosen(size: int, available: str, must: str = "") -> str:
                asked = wire.PreferenceRequest.Container(
                    available=[f"GPU-{name}" for name in available],
                    must_include=[f"GPU-{name}" for name in must],
                    size=size,
                )
                (container,) = (await call(wire.PreferenceRequest(containers=[asked]), timeout=5)).containers
                return "".join(device.removeprefix("GPU-") for device in container.devices)

            assert await chosen(2, "abcd") == "dc"  # as they were given
            plugin.prefer(["GPU-b", "GPU-x", "GPU-a"])
            assert await chosen(1, "abcd") == "b"
            assert await chosen(3, "abcd") == "bad"
            assert await chosen(2, "cd") == "dc"
            assert await chosen(2, "abcd", must="c") == "cb"
            assert await chosen(1, "abz") == "b"

    play(directory, scene)


def test_a_resource_stays_when_its_devices_are_gone(directory: Path) -> None:
    async def scene(kubelet: FakeKubelet) -> None:
        async with DevicePlugins(directory) as plugins:
            await plugins.set_devices({"nvidia.com/mig-1g.5gb": [Device("MIG-1")], GPU: [Device("GPU-a")]})
            await eventually(lambda: len(kubelet.lists) == 2, "both are registered")
            await plugins.set_devices({"nvidia.com/mig-3g.20gb": [Device("MIG-3")], GPU: [Device("GPU-a")]})
            expected = {
                "nvidia.com/mig-1g.5gb": {},
                "nvidia.com/mig-3g.20gb": healthy("MIG-3"),
                GPU: healthy("GPU-a"),
            }
            await eventually(lambda: kubelet.lists == expected, "one comes, one is empty")
            assert plugins.advertised() == {resource: set(devices) for resource, devices in expected.items()}
            assert plugins.of("MIG-3") is plugins["nvidia.com/mig-3g.20gb"]
            assert plugins.of("MIG-1") is None
            assert len(kubelet.registered) == 3  # nobody twice
        await eventually(lambda: not kubelet.lists, "all streams ended")

    play(directory, scene)


def test_the_generated_code_is_that_of_the_protos(tmp_path: Path) -> None:
    protos = sorted((SOURCES / "nos/agent/kubelet").glob("*.proto"))
    assert [proto.stem for proto in protos] == ["deviceplugin", "podresources"]
    out = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCES}", *out, *protos], check=True)
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 4
    for path in made:
        committed = SOURCES / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), (
            f"{committed.name} is stale: python -m grpc_tools.protoc -Ipython --python_out=python --pyi_out=python "
            "python/nos/agent/kubelet/*.proto"
        )
