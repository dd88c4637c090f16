"""`make audit`: pip-audit itself, and in place of the database one on loopback that answers as it is told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from typing import Any

import pytest
from packaging.requirements import Requirement

from release.audit import FOUND, NOS, NOT_ASKED, audit, installed

FLAWED = "aiohttp"
FLAW = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "summary": "it leaks",
    "details": "it leaks",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": FLAWED, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.0"}]}],
        }
    ],
}


@contextmanager
def database(status: int, flawed: str = "") -> Iterator[tuple[str, set[str]]]:
    """Where it is, and of what it was asked."""
    asked: set[str] = set()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = question["package"]["name"]
            asked.add(f"{name}=={question['version']}")
            body = json.dumps({"vulns": [FLAW]} if name == flawed else {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/query", asked
        finally:
            server.shutdown()


def test_all_that_users_get_is_asked_about(capfd: pytest.CaptureFixture[str]) -> None:
    with database(200) as (url, asked):
        assert audit("--osv-url", url) == 0
    for name in ("aiohttp", "msgspec", "grpcio", "opentelemetry-sdk", "multidict"):  # the last by way of the first
        assert f"{name}=={metadata.version(name)}" in asked
    assert not {each for each in asked if each.startswith(("nos-scheduler", "pytest", "ruff"))}
    assert capfd.readouterr().out == f"{len(asked)} distributions, no known vulnerability\n"


def test_a_flaw_is_named_with_its_remedy(capfd: pytest.CaptureFixture[str]) -> None:
    with database(200, FLAWED) as (url, _):
        assert audit("--osv-url", url) == FOUND
    assert f"{FLAWED} {metadata.version(FLAWED)}: {FLAW['id']}, fixed in 999.0\n" in capfd.readouterr().err


def test_no_answer_is_not_taken_for_a_good_one(capfd: pytest.CaptureFixture[str]) -> None:
    with database(503) as (url, _):
        assert audit("--osv-url", url) == NOT_ASKED
    with socket.socket() as bound:  # and nobody listens
        bound.bind(("127.0.0.1", 0))
        assert audit("--osv-url", f"http://127.0.0.1:{bound.getsockname()[1]}/v1/query") == NOT_ASKED
    said = capfd.readouterr()
    assert said.err.count("AUDIT NOT DONE") == 2
    assert not said.out


def test_an_extra_is_followed_and_others_are_not() -> None:
    base = {pin.split("==")[0] for pin in installed(Requirement("nos-scheduler"), set())}
    assert "aiohttp" in base
    assert not base & {"grpcio", "opentelemetry-sdk", "pytest"}
    assert "grpcio" in {pin.split("==")[0] for pin in installed(Requirement("nos-scheduler[agent]"), set())}
    assert {"grpcio", "opentelemetry-sdk"} < {pin.split("==")[0] for pin in installed(Requirement(NOS), set())}
