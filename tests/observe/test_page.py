"""docs/metrics.md says what the code measures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from nos.observe.metrics.agent import AgentMetrics
from nos.observe.metrics.book import Entry
from nos.observe.metrics.controller import ControllerMetrics
from nos.observe.metrics.page import page
from tests.prometheus import promtool

DOCS = Path(__file__).parents[2] / "docs"
ENTRIES = [*ControllerMetrics().book.entries, *AgentMetrics().book.entries]
# Of a bounded set, whatever users do: nodes, groups, quotas and priorities are what admins make.
LABELS = {
    *("result", "reason", "priority", "quota", "state", "node", "model", "cause", "resource", "group", "verb", "code"),
    *("version", "gpu", "profile", "start", "xid", "operation"),
}


def test_the_page_is_up_to_date() -> None:
    command = "python -m nos.observe.metrics.page docs/metrics.md"
    assert (DOCS / "metrics.md").read_text() == page(), f"run: {command}"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_names_and_labels(entry: Entry) -> None:
    assert re.fullmatch(r"nos_[a-z_]+", entry.name)
    assert entry.name.endswith("_total") == (entry.kind == "counter")
    assert entry.kind != "histogram" or entry.name.endswith("_seconds")
    assert set(entry.labels) <= LABELS
    assert entry.help.endswith(".") or "1, with" in entry.help


def test_each_is_entered_once() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(names) == len(set(names)) > 40


def test_prometheus_understands_what_it_is_told(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", page(), re.DOTALL)
    token = tmp_path / "token"
    token.write_text("secret")
    told = yaml.safe_load(shown.replace("/var/run/secrets/kubernetes.io/serviceaccount/token", str(token)))
    assert told["scrape_configs"][0].pop("kubernetes_sd_configs") == [{"role": "pod"}]  # Debian's is made without that
    config = tmp_path / "prometheus.yaml"
    config.write_text(yaml.safe_dump(told))
    assert "SUCCESS" in promtool("check", "config", config)


def test_links() -> None:
    assert "(metrics.md)" in (DOCS / "controller.md").read_text()
    assert "(metrics.md)" in (DOCS / "agent.md").read_text()
