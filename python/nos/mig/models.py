"""`models.json`: one entry per GPU model that can be cut, 20 of them.

Starts and sizes are in the model's placement units; an instance covers [start, start + size). Everything else, such as
the geometries, follows from four rules: instances do not overlap; of each profile at most `max_instances`; compute
slices sum to at most the model's; and so does each engine that `engine_totals` names.

`gi_profile_id`, `memory_mib` and `multiprocessors` differ by driver, or are not published (None): an agent asks NVML.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import msgspec


class Engines(msgspec.Struct, frozen=True):
    """The engines that come with an instance."""

    copy: int
    decoder: int
    encoder: int
    jpeg: int
    ofa: int


class Profile(msgspec.Struct, frozen=True):
    """One way to cut an instance, as NVML names it without its "MIG ": `1g.10gb+me`.

    NVML is asked for a profile by `gi_profile_enum`; it answers with `gi_profile_id`, another number, which is what
    creates an instance. `ci_profile_full` is the enum of the compute instance that fills the GPU instance.
    """

    name: str
    gi_profile_enum: int
    gi_profile_id: int | None
    ci_profile_full: int
    compute_slices: int
    starts: tuple[int, ...]
    size: int
    memory_mib: int | None
    max_instances: int
    multiprocessors: int | None
    engines: Engines


class Model(msgspec.Struct, frozen=True):
    """A GPU model. `name_patterns` are regular expressions for its product name; `engine_totals` has the engines that
    instances do not share, so that they limit what fits."""

    id: str
    architecture: str
    name_patterns: tuple[str, ...]
    pci_device_ids: tuple[str, ...]
    memory_mib: int | None
    units: int
    compute_slices: int
    engine_totals: dict[str, int]
    profiles: tuple[Profile, ...]

    def profile(self, name: str) -> Profile | None:
        """The profile of that name."""
        return next((profile for profile in self.profiles if profile.name == name), None)


@cache
def models() -> tuple[Model, ...]:
    """All that are known."""
    content = resources.files(__package__).joinpath("models.json").read_bytes()
    return msgspec.json.decode(content, type=tuple[Model, ...])


def find(model_id: str) -> Model | None:
    """The model with that id, such as `a100-40gb`."""
    return next((model for model in models() if model.id == model_id), None)


def recognize(product_name: str) -> Model | None:
    """The model of a GPU from its NVML name (`NVIDIA A100-SXM4-40GB`) or from the node label `nvidia.com/gpu.product`
    (`NVIDIA-A100-SXM4-40GB`, with `-SHARED` or `-MIG-1g.5gb` behind it where the GPU is shared or cut).

    None where no pattern matches whole words of it. Of several, the one that explains most of the name is right:
    `H800 NVL` is not `H800`.
    """
    name = re.sub(r"([- ]MIG[- ].*)?(-SHARED)?$", "", product_name, count=1)
    spellings = {name, name.replace("-", " "), name.replace(" ", "-")}
    matches = (
        (len(match[0]), model)
        for model in models()
        for pattern in model.name_patterns
        for spelling in spellings
        if (match := re.search(rf"(?<!\w)(?:{pattern})(?!\w)", spelling))
    )
    return max(matches, key=lambda match: match[0], default=(0, None))[1]
