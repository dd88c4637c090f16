"""Kubeconfigs of every kind, read by way of the kubernetes package; and what a Pod is given, read without it."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import Configuration
from kubernetes.config.incluster_config import InClusterConfigLoader

from nos.kube.access import Access
from nos.kube.errors import ConfigError
from tests.autoscaler.platform_server import Authority


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


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a service account, as a kubelet makes it; the API server is on 10.0.0.1:443."""
    (tmp_path / "token").write_text("t-1")
    Authority(tmp_path, "ca")
    monkeypatch.setattr("nos.kube.access._SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name in ("https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:3128"])
@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1", "kubernetes.default.svc"])
def test_in_a_pod_it_is_as_the_package_reads_it(
    account: Path, monkeypatch: pytest.MonkeyPatch, host: str, proxy: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    expected = Configuration()
    loader = InClusterConfigLoader(str(account / "token"), str(account / "ca.crt"))  # type: ignore[no-untyped-call]
    loader.load_and_set(expected)  # type: ignore[no-untyped-call]
    access = Access.load()
    assert access.server == expected.host
    assert authorization(access).lower() == expected.get_api_key_with_prefix("BearerToken")
    assert access.request_options.get("proxy") == expected.proxy
    tls = access.request_options["ssl"]
    (known,) = tls.get_ca_certs(binary_form=True)
    assert known == ssl.PEM_cert_to_DER_cert(Path(expected.ssl_ca_cert).read_text())
    assert tls.verify_mode == ssl.CERT_REQUIRED
    assert tls.check_hostname


@pytest.mark.usefixtures("account")
def test_in_a_pod_an_api_server_that_needs_no_proxy_is_asked_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    monkeypatch.setenv("NO_PROXY", "example.org,10.0.0.1")
    assert "proxy" not in Access.load().request_options


def test_in_a_pod_the_token_is_read_again(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access.load()
    (account / "token").write_text("t-2\n")
    assert authorization(access) == "Bearer t-1"
    monkeypatch.setattr("nos.kube.access._FRESH_S", 0.0)
    assert authorization(access) == "Bearer t-2"


def test_in_a_pod_what_is_missing_is_named(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (account / "ca.crt").write_text("")
    with pytest.raises(ConfigError, match=f"the service account of this Pod: .*{account / 'ca.crt'}"):
        Access.load()
    (account / "ca.crt").unlink()
    with pytest.raises(ConfigError, match=f"the service account of this Pod: .*{account / 'ca.crt'}"):
        Access.load()
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "")
    with pytest.raises(ConfigError, match=r"KUBERNETES_SERVICE_PORT do not say .* --kubeconfig"):
        Access.load()


def test_in_a_pod_the_package_is_not_imported(account: Path) -> None:
    """What our processes there never need they need not hold in memory."""
    code = f"""
import sys
from pathlib import Path
import nos.kube.access
nos.kube.access._SERVICE_ACCOUNT = Path({str(account)!r})
print(nos.kube.access.Access.load().server, "kubernetes" in sys.modules)
"""
    environment = {**os.environ, "KUBECONFIG": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "https://10.0.0.1:443 False\n"
