"""The certificate that we make ourselves. Those of files are in dashboard/test_server.py."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from nos.kube.errors import ConfigError
from nos.observe.certificate import self_signed


def shown(context: ssl.SSLContext) -> x509.Certificate:
    """What a client is shown, without a network."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    seen = client.getpeercert(binary_form=True)
    assert seen
    return x509.load_der_x509_certificate(seen)


def test_each_start_has_its_own_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    first, second = shown(self_signed("metrics")), shown(self_signed("metrics"))
    assert first.issuer == first.subject
    first.verify_directly_issued_by(first)
    assert isinstance(first.public_key(), EllipticCurvePublicKey)
    assert first.public_key() != second.public_key()
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_openssl_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^metrics: openssl makes no certificate: .*; name certFile and keyFile$"):
        self_signed("metrics")
    fake = tmp_path / "openssl"
    fake.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    fake.chmod(0o755)
    with pytest.raises(ConfigError, match=r"^metrics: openssl makes no certificate: broken; name"):
        self_signed("metrics")
