"""What users install and what the wheel brings is one copy: links, not files with a path in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nos.kube import crds

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SOURCE = ROOT / "python" / "nos"
LINKS = [*sorted((SOURCE / "kube" / "crds").glob("*.yaml")), SOURCE / "demo" / "rbac.yaml"]


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_it_leads_into_deploy(link: Path) -> None:
    assert DEPLOY in link.resolve().parents
    assert "apiVersion:" in link.read_text()


def test_every_kind_is_brought() -> None:
    assert {file.name for file in crds.FILES} == {file.name for file in (DEPLOY / "crds").glob("*.yaml")}
