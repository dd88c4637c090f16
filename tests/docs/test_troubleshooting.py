"""Each Reason that the code can give has an entry in docs/operate/troubleshooting.md, and no other has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from nos.controller.events import Kind
from nos.controller.scaling import scale_up
from nos.kube import encode

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate" / "troubleshooting.md").read_text()


def entries(*titles: str) -> set[str]:
    """The Reasons in the first cells of the tables under these titles; of GPUNode's in the second."""
    found = set()
    for title in titles:
        for row in PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0].splitlines():
            cells = [cell.strip() for cell in row.strip("|").split("|")] if row.startswith("| `") else []
            found |= set(re.findall(r"`(\w+)`", cells[title == "GPUNode"])) if cells else set()
    return found


def words(path: str) -> set[str]:
    """The texts of a file of the code that are one word in the manner of a Reason."""
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if re.fullmatch(r"[A-Z][a-z]+([A-Z][a-z]+)*", text)}


def test_why_pods_wait() -> None:
    names = (ROOT / "cpp/scheduling/reason.cpp").read_text().partition("{\n")[2].partition("};")[0]
    core = set(re.findall(r'"([A-Z]\w+)"', names))
    enum = (ROOT / "cpp/scheduling/reason.h").read_text().partition("enum class ReasonCode")[2].partition("};")[0]
    assert {
        "".join(word.title() for word in name.split("_")) for name in re.findall(r"^    (\w+),", enum, re.M)
    } == core
    controller = {encode.CUTTING, encode.BINDING_VOLUMES, scale_up.NODE_ORDERED, scale_up.NODE_WANTED}
    titles = ("Room", "The Pod's own rules, and the nodes'", "Volumes", "Gangs and quotas", "On its way")
    assert entries(*titles) == core | controller


def test_what_becomes_of_them() -> None:
    told = {kind.reason for kind in Kind}
    assert entries("After it had a node") <= told
    # The others are told while it waits, and are what the tables above are about.
    assert told - entries("After it had a node") == {
        *("Scheduled", "FailedScheduling", "Repartitioning", "Preempting", "NodeOrdered", "NodeNotMade")
    }


def test_gpu_nodes() -> None:
    assert entries("GPUNode") == words("python/nos/agent/report.py") - {"Ready"}


def test_quotas() -> None:
    assert entries("Quotas") == words("python/nos/controller/quota_claims.py")
