"""The agent is killed, and the machine rebooted: the next one goes on from what the driver shows."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from nos.agent.journal import Journal, alone
from nos.kube.gpunode import Spec

from .conftest import Machine
from .kill_child import CHANGING
from .rig import Rig, places, there, want

ROOT = Path(__file__).parents[2]
SPEC = Spec((want(0, True, places("1g.6gb@0 2g.12gb@2")),))


def test_killed_at_every_driver_call(folder: Path) -> None:
    argv = [sys.executable, "-m", "tests.agent.kill_child", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    for kill in kills:
        assert kill["untouched"], kill
        assert kill["converged"], kill
        assert kill["said"] == ["", "", ""], kill
        assert len(kill["interrupted"]) <= 1, kill
    # The plan: GPU 0 loses 2 of its 3 instances and gets 2, GPU 1 is switched and gets 2, GPU 2 loses 1, is switched.
    after = Counter(kill["function"] for kill in kills if kill["kill"] == "after")
    assert after == dict(zip(CHANGING, (2, 4, 4, 3, 3), strict=True))
    words = dict(zip(CHANGING, ("MIG mode", "create", "create", "destroy", "destroy"), strict=True))
    for kill in kills:
        if kill["kill"] == "after":
            assert words[kill["function"]] in kill["interrupted"][0], kill
    steps = {step for kill in kills for step in kill["interrupted"]}
    assert steps == {
        "GPU 0: destroy 1g.6gb@1",
        "GPU 0: destroy 2g.12gb@2",
        "GPU 0: create 1g.6gb@2",
        "GPU 0: create 1g.6gb@3",
        "GPU 1: MIG mode on",
        "GPU 1: create 2g.12gb@0",
        "GPU 1: create 1g.6gb@3",
        "GPU 2: destroy 1g.6gb@3",
        "GPU 2: MIG mode off",
    }
    print(f"{len(kills)} kills")


@pytest.mark.parametrize(
    ("left", "restored", "interrupted"),
    [
        (b"", Spec(), []),
        (b"\n\n", Spec(), []),
        (b"garbage", Spec(), []),
        (b'{"gpus": 7}\n{"begun": "x"}\n', Spec(), []),
        (b"\xff\xfe\x00", Spec(), []),
        (b'{"gpus":[{"index":0,"mig":tr', Spec(), []),
        (b'SPEC\n{"begun": "a"}\n{"done": "a"}\n{"begun": "b"}\n', SPEC, ["b"]),
        (b'SPEC\n{"begun": "a"}\n{"failed": "a", "why": "b"}\n{"begun": "c"}\n{"do', SPEC, ["c"]),
        (b'SPEC\n{"begun": "a"}\n\xff\xfe\n[1]\n7\n{"done": ["x"]}\n', SPEC, ["a"]),
    ],
)
def test_whatever_a_kill_left_in_the_journal(
    tmp_path: Path, left: bytes, restored: Spec, interrupted: list[str]
) -> None:
    spec = msgspec.json.encode(SPEC)
    (tmp_path / "journal").write_bytes(left.replace(b"SPEC", spec))
    (tmp_path / "journal.new").write_bytes(b"half of a newer o")
    journal = Journal(tmp_path)
    assert (journal.spec, journal.interrupted) == (restored, interrupted)
    again = Journal(tmp_path)  # what was read is written anew, whole
    assert (again.spec, again.interrupted) == (restored, [])


def test_the_journal_says_what_was_begun_and_does_not_grow_for_ever(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write_spec(SPEC)
    with journal.step("first"):
        assert Journal(tmp_path).interrupted == ["first"]
        journal.write_spec(SPEC)  # a spec that comes in between
        assert Journal(tmp_path).interrupted == ["first"]
    journal = Journal(tmp_path)
    with pytest.raises(ValueError, match="because"), journal.step("second"):
        raise ValueError("because")
    for number in range(2000):
        with journal.step(f"step {number}"):
            pass
    assert (Journal(tmp_path).spec, Journal(tmp_path).interrupted) == (SPEC, [])
    assert (tmp_path / "journal").read_bytes().count(b"\n") < 1010


def test_a_disk_that_is_gone_does_not_stop_the_work(
    folder: Path, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    sim = machine("a30-24gb")

    async def scene() -> None:
        async with Rig(folder, sim) as rig:
            (folder / "state" / "journal").unlink()
            (folder / "state").rmdir()
            (folder / "state").write_text("not a directory")
            rig.journal.write_spec(SPEC)
            assert rig.journal.spec == SPEC
            assert await rig.recut(0, True, places("1g.6gb@0")) == ""

    asyncio.run(asyncio.wait_for(scene(), 30))
    assert set(there(sim, 0)) == set(places("1g.6gb@0"))
    assert "was not written" in caplog.text


def test_two_agents_do_not_share_a_directory(tmp_path: Path) -> None:
    one, other = alone(tmp_path / "new"), alone(tmp_path / "new")
    with one, pytest.raises(OSError, match="another agent is at work here"), other:
        pass
    with alone(tmp_path / "new"):
        pass


@pytest.mark.parametrize("model", ["a30-24gb", "h100-80gb"])
def test_after_a_reboot_the_journal_brings_the_cut_back(folder: Path, machine: Machine, model: str) -> None:
    """Ampere keeps its mode over a reboot, Hopper does not; instances are gone on both."""
    sim = machine(model)
    small = "1g.6gb" if model == "a30-24gb" else "1g.10gb"
    spec = Spec((want(0, True, places(f"{small}@0 {small}@1")),))

    async def life() -> None:
        async with Rig(folder, sim) as rig:
            for each in rig.journal.spec.gpus:
                assert await rig.recut(each.index, each.mig, places(f"{small}@0 {small}@1")) == ""
            await rig.told()
            assert rig.advertised() == rig.usable()

    Journal(folder / "state").write_spec(spec)
    asyncio.run(asyncio.wait_for(life(), 30))
    before = there(sim, 0)
    sim.reboot()
    assert there(sim, 0) == {}
    asyncio.run(asyncio.wait_for(life(), 30))
    assert there(sim, 0).keys() == before.keys()
    assert not set(there(sim, 0).values()) & set(before.values())


def test_a_name_of_an_interrupted_step_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Journal(tmp_path).step("GPU 0: create 1g.6gb@0"):
        pass
    assert [record.message for record in caplog.records] == ["GPU 0: create 1g.6gb@0"]
