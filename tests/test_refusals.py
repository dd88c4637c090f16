"""What the API server refuses to nos is noticed, and nothing else is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nos.kube.access import Access
from nos.kube.client import Client
from nos.kube.errors import ApiError
from nos.testbed import Testbed
from nos.testbed.api import Api
from nos.testbed.credentials import write_kubeconfig
from nos.testbed.testbed import NOS_USER
from tests.refusals import ACCOUNTS, Refusals

SECRETS = "/api/v1/secrets"


def ask(kubeconfig: Path, path: str) -> int:
    """As nos asks; the status."""

    async def request() -> int:
        async with Client(await asyncio.to_thread(Access.load, str(kubeconfig))) as client:
            try:
                await client.request("GET", path)
            except ApiError as error:
                return error.status
        return 200

    return asyncio.run(request())


@pytest.mark.cluster
@pytest.mark.refused
def test_what_nos_asks_for_in_vain_is_noticed_once(testbed: Testbed, refusals: Refusals, tmp_path: Path) -> None:
    assert NOS_USER in ACCOUNTS
    assert refusals.new() == []
    assert ask(testbed.kubeconfig_of(), SECRETS) == 403
    (told,) = refusals.new()
    assert told.startswith(f"{NOS_USER}: list {SECRETS}: 403 secrets is forbidden")
    assert refusals.new() == []

    wrong = tmp_path / "wrong"
    write_kubeconfig(wrong, server=testbed.server, ca_file=testbed.ca_file, user="nobody", token="wrong")
    assert ask(wrong, SECRETS) == 401
    assert {told.partition(" 401 ")[0] for told in refusals.new()} == {f"a token that is not valid: list {SECRETS}:"}


@pytest.mark.cluster
def test_what_is_answered_or_asked_by_others_is_not(testbed: Testbed, refusals: Refusals) -> None:
    assert ask(testbed.kubeconfig_of(), "/version") == 200
    assert ask(testbed.kubeconfig, SECRETS) == 200
    for token in (testbed.tokens[NOS_USER], "wrong"):  # by hand
        api = Api(testbed.ports["kube-apiserver"], token, testbed.ca_file)
        assert api.request("GET", SECRETS)[0] in (401, 403)
        api.close()
    assert refusals.new() == []
