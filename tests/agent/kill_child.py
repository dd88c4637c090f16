"""Recuts that the simulated driver kills, each in a process of its own, forked from this one, which has imported all.

The machine is a copy of one state for each try. GPU 0 has an instance that a Pod holds and others that go, GPU 1 is
switched to MIG mode and cut, GPU 2 is switched back. Prints one line of JSON per kill: what the driver was asked when
it killed, what the journal then names, whether what is in use was touched, and whether a second run did the rest.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from nos.agent.journal import Journal
from nos.testbed.nvml_sim import ANY_FUNCTION, NvmlSim, installed_library

from .rig import Rig, places, there

MODELS = ("a30-24gb", "a30-24gb", "a30-24gb")
HELD = places("1g.6gb@0")[0]
BEFORE = ((True, "1g.6gb@0 1g.6gb@1 2g.12gb@2"), (False, ""), (True, "1g.6gb@3"))
AFTER = ((True, "1g.6gb@0 1g.6gb@2 1g.6gb@3"), (True, "2g.12gb@0 1g.6gb@3"), (False, ""))
CHANGING = (
    "nvmlDeviceSetMigMode",
    "nvmlDeviceCreateGpuInstanceWithPlacement",
    "nvmlGpuInstanceCreateComputeInstance",
    "nvmlComputeInstanceDestroy",
    "nvmlGpuInstanceDestroy",
)


async def _recut_all(
    folder: Path, sim: NvmlSim, cuts: tuple[tuple[bool, str], ...], held: str, answer: Callable[[list[str]], None]
) -> None:
    async with Rig(folder, sim) as rig:
        rig.kubelet.held = {held: ("default", "runs", "main")} if held else {}
        answer([await rig.recut(index, mig, places(cut)) for index, (mig, cut) in enumerate(cuts)])


def _fork(folder: Path, sim: NvmlSim, cuts: tuple[tuple[bool, str], ...], held: str) -> tuple[int, list[str]]:
    """Recut in another process; the signal that ended it, and what it said."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:

        def answer(said: list[str]) -> None:
            os.write(writes, json.dumps(said).encode())
            os._exit(0)  # an orderly end takes longer than the work

        try:
            asyncio.run(asyncio.wait_for(_recut_all(folder, sim, cuts, held, answer), 20))
        finally:
            os._exit(1)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, json.loads(said or b'["it failed"]')


def main(folder: Path) -> None:
    """Kill at every call, then after every call that changes something."""
    sim = NvmlSim(folder / "machine", MODELS)
    gc.freeze()  # or each fork copies what the collector touches
    os.environ["NOS_NVML_SIM"] = str(sim.path)
    ctypes.CDLL(str(installed_library()))
    state = sim.path.with_name("machine.state")
    assert _fork(folder, sim, BEFORE, "") == (0, [""] * 3)
    held = there(sim, 0)[HELD]
    first = state.read_bytes()

    seconds: dict[tuple[bytes, bytes], dict[str, object]] = {}  # by state and journal: how the second run went

    def is_as_wanted(index: int) -> bool:
        mig, cut = AFTER[index]
        return sim.mig_mode(index) == (mig, mig) and set(there(sim, index)) == set(places(cut))

    def try_once(function: str, skip: int, kill: str) -> bool:
        """Whether it was killed."""
        state.write_bytes(first)
        shutil.rmtree(folder / "state")
        sim.fault(function, skip=skip, kill="before" if kill == "before" else "after")
        ended_by, _ = _fork(folder, sim, AFTER, held)
        if ended_by != signal.SIGKILL:
            return False
        sim.clear_faults()
        facts = {"function": function, "skip": skip, "kill": kill, "interrupted": Journal(folder / "state").interrupted}
        facts["untouched"] = there(sim, 0).get(HELD) == held
        left = state.read_bytes(), (folder / "state" / "journal").read_bytes()
        if left not in seconds:  # most calls change nothing: the next agent finds what it found before
            _, said = _fork(folder, sim, AFTER, held)
            facts["untouched"] &= there(sim, 0).get(HELD) == held
            seconds[left] = {"said": said, "converged": all(map(is_as_wanted, range(len(AFTER))))}
        print(json.dumps(facts | seconds[left]), flush=True)
        return True

    for function, kill in ((ANY_FUNCTION, "before"), *((changing, "after") for changing in CHANGING)):
        skip = 0
        while try_once(function, skip, kill):
            skip += 1
    print(f"{len(seconds)} second runs", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
