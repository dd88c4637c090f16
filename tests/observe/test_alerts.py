"""Each alert fires when it is to and not before, by promtool; each has a runbook, and asks for what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from nos.observe.metrics.agent import AgentMetrics
from nos.observe.metrics.controller import ControllerMetrics
from tests.prometheus import RULES, promtool, write_rules

CASES = Path(__file__).with_name("alerts.yaml")
RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks.md"


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["spec"]["groups"] for rule in group["rules"]]


def test_alerts_fire_when_they_are_to(tmp_path: Path) -> None:
    written = write_rules(tmp_path / "rules.yaml")
    assert f"{len(rules())} rules found" in promtool("check", "rules", "--lint-fatal", written)
    bare = yaml.safe_load(written.read_text())
    for group in bare["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]  # values are in them, which no case needs to repeat
    written.write_text(yaml.safe_dump(bare))
    told = tmp_path / "cases.yaml"
    told.write_text(yaml.safe_dump(yaml.safe_load(CASES.read_text()) | {"rule_files": [str(written)]}))
    promtool("test", "rules", told)


def test_each_has_cases_in_which_it_fires_and_in_which_it_does_not() -> None:
    tests = [test for case in yaml.safe_load(CASES.read_text())["tests"] for test in case["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert {test["alertname"] for test in tests if test.get("exp_alerts")} == names
    assert {test["alertname"] for test in tests if not test.get("exp_alerts")} == names


def test_each_has_a_runbook_and_the_other_way_round() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert [rule["alert"] for rule in rules()] == sections
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_they_ask_for_what_there_is() -> None:
    entries = [*ControllerMetrics().book.entries, *AgentMetrics().book.entries]
    there = {entry.name: {*entry.labels, "le", "job", "instance"} for entry in entries}
    for rule in rules():
        for name in re.findall(r"\bnos_\w+", rule["expr"]):
            assert re.sub("_bucket$", "", name) in there, rule["alert"]
        for name, matchers in re.findall(r"\b(nos_\w+)\{([^}]*)\}", rule["expr"]):
            assert set(re.findall(r"(\w+)!?[=~]", matchers)) <= there[name], rule["alert"]
    for name in re.findall(r"`(nos_\w+)`", RUNBOOKS.read_text()):
        assert name in there
