"""A platform that makes nodes, behind a real HTTPS server, and misbehaves on request."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Object = dict[str, Any]


class Authority:
    """Signs certificates for 127.0.0.1."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = directory / f"{name}.crt"
        self.file.write_bytes(self._signed(self._subject, self._key, is_ca=True))

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert, secret = self._directory / f"{self._name}-{name}.crt", self._directory / f"{self._name}-{name}.key"
        cert.write_bytes(self._signed(subject, key, is_ca=False))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert, secret

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        usage = x509.KeyUsage(True, False, False, False, False, is_ca, is_ca, False, False)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Platform:
    """Groups and instances, as docs/autoscaling/webhook.md has them."""

    def __init__(self) -> None:
        self.groups: dict[str, Object] = {}
        self.instances: dict[str, Object] = {}
        self.requests: dict[str, str] = {}  # instances, by the request that made them
        self.calls: list[str] = []
        self.seen: list[Object] = []  # bodies
        self.token = ""
        self.answers: list[web.Response | float | None] = []  # instead of the next ones; a number: after so long

    def group(self, id_: str, **fields: Any) -> None:
        """Add one."""
        template = {"allocatable": {"cpu": "64", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}}
        self.groups[id_] = {"id": id_, "price": 2.5, "max": 10, "target": 0, "template": template} | fields

    def survey(self) -> Object:
        """What GET /groups answers."""
        return {"groups": list(self.groups.values()), "instances": list(self.instances.values())}

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Serve on a free port of this machine; the URL."""
        app = web.Application()
        app.router.add_get("/nos/groups", self._groups)
        app.router.add_post("/nos/groups/{id}/{verb}", self._change)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/nos"
        finally:
            await runner.cleanup()

    async def _instead(self, request: web.Request) -> web.Response | None:
        self.calls.append(f"{request.method} {request.path.removeprefix('/nos')}")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"message": "who are you?"}, status=401)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return None
        return answer

    async def _groups(self, request: web.Request) -> web.Response:
        return await self._instead(request) or web.json_response(self.survey())

    async def _change(self, request: web.Request) -> web.Response:
        body: Object = await request.json()
        id_, verb = request.match_info["id"], request.match_info["verb"]
        lost = self.answers and isinstance(self.answers[0], web.Response) and self.answers[0].status == 502
        answer = await self._instead(request)
        if answer is not None and not lost:
            return answer
        self.seen.append(body)
        if verb == "increase":
            for node in body["nodes"]:
                self._make(id_, node)
        else:
            for one in body["instances"]:
                if self.instances.pop(one["id"], None):
                    self.groups[id_]["target"] -= 1
        return answer or web.json_response({})

    def _make(self, group: str, node: Object) -> None:
        if node["requestId"] not in self.requests:
            id_ = self.requests[node["requestId"]] = f"vm-{len(self.requests)}"
            known = {"pods": node["pods"], "layout": node["layout"]}
            self.instances[id_] = {"id": id_, "group": group, "state": "coming"} | known
            self.groups[group]["target"] += 1
