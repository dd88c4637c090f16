"""A simulated machine with NVIDIA GPUs, for whoever speaks to the driver through NVML.

A process with `NvmlSim.environment` in its own loads our libnvidia-ml.so.1 (cpp/nvml_sim) in the driver's place. All
such processes share one machine: its GPUs are in a configuration file, all that changes is in a state file beside it,
edited under a lock and replaced whole. This module writes both and edits the second, from outside: it reboots the
machine, takes a GPU away, starts processes, and makes calls fail, wait, or kill their caller. What it says about the
GPUs it reads from the state itself, without NVML, so that assertions do not lean on what they check.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from nos.mig import find

from .errors import TestbedError
from .nvml_models import SimulatedGpu, configuration, profile_id

LIBRARY = "libnvidia-ml.so.1"
FOREVER = NO_ID = 0xFFFFFFFF
ANY_FUNCTION = "*"
XID = 0x8  # the type of event

Words = list[str]


@dataclass(frozen=True)
class SimulatedInstance:
    """A GPU instance. `devices` are the UUIDs of the MIG devices in it: none while it has no compute instance."""

    profile: str
    start: int
    id: int
    devices: tuple[str, ...]


class NvmlSim:
    """One machine, switched on by the constructor. `models` are ids of `nos.mig`, such as `["a100-40gb"] * 8`, or names
    of GPUs without MIG, such as `L4`. With `reset_needs_reboot` a GPU cannot be reset alone, as in some virtual
    machines. `library` is another build of the driver."""

    def __init__(
        self, path: Path, models: Sequence[str], *, reset_needs_reboot: bool = False, library: Path | None = None
    ) -> None:
        self.path = path.absolute()
        self.library = library or installed_library()
        self.gpus = tuple(
            SimulatedGpu(
                index,
                model,
                f"GPU-{uuid.uuid5(uuid.NAMESPACE_URL, f'{self.path.as_uri()}/{index}')}",
                f"00000000:{7 + 8 * index:02X}:00.0",
            )
            for index, model in enumerate(models)
        )
        self.path.write_text(configuration(self.gpus, reset_needs_reboot=reset_needs_reboot))
        with self._lock():
            self._save([["serial", "0"], ["permitted", "1"], *(_gpu_off(gpu.index) for gpu in self.gpus)])

    @property
    def environment(self) -> Mapping[str, str]:
        """What a child process needs beside its own environment."""
        folders = [str(self.library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {"LD_LIBRARY_PATH": os.pathsep.join(folders), "NOS_NVML_SIM": str(self.path)}

    def instances(self, gpu: int) -> tuple[SimulatedInstance, ...]:
        """What this GPU is cut into, by start."""
        lines = self._load()
        model = find(self.gpus[gpu].model)
        names = {profile_id(model, profile): profile.name for profile in model.profiles} if model else {}
        of_this = [line for line in lines if line[1] == str(gpu)]
        devices = [(within, mig) for _, _, within, *_, mig in (line for line in of_this if line[0] == "ci")]
        found = [
            SimulatedInstance(
                names[int(profile)], int(start), int(number), tuple(mig for within, mig in devices if within == number)
            )
            for _, _, number, profile, start, *_ in (line for line in of_this if line[0] == "gi")
        ]
        return tuple(sorted(found, key=lambda instance: instance.start))

    def mig_mode(self, gpu: int) -> tuple[bool, bool]:
        """Whether MIG mode is on, and whether it will be after the next reset or reboot."""
        current, pending = _gpu_line(self._load(), gpu)[2:4]
        return current == "1", pending == "1"

    def reboot(self) -> None:
        """Everything that ran is gone, and so are all instances. Ampere keeps its MIG mode, and what was pending
        becomes current; later architectures forget it. A GPU that was lost is back. Faults stay."""
        with self._edit() as lines:
            lines[:] = [line for line in lines if line[0] not in ("gi", "ci", "process", "event")]
            for gpu in self.gpus:
                line = _gpu_line(lines, gpu.index)
                model = find(gpu.model)
                keeps = model is not None and model.architecture == "ampere"
                pending = line[3] if keeps else "0"
                line[:] = [*line[:2], pending, pending, "0", _next_serial(lines), "0", "0"]

    def fault(
        self,
        function: str,
        *,
        result: int = 0,
        skip: int = 0,
        count: int = 1,
        delay_ms: int = 0,
        kill: Literal["never", "before", "after"] = "never",
    ) -> None:
        """Of the next calls of this function, by whichever process, the first `skip` pass; the `count` after them are
        delayed, return `result` without effect unless it is 0, or kill their caller before or after the effect.

        The function is named without the version at its end (`nvmlDeviceGetMemoryInfo`), or is ANY_FUNCTION.
        """
        if function != ANY_FUNCTION and f"\0{function}\0".encode() not in self.library.read_bytes():
            raise TestbedError(f"the simulated driver has no {function}: name it without _v2 or the like at its end")
        with self._edit() as lines:
            lines.append(["fault", function, *map(str, (skip, count, result, delay_ms)), kill])

    def faults(self) -> tuple[str, ...]:
        """The functions whose faults have not all happened yet."""
        return tuple(line[1] for line in self._load() if line[0] == "fault")

    def clear_faults(self) -> None:
        """Calls do what they should again."""
        with self._edit() as lines:
            lines[:] = [line for line in lines if line[0] != "fault"]

    def permit(self, allowed: bool) -> None:
        """Whether callers may see and change how GPUs are cut, as root may."""
        with self._edit() as lines:
            next(line for line in lines if line[0] == "permitted")[1] = str(int(allowed))

    def start_process(
        self, gpu: int, pid: int, mib: int, *, gpu_instance: int | None = None, compute_instance: int = 0
    ) -> None:
        """A process computes on a GPU, or on a compute instance in one of its GPU instances, and holds memory there."""
        within = [str(NO_ID)] * 2 if gpu_instance is None else [str(gpu_instance), str(compute_instance)]
        with self._edit() as lines:
            if gpu_instance is not None and not any(line[:4] == ["ci", str(gpu), *within] for line in lines):
                raise TestbedError(f"GPU {gpu} has no compute instance {compute_instance} in {gpu_instance}")
            lines.append(["process", str(gpu), str(pid), str(mib), *within])

    def end_process(self, pid: int) -> None:
        """The process is gone, from all GPUs."""
        with self._edit() as lines:
            lines[:] = [line for line in lines if (line[0], line[2:3]) != ("process", [str(pid)])]

    def xid(self, gpu: int, code: int, *, gpu_instance: int = NO_ID, compute_instance: int = NO_ID) -> None:
        """A critical error happens, of which whoever registered for events of this GPU is told."""
        with self._edit() as lines:
            serial = _next_serial(lines)
            lines.append(["event", serial, *map(str, (gpu, XID, code, gpu_instance, compute_instance))])

    def lose(self, gpu: int) -> None:
        """The GPU falls off the bus, until the next reboot."""
        with self._edit() as lines:
            _gpu_line(lines, gpu)[4] = "1"

    def set_utilization(self, gpu: int, *, compute: int, memory: int) -> None:
        """How busy the GPU is, and its memory, in percent."""
        with self._edit() as lines:
            _gpu_line(lines, gpu)[6:8] = [str(compute), str(memory)]

    # The rest is cpp/nvml_sim/store.cpp and state.cpp again.

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with self._beside(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _edit(self) -> Iterator[list[Words]]:
        with self._lock():
            lines = self._load()
            yield lines
            self._save(lines)

    def _load(self) -> list[Words]:
        return [line.split(" ") for line in self._beside(".state").read_text().splitlines()]

    def _save(self, lines: list[Words]) -> None:
        unfinished = self._beside(".state.tmp")
        unfinished.write_text("".join(f"{' '.join(words)}\n" for words in lines))
        unfinished.replace(self._beside(".state"))

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def installed_library() -> Path:
    """The simulated driver that was built with nos."""
    library = Path(str(resources.files(__package__).joinpath("lib"))) / LIBRARY
    if not library.exists():
        raise TestbedError(f"the simulated driver was not built, there is no {library}: run `make build`")
    return library


def _gpu_off(index: int) -> Words:
    """Not cut, not lost, first epoch, idle."""
    return ["gpu", str(index), *"000000"]


def _gpu_line(lines: list[Words], gpu: int) -> Words:
    found = next((line for line in lines if line[:2] == ["gpu", str(gpu)]), None)
    if found is None:
        raise TestbedError(f"the simulated machine has no GPU {gpu}")
    return found


def _next_serial(lines: list[Words]) -> str:
    line = next(line for line in lines if line[0] == "serial")
    line[1] = str(int(line[1]) + 1)
    return line[1]
