"""Who may ask nos, and what is said of settings and files that are wrong."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from nos.autoscaler.cluster_autoscaler.server import serve
from nos.autoscaler.cluster_autoscaler.settings import ClusterAutoscalerSettings
from nos.kube.errors import ConfigError
from tests.autoscaler.autoscaler_client import SINCE, Autoscaler
from tests.autoscaler.platform_server import Authority

ADDRESS = "127.0.0.1:0"


def settings(cert: Path, key: Path, ca: Path | None = None, address: str = ADDRESS) -> ClusterAutoscalerSettings:
    return ClusterAutoscalerSettings(address, str(cert), str(key), str(ca) if ca else "")


@asynccontextmanager
async def client(
    address: str, authority: Authority, identity: tuple[Path, Path] | None = None
) -> AsyncIterator[Autoscaler]:
    cert, key = (file.read_bytes() for file in identity) if identity else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), key, cert)
    options = [("grpc.use_local_subchannel_pool", 1)]  # a handshake of its own
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        yield Autoscaler(SINCE, channel)


async def is_answered(address: str, authority: Authority, identity: tuple[Path, Path] | None = None) -> bool:
    async with client(address, authority, identity) as autoscaler:
        try:
            return await autoscaler.best(autoscaler.option("a")) == ["a"]
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False


def test_server_and_client_prove_who_they_are(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    nos, autoscaler, stranger = ours.issue("nos"), ours.issue("autoscaler"), theirs.issue("stranger")

    async def run() -> None:
        async with serve(settings(*nos), lambda: None, None) as address:
            assert await is_answered(address, ours)
            assert not await is_answered(address, theirs)  # it expects another server
            async with grpc.aio.insecure_channel(address) as channel:
                plain = Autoscaler(SINCE, channel)
                with pytest.raises(grpc.aio.AioRpcError):
                    await plain.best()
        async with serve(settings(*nos, ours.file), lambda: None, None) as address:
            assert await is_answered(address, ours, autoscaler)
            assert not await is_answered(address, ours)
            assert not await is_answered(address, ours, stranger)

    asyncio.run(run())


def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = Authority(tmp_path, "before"), Authority(tmp_path, "after")
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def put(files: tuple[Path, Path]) -> None:
        shutil.copy(files[0], cert)
        shutil.copy(files[1], key)

    async def run() -> None:
        put(before.issue("nos"))
        async with serve(settings(cert, key), lambda: None, None) as address:
            assert await is_answered(address, before)
            cert.write_text("half writ")
            with caplog.at_level(logging.WARNING):
                assert await is_answered(address, before)
            assert re.search(r"the certificate in use is kept: scaling\.clusterAutoscaler\.certFile", caplog.text)
            put(after.issue("nos"))
            assert await is_answered(address, after)
            assert not await is_answered(address, before)

    asyncio.run(run())


def refused(wrong: ClusterAutoscalerSettings) -> str:
    async def run() -> str:
        with pytest.raises(ConfigError) as error:
            async with serve(wrong, lambda: None, None):
                pass
        return str(error.value)

    return asyncio.run(run())


def test_files_that_are_wrong_are_named_with_the_remedy(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    cert, key = authority.issue("nos")
    _, other_key = authority.issue("other")
    junk, gone = tmp_path / "junk.pem", tmp_path / "gone.pem"
    junk.write_text("not a certificate")
    locked = tmp_path / "locked.key"
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    how = serialization.BestAvailableEncryption(b"secret")
    locked.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    for wrong, words in (
        (
            settings(gone, key),
            rf"scaling\.clusterAutoscaler\.certFile: {gone}: .*No such file.*; name readable PEM files",
        ),
        (settings(cert, gone), rf"keyFile: {gone}: .*No such file"),
        (settings(cert, key, gone), rf"clientCaFile: {gone}: .*No such file"),
        (settings(junk, key), rf"certFile and keyFile: {junk}, {key}: no PEM that belongs together"),
        (settings(cert, other_key), rf"certFile and keyFile: {cert}, {other_key}: no PEM that belongs together"),
        (settings(cert, locked), "the key has a password, which nos does not know"),
        (settings(cert, key, junk), rf"clientCaFile: {junk}: no PEM"),
    ):
        said = refused(wrong)
        assert re.search(words, said), said
        assert "PRIVATE KEY" not in said
        assert "secret" not in said


def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    files = Authority(tmp_path, "ca").issue("nos")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        said = refused(settings(*files, address=address))
    assert said == (
        f"scaling.clusterAutoscaler.address: {address} cannot be served; is it of this machine, and nobody else on it?"
    )


TEMPLATE = {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "9"}, "labels": {"pool": "a"}}
GROUP = {"id": "a", "max": 3, "price": 1.5, "nodeSelector": {"pool": "a"}, "template": TEMPLATE}
TLS = {"certFile": "a.crt", "keyFile": "a.key"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "certFile and keyFile are missing: Cluster Autoscaler speaks to its expander by TLS alone"),
        ({"certFile": "a.crt"}, "certFile and keyFile: name both or none"),
        ({"clientCaFile": "ca.crt", "allowInsecure": True}, "clientCaFile needs certFile and keyFile"),
        ({"allowInsecure": True, "address": "0.0.0.0:8086"}, "0.0.0.0:8086 can be reached by others"),
        ({"allowInsecure": True, "address": ":8086"}, "can be reached by others"),
        (TLS | {"address": "8086"}, "address: '8086' is no host:port such as 0.0.0.0:8086"),
        (TLS | {"address": "a:99999"}, "is no host:port"),
        (TLS | {"groups": [GROUP, GROUP]}, "groups: a is there twice; give each once"),
        (TLS | {"groups": [GROUP | {"nodeSelector": {"pool": "b"}}]}, "a: nodeSelector and template.labels do not"),
        (TLS | {"groups": [GROUP | {"price": -1}]}, r"Expected `float` >= 0.* - at `\$.groups\[0\].price`"),
        (TLS | {"layouts": {"h100": {"a": "3g.40gb@0"}}}, "layouts: they are of the groups of a backend"),
        (TLS | {"certfile": "a"}, "unknown field `certfile`"),
    ],
)
def test_settings_that_make_no_sense(fields: dict[str, object], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert({"address": ADDRESS} | fields, ClusterAutoscalerSettings)


@pytest.mark.parametrize("address", ["127.0.0.1:8086", "[::1]:8086", "localhost:0"])
def test_on_this_machine_alone_it_may_be_plain(address: str) -> None:
    msgspec.convert({"address": address, "allowInsecure": True}, ClusterAutoscalerSettings)
