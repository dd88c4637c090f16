"""What the simulated driver is told about a machine: its GPUs, and all that NVML would say about their models.

The facts are those of `nos.mig`. What is not published there (None) is made up, alike for each run: the simulator has
an answer where NVML would have one, and nobody may count on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nos.mig import Model, Profile, find, models

from .errors import TestbedError
from .nodes import CUDA, DRIVER, MODELS

# As NVML names them, and their CUDA compute capability.
PRODUCTS = {
    "a30-24gb": ("NVIDIA A30", "8.0"),
    "a100-40gb": ("NVIDIA A100-SXM4-40GB", "8.0"),
    "a800-40gb": ("NVIDIA A800-SXM4-40GB", "8.0"),
    "a100-80gb": ("NVIDIA A100-SXM4-80GB", "8.0"),
    "a800-80gb": ("NVIDIA A800-SXM4-80GB", "8.0"),
    "h100-80gb": ("NVIDIA H100 80GB HBM3", "9.0"),
    "h800-80gb": ("NVIDIA H800", "9.0"),
    "h100-94gb": ("NVIDIA H100 NVL", "9.0"),
    "h100-96gb": ("NVIDIA GH200 480GB", "9.0"),
    "h20-96gb": ("NVIDIA H20", "9.0"),
    "h200-141gb": ("NVIDIA H200", "9.0"),
    "gh200-144gb": ("NVIDIA GH200 144G HBM3e", "9.0"),
    "b200-180gb": ("NVIDIA B200", "10.0"),
    "gb200-186gb": ("NVIDIA GB200", "10.0"),
    "gb200-189gb": ("NVIDIA GB200", "10.0"),  # the same product as another driver cuts it
    "b300-269gb": ("NVIDIA B300 SXM6 AC", "10.3"),
    "gb300-278gb": ("NVIDIA GB300", "10.3"),
    "rtxpro6000-96gb": ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "12.0"),
    "rtxpro5000-48gb": ("NVIDIA RTX PRO 5000 Blackwell", "12.0"),
    "rtxpro4500-32gb": ("NVIDIA RTX PRO 4500 Blackwell", "12.0"),
}
ARCHITECTURES = {"volta": 5, "turing": 6, "ampere": 7, "ada-lovelace": 8, "hopper": 9, "blackwell": 10}

# Profile ids by profile enum, for models whose ids nobody published: those of their closest kin.
IDS_OF_8_UNITS = {0: 19, 7: 20, 9: 15, 1: 14, 2: 9, 3: 5, 4: 0}
IDS_OF_FEWER = {0: 14, 7: 21, 10: 47, 15: 65, 13: 67, 1: 5, 11: 35, 16: 64, 14: 66, 3: 0, 12: 32}

# The order in which the driver tries starts that it chooses itself, by compute slices: the simplest rule that gives
# what NVIDIA's MIG user guide shows on an A100. Elsewhere nothing is known: the last start comes first, which is the
# least like what a caller who hopes for the first would get.
PREFERRED_STARTS = {1: (6, 4, 5, 0, 1, 2, 3), 2: (4, 0, 2), 3: (4, 0)}

# Compute slices by the enum of compute instance profiles. Hardware answers with ids that equal the enums; here they do
# not, so that a caller who creates by the enum, which NVML does not promise to work, finds out.
COMPUTE_SLICES = {0: 1, 1: 2, 2: 3, 3: 4, 4: 7}
FIRST_COMPUTE_ID = 16

PCI_DEVICE_UNKNOWN = "0xFFFF10DE"
MULTIPROCESSORS_PER_SLICE = 16


@dataclass(frozen=True)
class SimulatedGpu:
    """One GPU of a machine. `model` is an id of `nos.mig`, or the name of a GPU in `nodes.MODELS` without MIG."""

    index: int
    model: str
    uuid: str
    pci_bus_id: str


def configuration(gpus: Sequence[SimulatedGpu], *, reset_needs_reboot: bool) -> str:
    """The text that cpp/nvml_sim/configuration.cpp reads."""
    lines = [
        f"driver {'.'.join(DRIVER)}",
        f"cuda {int(CUDA[0]) * 1000 + int(CUDA[1]) * 10}",
        *(f"compute-profile {enum} {FIRST_COMPUTE_ID + enum} {slices}" for enum, slices in COMPUTE_SLICES.items()),
    ]
    for name in dict.fromkeys(gpu.model for gpu in gpus):
        lines.extend(model_lines(name))
    lines.extend(f"gpu {gpu.uuid} {gpu.pci_bus_id} {int(reset_needs_reboot)} {gpu.model}" for gpu in gpus)
    return "\n".join(lines) + "\n"


def model_lines(name: str) -> Iterable[str]:
    """What is known of one model."""
    if model := find(name):
        product, compute = PRODUCTS[name]
        switch = "by-reset" if model.architecture == "ampere" else "live"
        device = next(iter(model.pci_device_ids), PCI_DEVICE_UNKNOWN)
        numbers = f"{ARCHITECTURES[model.architecture]} {compute.replace('.', ' ')} {device} {memory_mib(model)}"
        yield f"model {name} {numbers} {switch} {model.units} {model.compute_slices} {product}"
        yield from (f"engine {engine} {total}" for engine, total in model.engine_totals.items())
        yield from (profile_line(model, profile) for profile in model.profiles)
    elif (plain := MODELS.get(name)) and not plain.mig:
        numbers = f"{ARCHITECTURES[plain.family]} {plain.compute.replace('.', ' ')} {PCI_DEVICE_UNKNOWN}"
        yield f"model {name} {numbers} {plain.memory_mib} none 0 0 {plain.product.replace('-', ' ', 1)}"
    else:
        known = [*(model.id for model in models()), *(name for name, plain in MODELS.items() if not plain.mig)]
        raise TestbedError(f"no GPU model {name!r} to simulate: take one of {', '.join(known)}")


def profile_line(model: Model, profile: Profile) -> str:
    """One profile of a model."""
    engines = profile.engines
    preferred = tuple(reversed(profile.starts))
    if model.units == 8:
        preferred = PREFERRED_STARTS.get(profile.compute_slices, preferred)
    words = [
        profile.gi_profile_enum,
        profile_id(model, profile),
        profile.compute_slices,
        profile.size,
        memory_mib(model) * profile.size // model.units if profile.memory_mib is None else profile.memory_mib,
        profile.max_instances,
        profile.multiprocessors or MULTIPROCESSORS_PER_SLICE * profile.compute_slices,
        *(engines.copy, engines.decoder, engines.encoder, engines.jpeg, engines.ofa),
        profile.ci_profile_full,
        ",".join(map(str, profile.starts)),
        ",".join(str(start) for start in preferred if start in profile.starts),
        profile.name,
    ]
    return f"profile {' '.join(map(str, words))}"


def profile_id(model: Model, profile: Profile) -> int:
    """What the driver calls the profile."""
    if profile.gi_profile_id is not None:
        return profile.gi_profile_id
    return (IDS_OF_8_UNITS if model.units == 8 else IDS_OF_FEWER)[profile.gi_profile_enum]


def memory_mib(model: Model) -> int:
    """The memory of a whole GPU: that in its largest profile's name where no better number is known."""
    if model.memory_mib is not None:
        return model.memory_mib
    return 1024 * max(int(re.findall(r"\d+", profile.name)[1]) for profile in model.profiles)
