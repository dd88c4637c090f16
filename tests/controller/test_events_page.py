"""docs/events.md says what the code tells."""

from __future__ import annotations

import re
from pathlib import Path

from nos.controller.events import Kind
from nos.controller.events_page import page

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    command = "python -m nos.controller.events_page docs/events.md"
    assert (ROOT / "docs" / "events.md").read_text() == page(), f"run: {command}"


def test_whatever_is_told_is_on_the_page() -> None:
    code = "".join(path.read_text() for path in (ROOT / "python" / "nos").rglob("*.py"))
    assert set(re.findall(r"\bKind\.([A-Z_]+)\b", code)) == {kind.name for kind in Kind}
    assert code.count('await self._client.request("POST", events_path(') == 1  # nothing else writes Events
    assert len(re.findall(r"import .*\bevents_path\b", code)) == 1


def test_meanings_are_sentences() -> None:
    for kind in Kind:
        assert re.fullmatch(r"[A-Z].*\.", kind.meaning), kind
        assert re.fullmatch(r"[A-Z][A-Za-z]+", kind.reason)
