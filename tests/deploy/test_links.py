"""What users install and what the wheel brings is one copy: links, not files with a path in them."""

from __future__ import annotations

from pathlib import Path

import pytest

import nos.demo
from nos.kube import crds

DEPLOY = Path(__file__).parents[2] / "deploy"
LINKS = [*crds.FILES, Path(nos.demo.__file__).with_name("rbac.yaml")]


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_it_leads_into_deploy(link: Path) -> None:
    assert DEPLOY in link.resolve().parents
    assert "apiVersion:" in link.read_text()


def test_every_kind_is_brought() -> None:
    assert {file.name for file in crds.FILES} == {file.name for file in (DEPLOY / "crds").glob("*.yaml")}
