"""What happened to a controller once is decided alike ever after. Files are made by nos record --scrub.

Where no more than the core has other words, `nos.record.scrub` of a file writes them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from nos.record.replay import replay

INCIDENTS = sorted(Path(__file__).with_name("incidents").glob("*.jsonl"))


def test_there_are_some() -> None:
    assert INCIDENTS


@pytest.mark.parametrize("file", INCIDENTS, ids=lambda file: file.stem)
def test_it_is_decided_again_alike(file: Path) -> None:
    with file.open("rb") as lines:
        done = replay(lines)
    assert done.differences == []
    assert done.cycles
