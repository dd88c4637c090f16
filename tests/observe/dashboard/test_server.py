"""What the server answers to whom, without a browser."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from nos.kube.errors import ConfigError
from nos.observe import certificate as certificates
from nos.observe.access import ByToken, is_loopback
from nos.observe.certificate import Certificate
from nos.observe.dashboard import server as servers
from nos.observe.dashboard.feed import Feed
from nos.observe.dashboard.moments import Moments
from nos.observe.dashboard.server import serve
from tests.autoscaler.platform_server import Authority
from tests.controller.in_loop import in_loop
from tests.observe.dashboard.served import dashboard
from tests.observe.dashboard.synthetic import Synthetic

STATIC = Path(servers.__file__).with_name("static")


@in_loop
async def test_the_page_may_do_little_and_nothing_of_the_cluster_is_kept() -> None:
    async with dashboard(Synthetic(3), "127.0.0.1:0") as (address, _), aiohttp.ClientSession() as session:
        for path in ("/", "/main.js", "/frame.css", "/icon.svg", "/api/state", "/api/events", "/nowhere"):
            async with session.get(f"http://{address}{path}") as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy, path
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "Access-Control-Allow-Origin" not in answer.headers
                assert answer.headers["Cache-Control"] == (
                    "no-store" if "/api" in path or answer.status == 404 else "no-cache"
                )
        for verb in ("POST", "PUT", "PATCH", "DELETE"):
            for path in ("/", "/api/state", "/api/events"):
                async with session.request(verb, f"http://{address}{path}") as answer:
                    assert answer.status == 405


@in_loop
async def test_a_browser_that_has_the_page_is_not_sent_it_again() -> None:
    async with dashboard(Synthetic(1), "127.0.0.1:0") as (address, _), aiohttp.ClientSession() as session:
        async with session.get(f"http://{address}/main.js") as first:
            assert await first.text() == (STATIC / "main.js").read_text()
            tag = first.headers["ETag"]
        async with session.get(f"http://{address}/main.js", headers={"If-None-Match": tag}) as again:
            assert (again.status, await again.read()) == (304, b"")
        async with session.get(f"http://{address}/main.js", headers={"If-None-Match": '"else"'}) as again:
            assert again.status == 200


def test_nothing_is_fetched_from_elsewhere_and_nothing_is_inline() -> None:
    """All that the page names lies beside it; no markup is made of text."""
    page = (STATIC / "index.html").read_text()
    assert "style=" not in page
    assert " on" not in page.replace(" on the", "")
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text, file
        assert "https:" not in text, file
        for bad in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert bad not in text, file


@in_loop
async def test_who_watches_does_not_hold_up_the_end() -> None:
    async with aiohttp.ClientSession() as session:
        async with dashboard(Synthetic(3), "127.0.0.1:0") as (address, _):
            answer = await session.get(f"http://{address}/api/events")
            assert (await answer.content.readline()) == b"event: state\n"
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < servers._CLOSE_S / 2
        answer.close()


@in_loop
async def test_so_many_may_watch() -> None:
    async with dashboard(Synthetic(1), "127.0.0.1:0") as (address, _), aiohttp.ClientSession() as session:
        url = f"http://{address}/api/events"
        answers = [await session.get(url) for _ in range(servers._MOST_WATCHERS)]
        assert {answer.status for answer in answers} == {200}
        assert (await session.get(url)).status == 503
        answers[0].close()
        async with asyncio.timeout(5):
            while (last := await session.get(url)).status == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert last.status == 200


@in_loop
async def test_an_address_that_cannot_be_had_is_named() -> None:
    async with dashboard(Synthetic(1), "127.0.0.1:0") as (taken, _):
        with pytest.raises(ConfigError, match=f"dashboard.address {taken}: .*choose another with --dashboard-address"):
            async with serve(taken, Feed(Synthetic(1).look, Moments()), _nobody):
                pass


async def _nobody(_: web.Request) -> None:
    raise web.HTTPForbidden


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("LOCALHOST", True),
        ("localhost.evil.example", False),
        ("0.0.0.0", False),
        ("", False),
        ("10.0.0.1", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_what_is_loopback(host: str, is_ours: bool) -> None:
    assert is_loopback(host) == is_ours


@in_loop
async def test_a_name_that_an_attacker_has_made_ours_is_refused() -> None:
    async with dashboard(Synthetic(1), "127.0.0.1:0") as (address, _), aiohttp.ClientSession() as session:
        for host, status in (("localhost:10258", 200), ("[::1]:9", 200), ("evil.example", 403), ("[", 403), ("", 403)):
            async with session.get(f"http://{address}/api/state", headers={"Host": host}) as answer:
                assert answer.status in (status, 400), host  # 400: it is no Host at all
                assert (answer.status == 200) == (status == 200)


def test_a_certificate_is_read_anew_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_LOOK_S", 0.02)
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    cert, key = old.issue("dashboard")

    async def status(url: str, trusted: Authority) -> int:
        context = ssl.create_default_context(cafile=str(trusted.file))
        async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
            return answer.status

    async def play() -> None:
        used = Certificate("dashboard", str(cert), str(key))
        feed = Feed(Synthetic(1).look, Moments())
        async with serve("127.0.0.1:0", feed, _nobody, used.context) as address:
            renewing = asyncio.create_task(used.renew())
            url = f"https://{address}/"
            assert await status(url, old) == 200
            with pytest.raises(aiohttp.ClientConnectorError):
                await status(url, new)
            fresh, secret = new.issue("dashboard")
            cert.write_bytes(fresh.read_bytes())  # half of it: the one in use is kept
            await asyncio.sleep(0.1)
            assert await status(url, old) == 200
            key.write_bytes(secret.read_bytes())
            async with asyncio.timeout(5):
                while True:
                    try:
                        assert await status(url, new) == 200
                        break
                    except aiohttp.ClientConnectorError:
                        await asyncio.sleep(0.05)
            renewing.cancel()

    asyncio.run(play())


@pytest.mark.parametrize("text", [None, "no PEM"])
def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    cert, key = Authority(tmp_path, "ca").issue("dashboard")
    if text is None:
        key.unlink()
    else:
        key.write_text(text)
    with pytest.raises(ConfigError, match=r"dashboard: certFile and keyFile: .*: (no PEM|.*No such file)"):
        Certificate("dashboard", str(cert), str(key))


def test_the_api_server_is_asked_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again when that is over: then the token may have lost its right. What the API server really answers is in
    test_with_controller.py."""
    clock, asked = 0.0, list[str]()

    class ApiServer:
        allowed = True

        async def request(self, _: str, path: str, **__: object) -> bytes:
            asked.append(path.rpartition("/")[2])
            if path.endswith("tokenreviews"):
                return b'{"status":{"authenticated":true,"user":{"username":"u"}}}'
            return b'{"status":{"allowed":true}}' if self.allowed else b'{"status":{"allowed":false}}'

    monkeypatch.setattr("nos.observe.access.time.monotonic", lambda: clock)
    api = ApiServer()
    door = ByToken(api, "/dashboard", "nos-dashboard")  # type: ignore[arg-type]

    async def play() -> None:
        nonlocal clock
        feed = Feed(Synthetic(1).look, Moments())
        looking = asyncio.create_task(feed.run())
        async with serve("127.0.0.1:0", feed, door) as address, aiohttp.ClientSession() as session:

            async def status(token: str) -> int:
                headers = {"Authorization": f"Bearer {token}"}
                async with session.get(f"http://{address}/api/state", headers=headers) as answer:
                    return answer.status

            assert [await status("a"), await status("a")] == [200, 200]
            assert asked == ["tokenreviews", "subjectaccessreviews"]
            api.allowed = False
            assert [await status("b"), await status("a")] == [403, 200]
            clock = 61.0
            assert await status("a") == 403
            for number in range(1_100):  # no more than so many are remembered
                await status(f"t{number}")
            assert len(door._known) == 1_000
        looking.cancel()

    asyncio.run(play())
