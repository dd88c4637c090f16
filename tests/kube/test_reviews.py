"""What is made of the API server's answers about a user. The real ones are in tests/observe/dashboard."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from nos.kube.client import Client
from nos.kube.reviews import User, may


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (b'{"allowed":true}', True),
        (b'{"allowed":true,"denied":false}', True),
        (b'{"allowed":false}', False),  # no authorizer has an opinion
        (b'{"allowed":false,"denied":true}', False),
        (b'{"allowed":true,"denied":true}', False),  # it contradicts itself
        (b"{}", False),
    ],
)
def test_only_a_plain_yes_lets_in(status: bytes, expected: bool) -> None:
    class ApiServer:
        async def request(self, *_: object, **__: object) -> bytes:
            return b'{"status":%s}' % status

    assert asyncio.run(may(cast(Client, ApiServer()), User("u"), "get", "/dashboard")) == expected
