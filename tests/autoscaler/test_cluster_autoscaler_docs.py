"""The configurations of docs/autoscaling/cluster-autoscaler.md are what they claim to be."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import yaml

from nos.autoscaler.cluster_autoscaler import NAME
from nos.controller import settings
from nos.controller.scaling.backends import backends, looked_at
from tests.controller.scaling.test_scale_up import Server

DOC = (Path(__file__).parents[2] / "docs" / "autoscaling" / "cluster-autoscaler.md").read_text()
EXPANDER, PROVIDER = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)


def load(tmp_path: Path, text: str) -> settings.Settings:
    path = tmp_path / "nos.yaml"
    path.write_text(text)
    return settings.load(str(path))


def test_the_expander_knows_the_groups_and_orders_none(tmp_path: Path) -> None:
    scaling = load(tmp_path, EXPANDER).scaling

    async def groups() -> None:
        client = Server()
        (declared,) = looked_at(scaling, client, backends(scaling, client))
        (group,) = (await declared.survey()).groups
        assert (group.id, group.by, group.price, group.problem) == ("eks-h100-8x", NAME, 55_040_000, "")

    asyncio.run(groups())


def test_the_provider_fronts_a_backend(tmp_path: Path) -> None:
    scaling = load(tmp_path, PROVIDER).scaling
    assert scaling.cluster_autoscaler
    assert list(scaling.cluster_autoscaler.layouts["h100"]) == ["inference", "training"]

    async def fronted() -> None:
        client = Server()
        made = backends(scaling, client)
        (looked,) = looked_at(scaling, client, made)
        assert (made[0].name, looked.name) == ("webhook", "webhook")
        assert looked is not made[0]

    asyncio.run(fronted())


def test_the_flags_name_the_address() -> None:
    port = yaml.safe_load(EXPANDER)["scaling"]["clusterAutoscaler"]["address"].rpartition(":")[2]
    assert f"--grpc-expander-url=nos.nebuly-nos:{port}" in DOC
