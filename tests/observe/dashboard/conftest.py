"""A real browser, and the controller's clusters. In CI a missing browser is a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.controller.conftest import cluster, controller, role
from tests.observe.dashboard.served import Served, served
from tests.observe.dashboard.synthetic import Synthetic

__all__ = ["cluster", "controller", "role"]

expect.set_options(timeout=15_000)  # the machine may be busy

Open = Callable[..., Page]
SCREENSHOTS = os.environ.get("NOS_SCREENSHOTS")  # a directory to keep them in


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a file: while it lives, no event loop can run in this thread."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: apt install chromium")
        pytest.skip("no Chromium: apt install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Synthetic], Served]]:
    """Serves dashboards for as long as there are pages of them."""
    with ExitStack() as stack:
        yield lambda world: stack.enter_context(served(world))


@pytest.fixture
def ten(serve: Callable[[Synthetic], Served]) -> Served:
    """The dashboard of ten nodes."""
    return serve(Synthetic(10))


@pytest.fixture
def open_page(browser: Browser, serve: object, tmp_path: Path) -> Iterator[Open]:  # noqa: ARG001 - pages go first
    """Opens pages, and checks in the end that none has complained."""
    complaints: list[str] = []
    contexts = []

    def opens(url: str, *, expected: tuple[str, ...] = (), **options: object) -> Page:
        """expected: what the console may say of the network, as when a server is gone."""
        context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)

        def heard(text: str) -> None:
            # Tests of real nodes make network interfaces, which is no fault of the page.
            if not any(words in text for words in ("ERR_NETWORK_CHANGED", *expected)):
                complaints.append(text)

        page.on("console", lambda said: heard(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: heard(f"{error}\n{error.stack}"))
        page.goto(url)
        return page

    yield opens
    for number, context in enumerate(contexts):
        if SCREENSHOTS:
            for page in context.pages:
                Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
                page.screenshot(path=Path(SCREENSHOTS) / f"{tmp_path.name}-{number}.png")
        context.close()
    assert not complaints
