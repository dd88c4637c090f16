"""The decision on a Pod, which its Binding wrote into its annotations."""

import re
from functools import lru_cache

from msgspec import Struct, field
from msgspec.json import Decoder

from nos.kube.pod import Pod

GPUS_ANNOTATION = "nos.nebuly.com/gpus"
INSTANCES_ANNOTATION = "nos.nebuly.com/instances"

_PLACEMENT = re.compile(r"([0-9]{1,4}):([0-9a-z.+-]{1,32})@([0-9]{1,2})")


class _Decision(Struct):
    gpus: str = field(default="", name=GPUS_ANNOTATION)
    instances: str = field(default="", name=INSTANCES_ANNOTATION)


_decision = Decoder(_Decision).decode


def gpus(pod: Pod) -> tuple[int, ...]:
    """The GPU slots that the decision on the Pod names; none where it names none or makes no sense."""
    if GPUS_ANNOTATION.encode() not in bytes(pod.metadata.annotations):
        return ()
    return _slots(_decision(pod.metadata.annotations).gpus)


def instances(pod: Pod) -> tuple[tuple[int, str, int], ...]:
    """The MIG instances that the decision on the Pod names: GPU slot, profile, start; none where it makes no sense."""
    if INSTANCES_ANNOTATION.encode() not in bytes(pod.metadata.annotations):
        return ()
    return placements(_decision(pod.metadata.annotations).instances)


@lru_cache(maxsize=4096)
def _slots(text: str) -> tuple[int, ...]:
    slots = text.split(",")
    if not all(slot.isascii() and slot.isdigit() and len(slot) <= 5 for slot in slots):
        return ()
    return tuple(dict.fromkeys(map(int, slots)))


@lru_cache(maxsize=4096)
def placements(text: str) -> tuple[tuple[int, str, int], ...]:
    """GPU slot, profile and start of each instance in `0:3g.40gb@4,1:1g.10gb@0`; none where it makes no sense."""
    found = [_PLACEMENT.fullmatch(part) for part in text.split(",")]
    if not all(found):
        return ()
    return tuple(dict.fromkeys((int(match[1]), match[2], int(match[3])) for match in found if match))
