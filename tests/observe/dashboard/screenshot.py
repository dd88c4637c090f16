"""Pictures of the dashboard, of a cluster that is not there and of the day that it had.

python -m tests.observe.dashboard.screenshot docs/images/dashboard.png [--nodes N] [--view VIEW] [--dark]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import shutil
from pathlib import Path

from playwright.async_api import async_playwright, expect

from nos.observe.access import at_home
from nos.observe.dashboard.feed import Feed
from nos.observe.dashboard.history import EVERY_S
from nos.observe.dashboard.moments import Moments
from nos.observe.dashboard.server import serve
from tests.observe.dashboard.synthetic import Synthetic

END = 1_795_870_800  # 2026-11-28 13:00 UTC


async def main(file: Path, nodes: int, view: str, *, is_dark: bool, hours: float) -> None:
    """Take it."""
    world, moments = Synthetic(nodes, at=END - hours * 3600), Moments()
    feed = Feed(world.look, moments)
    samples = int(hours * 3600 / EVERY_S)
    for number in range(samples + 1):
        world.at = END - (samples - number) * EVERY_S
        world.busy = 0.8 + 0.15 * math.sin(number / samples * 9)
        world.wait_more(0.5 - 0.5 * math.sin(number / samples * 9))
        for moment in world.step(max(1, nodes // 40)):
            moments.add(moment)
        await feed.look(is_sample=True)
    looking = asyncio.create_task(feed.run())
    async with serve("127.0.0.1:0", feed, at_home) as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = await browser.new_page(
            viewport={"width": 1440, "height": 900},
            color_scheme="dark" if is_dark else "light",
            reduced_motion="reduce",
            timezone_id="UTC",
        )
        await page.goto(f"http://{address}/#/{view}")
        await expect(page.locator("#status")).to_have_text("Live")
        await expect(page.locator(".total .value").first).not_to_be_empty()
        await page.screenshot(path=file)
        await browser.close()
    looking.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--nodes", type=int, default=60)
    parser.add_argument("--view", default="cluster")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    asyncio.run(main(given.file, given.nodes, given.view, is_dark=given.dark, hours=given.hours))
