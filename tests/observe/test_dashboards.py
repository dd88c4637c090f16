"""deploy/dashboards says what the code says, in Grafana's words."""

from __future__ import annotations

import json
from pathlib import Path

from nos.observe.metrics.dashboards import DASHBOARDS, text

FOLDER = Path(__file__).parents[2] / "deploy" / "dashboards"


def test_the_files_are_up_to_date() -> None:
    command = "python -m nos.observe.metrics.dashboards deploy/dashboards"
    found = {path.stem: path.read_text() for path in FOLDER.glob("*.json")}
    assert found == {each.name: text(each) for each in DASHBOARDS}, f"run: {command}"


def test_panels_fill_the_page_and_do_not_overlap() -> None:
    for each in DASHBOARDS:
        panels = json.loads(text(each))["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels) == len(each.panels)
        cells = set()
        for panel in panels:
            at = panel["gridPos"]
            taken = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert max(x for x, _ in taken) < 24
            assert not cells & taken
            cells |= taken
            assert all(target["expr"] and target["refId"] for target in panel["targets"])
