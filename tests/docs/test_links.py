"""Where the repository is read, each link of the documentation leads to a file, and to a heading that it has."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(DOCS.rglob("*.md")),
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "cpp/README.md", "deploy/chart/README.md")
    ),
]
_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def text(page: Path) -> str:
    """A page without its code, which has no links and no headings."""
    return _FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Of the headings: lower case, without punctuation, spaces as dashes; the second of two is numbered."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = base = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        number = 0
        while name in found:
            number += 1
            name = f"{base}-{number}"
        found.add(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(text(page)):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        to = (page.parent / name).resolve() if name else page
        assert to.is_file(), f"{link}: no such file"
        assert to.is_relative_to(ROOT)
        assert not anchor or anchor in anchors(to), f"{link}: {to.name} has {sorted(anchors(to))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lists_are_lists_everywhere(page: Path) -> None:
    """Where the site is made, a list needs an empty line before it, and what is in an item is indented by 4 spaces or
    stands in the item's own paragraph."""
    lines = text(page).splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"(- |\d+\. )", line) and before.strip() and not re.match(r"(- |\d+\. |\s)", before):
            pytest.fail(f"no empty line before: {line}")


def test_all_pages_are_named_on_the_way_in() -> None:
    """Whoever reads the repository finds each page from README.md or docs/index.md by links."""
    seen: set[Path] = set()
    todo = [ROOT / "README.md", DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for link in _LINK.findall(text(page)):
            if not link.startswith("http") and (name := link.partition("#")[0]):
                todo.append((page.parent / name).resolve())
    assert set(DOCS.rglob("*.md")) <= seen


def test_what_is_said_to_be_tested_names_its_tests() -> None:
    named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) >= 7
    assert [name for name in named if not list(ROOT.glob(f"tests/**/{name.removeprefix('tests/')}"))] == []
