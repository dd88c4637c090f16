"""The dashboard of a cluster of 1,000 nodes of 8 GPUs: how soon it is there, how fast it follows, and what it costs.

pytest benchmarks/test_dashboard.py

First paint and the whole map: from the navigation on, in a Chromium on this machine. An update: from the look that
found it, in the controller, to the frame that shows it. The cost: of a controller that is watched by one browser while
Pods come and go, beside that of the same controller while nobody watches.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import statistics
import time

import pytest
from playwright.sync_api import Page, sync_playwright

import on_testbed
from nos.testbed import Testbed
from nos.testbed.progress import Progress

NODES, PODS = 1_000, 4_000
SECONDS = 60
MOST_TO_PAINT_MS, MOST_TO_UPDATE_MS, MOST_OF_A_CORE = 1_000, 100, 0.05
# By the clock that the controller has too, when the next frame after each painting begins.
FOLLOW = """() => {
    globalThis.late = [];
    const canvas = document.querySelector("canvas");
    new MutationObserver(() => {
        const at = Number(canvas.dataset.at);
        requestAnimationFrame(() => globalThis.late.push(Date.now() - 1000 * at));
    }).observe(canvas, { attributeFilter: ["data-at"] });
}"""


def test_dashboard(capsys: pytest.CaptureFixture[str]) -> None:
    with Testbed(scheduler=False, users=on_testbed.USERS, progress=Progress()) as testbed:
        on_testbed.grant(testbed)
        testbed.add_nodes({"8xH100": NODES})
        with on_testbed.controller(testbed, dashboard="127.0.0.1:0") as pid:
            asyncio.run(on_testbed.bind(testbed, PODS))
            time.sleep(30)  # events about the Pods
            log = (testbed.state_dir / "logs" / f"{on_testbed.CONTROLLER}.log").read_text()
            found = re.search(r"dashboard on (\S+)", log)
            assert found, log
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                paints = [first_paint(browser.new_page(), found[1]) for _ in range(5)]
                for context in browser.contexts[:-1]:
                    context.close()
                page = browser.contexts[-1].pages[0]
                page.evaluate(FOLLOW)
                watched = share(testbed, pid)
                late = page.evaluate("late")
                browser.close()
            alone = share(testbed, pid)
    # The machine may have more to do than this, which makes it slower and never faster.
    shell, drawn = (min(times) for times in zip(*paints, strict=True))
    worst = statistics.quantiles(late, n=20)[-1]
    with capsys.disabled():
        print(f"\ndashboard of {NODES:,} nodes of 8 GPUs with {PODS:,} Pods: first paint {shell:.0f} ms, ", end="")
        print(f"all of it drawn after {drawn:.0f} ms; ", end="")
        print(f"update median {statistics.median(late):.0f} ms, p95 {worst:.0f} ms ({len(late)}); ", end="")
        print(f"controller {100 * watched:.1f} % of a core watched by one, {100 * alone:.1f} % by nobody")
    assert drawn < MOST_TO_PAINT_MS
    assert len(late) > SECONDS / 2
    assert statistics.median(late) < MOST_TO_UPDATE_MS
    assert watched < MOST_OF_A_CORE


def first_paint(page: Page, url: str) -> tuple[float, float]:
    """Milliseconds from the navigation to the first paint, and to the map with all nodes."""
    page.goto(url)
    page.wait_for_function(f"() => document.querySelector('canvas')?.dataset.nodes === '{NODES}'", polling="raf")
    return page.evaluate(
        "[performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]",
    )


def share(testbed: Testbed, pid: int) -> float:
    """Of a core, while each second a Pod goes and another comes."""
    before, since = on_testbed.cpu_seconds(pid), time.monotonic()
    for number in range(SECONDS):
        testbed.api.request("DELETE", f"{on_testbed.PODS}/pod-{number}", {"gracePeriodSeconds": 0})
        testbed.api.create(on_testbed.PODS, on_testbed.pod(f"pod-{number}"))
        time.sleep(max(0.0, since + number + 1 - time.monotonic()))
    return (on_testbed.cpu_seconds(pid) - before) / (time.monotonic() - since)
