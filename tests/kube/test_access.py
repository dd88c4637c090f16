"""Kubeconfigs of every kind, read by way of the kubernetes package."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from nos.kube.access import Access
from nos.kube.errors import ConfigError


def kubeconfig(directory: Path, user: dict[str, Any], server: str = "http://127.0.0.1:1") -> str:
    path = directory / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(config))
    return str(path)


def plugin(directory: Path, status: dict[str, Any]) -> dict[str, Any]:
    """An exec plugin that counts its runs in its token."""
    script, count = directory / "plugin", directory / "count"
    script.write_text(
        f"""#!{sys.executable}
import json, pathlib
count = pathlib.Path({str(count)!r})
runs = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(runs))
status = {status!r}
if "token" in status:
    status["token"] += f"-{{runs}}"
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(script),
            "interactiveMode": "Never",
        }
    }


def authorization(access: Access) -> str:
    return asyncio.run(access.headers()).get("Authorization", "")


def test_a_token(tmp_path: Path) -> None:
    access = Access.load(kubeconfig(tmp_path, {"token": "t-1"}))
    assert access.server == "http://127.0.0.1:1"
    assert authorization(access) == "Bearer t-1"


def test_a_user_and_password(tmp_path: Path) -> None:
    access = Access.load(kubeconfig(tmp_path, {"username": "a", "password": "b"}))
    assert authorization(access) == "Basic YTpi"


def test_nobody_in_particular(tmp_path: Path) -> None:
    assert authorization(Access.load(kubeconfig(tmp_path, {}))) == ""


def test_a_token_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("t-1\n")
    access = Access.load(kubeconfig(tmp_path, {"tokenFile": "token"}))
    assert authorization(access) == "Bearer t-1"
    token.write_text("t-2\n")
    assert authorization(access) == "Bearer t-1"
    monkeypatch.setattr("nos.kube.access._FRESH_S", 0.0)
    assert authorization(access) == "Bearer t-2"


def test_an_exec_plugin_runs_again_when_its_token_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nos.kube.access._FRESH_S", 0.0)
    lasting = Access.load(kubeconfig(tmp_path, plugin(tmp_path, {"token": "t"})))
    assert [authorization(lasting) for _ in range(2)] == ["Bearer t-1", "Bearer t-1"]
    status = {"token": "x", "expirationTimestamp": "2020-01-01T00:00:00Z"}
    expired = Access.load(kubeconfig(tmp_path, plugin(tmp_path, status)))
    first = authorization(expired)
    assert authorization(expired) != first


def test_what_the_server_refuses_is_renewed(tmp_path: Path) -> None:
    access = Access.load(kubeconfig(tmp_path, plugin(tmp_path, {"token": "t"})))
    assert authorization(access) == "Bearer t-1"
    asyncio.run(access.renew())
    assert authorization(access) == "Bearer t-2"


@pytest.mark.parametrize(
    ("user", "server", "said"),
    [
        ({"exec": {"apiVersion": "v1", "command": "/nonexistent"}}, "http://a", "its exec plugin gave no credentials"),
        ({"token": "t"}, "ftp://a", "'ftp://a' is no http"),
        ({"tokenFile": "missing"}, "http://a", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, user: dict[str, Any], server: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Access.load(kubeconfig(tmp_path, user, server))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "\x00", "apiVersion: v1\nkind: Config\n", "clusters: 7\ncontexts: 8\n"]
)
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd"
    path.write_text(text)
    with pytest.raises(ConfigError, match=str(path)):
        Access.load(str(path))
