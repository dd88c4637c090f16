"""The site of docs/: it is built without a warning, and asks nobody else for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from docs.hooks import REPOSITORY, resolved
from playwright.sync_api import Browser

from tests.observe.dashboard.conftest import browser

__all__ = ["browser"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built."""
    made = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(made)]
    done = subprocess.run(
        argv, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return made


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where it is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_no_warning_goes_unseen() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert {word for part in settings["validation"].values() for word in part.values()} == {"warn"}


def test_pages_ask_nobody_else(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text()
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"?([^\" >]+)", text)
        fetched += [tag for tag in re.findall(r"<link[^>]*>", text) if "stylesheet" in tag or "preconnect" in tag]
        assert fetched
        assert not [one for one in fetched if "//" in one], page


@pytest.mark.parametrize("path", ["", "start/", "reference/cli/", "install/", "operate/troubleshooting/"])
def test_a_browser_is_sent_nowhere_else(browser: Browser, address: str, path: str) -> None:
    asked: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address + path, wait_until="networkidle")
    assert asked
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not complaints
    context.close()


def test_what_is_searched_is_found(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.keyboard.press("/")
    page.keyboard.type("QuotaExhausted")
    page.locator(".md-search-result__item a").first.wait_for()
    page.locator(".md-search-result__link", has_text="Troubleshooting").first.wait_for()
    context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_is_wider_than_the_screen(browser: Browser, address: str, site: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    for file in sorted(site.rglob("index.html")):
        page.goto(address + str(file.parent.relative_to(site)).removeprefix(".") + "/")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, file
    context.close()


@pytest.mark.parametrize(
    ("file", "link", "becomes"),
    [
        ("docs/start/eks.md", "../README.md", "../README.md"),  # of docs: left as it is
        ("docs/tracing.md", "../deploy/chart/README.md", "install.md"),
        ("docs/start/README.md", "../../deploy/chart/README.md", "../install.md"),
        ("docs/index.md", "../README.md#measured", f"{REPOSITORY}README.md#measured"),
        ("deploy/chart/README.md", "../../docs/mig.md#models", "mig.md#models"),
        ("deploy/chart/README.md", "../../cpp/README.md", f"{REPOSITORY}cpp/README.md"),
    ],
)
def test_links_out_of_docs(file: str, link: str, becomes: str) -> None:
    assert resolved(f"See [this]({link}).", file) == f"See [this]({becomes})."
