"""How the cluster was: a day of samples, the last hour of it in detail."""

from collections import Counter, deque
from collections.abc import Sequence

from msgspec import Struct

EVERY_S = 15.0
_FINE = 240  # samples: an hour
_MERGED = 12  # fine ones make a coarse one: three minutes
_COARSE = 460  # samples: 23 hours


class Sample(Struct, array_like=True, frozen=True):
    """The cluster at one time."""

    at: float  # seconds since 1970
    gpus: int
    used: int  # thousandths of GPUs
    waiting: int
    fragmentation: float
    happened: dict[str, int]  # since the sample before, by the kind of Moment


class History:
    """`add` one every EVERY_S."""

    def __init__(self) -> None:
        self._fine: deque[Sample] = deque()
        self._coarse: deque[Sample] = deque(maxlen=_COARSE)

    def add(self, sample: Sample) -> None:
        """The newest."""
        self._fine.append(sample)
        if len(self._fine) == _FINE + _MERGED:
            self._coarse.append(_merged([self._fine.popleft() for _ in range(_MERGED)]))

    def samples(self) -> list[Sample]:
        """All that is kept, the oldest first."""
        return [*self._coarse, *self._fine]


def _merged(samples: Sequence[Sample]) -> Sample:
    """Means, and what happened altogether."""
    happened: Counter[str] = Counter()
    for sample in samples:
        happened.update(sample.happened)
    count = len(samples)
    return Sample(
        samples[-1].at,
        samples[-1].gpus,
        sum(sample.used for sample in samples) // count,
        sum(sample.waiting for sample in samples) // count,
        sum(sample.fragmentation for sample in samples) / count,
        dict(happened),
    )
