"""The page in a real Chromium, over a cluster that is not there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from msgspec.structs import replace
from playwright.sync_api import Page, Route, expect

from nos.observe.dashboard import server as servers
from nos.observe.view import Gpu, Moment, Pod
from tests.observe.dashboard.conftest import Open
from tests.observe.dashboard.served import Served, served
from tests.observe.dashboard.synthetic import Synthetic


def live(page: Page) -> Page:
    """Wait until it shows the cluster."""
    expect(page.locator("#status")).to_have_text("Live")
    expect(page.locator(".total .value").first).not_to_be_empty()
    return page


def colours_in_map(page: Page) -> int:
    """How many colours the map has."""
    return page.evaluate("""() => {
        const canvas = document.querySelector("canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
    }""")


def test_a_thousand_nodes_are_drawn(open_page: Open, serve: Callable[[Synthetic], Served]) -> None:
    page = live(open_page(serve(Synthetic(1000)).url))
    expect(page.locator("canvas")).to_have_attribute("data-nodes", "1000")
    expect(page.locator(".total", has_text="Nodes").locator(".value")).to_have_text("1,000")
    assert colours_in_map(page) > 6  # six teams, and what is free
    page.get_by_role("button", name="Table").click()
    expect(page.locator("#view-cluster tbody tr")).to_have_count(100)
    page.get_by_role("button", name=re.compile("Show more: 900")).click()
    expect(page.locator("#view-cluster tbody tr")).to_have_count(500)


def test_what_changes_is_shown(open_page: Open, ten: Served) -> None:
    page = live(open_page(f"{ten.url}#/cluster/gpu-h100-00"))
    detail = page.locator(".detail")
    expect(detail).to_contain_text("gpu-h100-00")
    expect(detail).not_to_contain_text("vision/newcomer")
    old = ten.world.node("gpu-h100-00")
    ten.do(
        lambda world: world.put(
            replace(old, gpus=(Gpu(500, pods=("vision/newcomer",)), *old.gpus[1:]), note="cordoned")
        )
    )
    expect(detail).to_contain_text("cordoned")
    expect(detail.get_by_role("button", name="GPU 0: 0.5 in use, vision/newcomer")).to_be_visible()
    ten.do(lambda world: world.queue(Pod("vision/late", "2 gpu", int(world.now), code="GPU", message="none is free")))
    expect(page.locator("#count-queue")).to_have_text("1")
    ten.do(lambda world: world.remove("gpu-h100-00"))
    expect(detail).to_contain_text("There is no node gpu-h100-00 any more")
    expect(page.locator("canvas")).to_have_attribute("data-nodes", "9")


def test_from_the_cluster_to_a_gpu_and_back(open_page: Open, ten: Served) -> None:
    page = live(open_page(ten.url))
    canvas = page.locator("canvas")
    whole = float(canvas.get_attribute("data-scale") or 0)
    canvas.click(position={"x": 40, "y": 45})  # the name of the first node
    expect(page).to_have_url(re.compile("#/cluster/gpu-h100-00$"))
    page.get_by_role("button", name=re.compile("^GPU 3:")).click()
    expect(page).to_have_url(re.compile("#/cluster/gpu-h100-00/3$"))
    page.wait_for_function("scale => +document.querySelector('canvas').dataset.scale > 3 * scale", arg=whole)
    expect(page.locator(".way")).to_contain_text("GPU 3")
    page.go_back()
    expect(page).to_have_url(re.compile("#/cluster/gpu-h100-00$"))
    page.get_by_role("button", name="Cluster", exact=True).click()
    expect(page.locator(".legend")).to_be_visible()
    page.wait_for_function("scale => +document.querySelector('canvas').dataset.scale === scale", arg=whole)
    canvas.hover(position={"x": 400, "y": 300})
    page.mouse.wheel(0, -500)
    page.wait_for_function("scale => +document.querySelector('canvas').dataset.scale > 1.5 * scale", arg=whole)
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("scale => +document.querySelector('canvas').dataset.scale === scale", arg=whole)


def test_by_keys_alone(open_page: Open, ten: Served) -> None:
    page = live(open_page(ten.url))
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#said")).to_contain_text("gpu-h100-00: ")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#said")).to_contain_text("gpu-h100-01: ")
    page.keyboard.press("Enter")
    expect(page.locator(".way")).to_contain_text("gpu-h100-01")
    page.keyboard.press("Enter")
    expect(page.locator(".way")).to_contain_text("GPU 0")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".way")).to_contain_text("GPU 1")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator(".legend")).to_be_visible()
    page.get_by_role("button", name="Table").press("Enter")  # and by the table, for those who see no map
    page.get_by_role("button", name="gpu-h100-02").press("Enter")
    expect(page.locator("#said")).to_contain_text("gpu-h100-02: ")
    expect(page.locator("#view-cluster table")).to_be_visible()
    page.get_by_role("button", name=re.compile("^GPU 2:")).press("Enter")
    expect(page.locator(".way")).to_contain_text("GPU 2")
    expect(page.locator(".side")).to_be_focused()  # the button is gone, and one is still where one was
    page.keyboard.press("Escape")
    expect(page.locator(".way")).not_to_contain_text("GPU 2")
    page.locator("#tab-cluster").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-queue")).to_be_focused()
    expect(page.locator("#view-queue table")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()


def test_filters(open_page: Open, ten: Served) -> None:
    page = live(open_page(ten.url))
    page.get_by_role("button", name="Table").click()
    rows = page.locator("#view-cluster tbody tr")
    nodes = list(ten.world.shown.nodes.values())
    expect(rows).to_have_count(len(nodes))
    page.locator("#find").fill("l40s")
    expect(rows).to_have_count(1)
    page.locator("#find").fill("no such thing")
    expect(page.locator("#view-cluster .more")).to_have_text("No node is like that.")
    page.locator("#find").fill("")
    page.locator("#choose-state").select_option("with a problem")
    expect(rows).to_have_count(sum(bool(node.note) or any(gpu.problem for gpu in node.gpus) for node in nodes))
    page.locator("#choose-state").select_option("all")
    before = set(rows.locator("th").all_inner_texts())
    page.locator(".entry", has_text="ranking").click()
    held = {node.name for node in nodes if any(p.pod.startswith("ranking/") for p in node.pods)}
    assert held
    assert held < before
    expect(rows).to_have_count(len(held))
    assert set(rows.locator("th").all_inner_texts()) == held
    # All of it is in the address: who gets it sees the same.
    again = live(open_page(page.url))
    expect(again.locator("#view-cluster tbody tr")).to_have_count(len(held))


def test_an_address_that_nobody_meant_is_no_harm(open_page: Open, ten: Served) -> None:
    page = live(open_page(f"{ten.url}#/%E0%A4%A/x/y?mode=toString&sort=constructor&as=nothing&state=__proto__"))
    expect(page.locator("canvas")).to_have_attribute("data-nodes", "10")
    page.goto(f"{ten.url}#/cluster/no-such-node/77")
    page.reload()
    live(page)
    expect(page.locator(".detail")).to_contain_text("There is no node no-such-node any more")


def test_the_queue_says_why(open_page: Open, ten: Served) -> None:
    now = int(ten.world.now)
    ten.do(
        lambda world: world.queue(
            Pod("vision/young", "1 gpu", now - 10, code="GPU", message="none is free"),
            Pod("vision/old", "1 gpu", now - 600, code="GPU", message="none is free"),
            Pod(
                "speech/vip",
                "2 gpu",
                now - 5,
                1000,
                "speech/gang",
                "ElasticQuota speech/q",
                "",
                "QuotaMax",
                "at most 4",
            ),
            Pod("speech/soon", "1 gpu", now - 900, state="binding"),
        )
    )
    page = live(open_page(f"{ten.url}#/queue"))
    names = page.locator("#view-queue tbody th")
    expect(names).to_have_text(["speech/vip", "speech/soon", "vision/old", "vision/young"])
    expect(page.locator("#view-queue tbody tr").first).to_contain_text("QuotaMax at most 4".replace(" at", "at"))
    expect(page.locator("#view-queue tbody tr").nth(1)).to_contain_text("its Binding is on its way")
    expect(page.locator("#view-queue tbody tr").nth(2)).to_contain_text("10m")
    page.get_by_role("button", name="GPU 2").click()
    expect(names).to_have_text(["vision/old", "vision/young"])
    page.get_by_placeholder("Find Pods").fill("young")
    expect(names).to_have_text(["vision/young"])


def test_quotas_show_what_is_borrowed(open_page: Open, ten: Served) -> None:
    page = live(open_page(f"{ten.url}#/quotas"))
    card = page.locator(".card", has_text="infra/rest")
    expect(card).to_contain_text("90 of 64")
    expect(card).to_contain_text("26 borrowed")
    expect(card).to_contain_text("at most 128")
    # 64 of 128 is half of the bar, and 26 of 128 is what follows.
    parts = card.locator(".bound").evaluate(
        "bar => ['.own', '.borrowed'].map(s => bar.querySelector(s).getBoundingClientRect().width / bar.clientWidth)"
    )
    assert parts == [pytest.approx(64 / 128, abs=0.01), pytest.approx(26 / 128, abs=0.01)]
    expect(page.locator(".card", has_text="robotics/second")).to_contain_text("under another quota already")


def test_the_timeline_tells_what_happened(open_page: Open, ten: Served) -> None:
    page = live(open_page(f"{ten.url}#/timeline"))
    ten.happened(Moment(ten.world.now, "Preempted", "vision/victim", "goes for speech/vip"))
    ten.happened(Moment(ten.world.now, "NodesNotMade", "spot", "no capacity", warning=True))
    moments = page.locator(".moments li")
    expect(moments).to_have_count(2)
    expect(moments.first).to_contain_text("no capacity")
    page.get_by_role("button", name="Evictions 1").click()
    expect(moments).to_have_count(1)
    expect(moments).to_contain_text("goes for speech/vip")
    expect(page.get_by_role("img", name=re.compile("^Allocation: now"))).to_be_visible()


def test_names_are_text(open_page: Open, ten: Served) -> None:
    """What comes from the cluster is never markup, wherever it is shown."""
    bad = "<img src=x onerror=alert(1)>"
    old = ten.world.node("gpu-h100-01")
    evil = replace(old, product=bad, note=bad, gpus=(Gpu(1000, pods=(f"{bad}/{bad}",), problem=bad), *old.gpus[1:]))
    ten.do(lambda world: world.put(evil))
    ten.do(lambda world: world.queue(Pod(f"{bad}/{bad}", bad, 1, 0, bad, bad, "", bad, bad)))
    ten.happened(Moment(1.0, bad, bad, bad))
    page = open_page(ten.url)
    page.on("dialog", lambda _: pytest.fail("a script ran"))
    live(page)
    for where in (
        "cluster",
        "cluster/gpu-h100-01",
        "cluster/gpu-h100-01/0",
        "queue",
        "quotas",
        "timeline",
        "cluster?as=table",
    ):
        page.goto(f"{ten.url}#/{where}")
        page.reload()
        live(page)
        assert page.locator("img").count() == 0
    expect(page.locator("#view-cluster tbody")).to_contain_text(bad)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "where",
    ["cluster", "cluster?as=table", "cluster/gpu-a100-06", "cluster/gpu-a100-06/1", "queue", "quotas", "timeline"],
)
def test_no_barriers(open_page: Open, ten: Served, where: str, scheme: str) -> None:
    ten.do(lambda world: world.step(10))
    page = live(open_page(f"{ten.url}#/{where}", color_scheme=scheme))
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def test_words_are_readable_on_every_colour(open_page: Open, ten: Served) -> None:
    """WCAG 2 AA: a contrast of 4.5. Computed here from its definition, on all that a word can stand on."""
    page = live(open_page(ten.url))
    inks: dict[str, str] = page.evaluate("""async () => {
        const { PALETTE, RAMP, OTHERS, inkOn } = await import("/colours.js");
        return Object.fromEntries([...PALETTE, ...RAMP.light, ...RAMP.dark, OTHERS].map((one) => [one, inkOn(one)]));
    }""")
    assert len(inks) == 12 + 5 + 5 + 1
    for colour, ink in inks.items():
        light, dark = sorted((luminance(colour), luminance(ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (colour, ink)


def luminance(colour: str) -> float:
    """Relative, as WCAG defines it."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_light_and_dark(open_page: Open, ten: Served) -> None:
    page = live(open_page(ten.url, color_scheme="dark"))
    shown = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(shown)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"dark => {shown} !== dark", arg=dark)
    switch = page.locator("#theme")
    switch.click()
    expect(switch).to_have_attribute("aria-label", "Theme: light")
    switch.click()
    expect(switch).to_have_attribute("aria-label", "Theme: dark")
    assert page.evaluate(shown) == dark
    page.reload()
    assert page.evaluate(shown) == dark  # it is kept


@pytest.mark.parametrize("part", ["paint.js", "main.js", "views.css", "theme.js"])
def test_a_page_that_came_in_part_is_loaded_anew(open_page: Open, ten: Served, part: str) -> None:
    """As when the network changes meanwhile."""
    page = open_page("about:blank", expected=("ERR_FAILED", "nosTheme is not defined"))
    lost: list[str] = []

    def lose_once(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.request.url)
            route.abort()

    page.route(f"**/{part}", lose_once)
    page.goto(ten.url)
    page.wait_for_function("() => sessionStorage.getItem('nos-loads') === '0'")  # whole, and it has forgotten
    assert lost
    live(page)


def test_a_page_whose_part_never_comes_is_not_loaded_for_ever(open_page: Open, ten: Served) -> None:
    """Without its colours it shows the cluster all the same."""
    page = open_page("about:blank", expected=("ERR_FAILED",))
    loads: list[str] = []

    def lose(route: Route) -> None:
        loads.append(route.request.url)
        route.abort()

    page.route("**/views.css", lose)
    page.goto(ten.url)
    page.wait_for_function("() => sessionStorage.getItem('nos-loads') === '5' && document.readyState === 'complete'")
    for _ in range(150):  # the fifth is loaded anew after 1.5 s
        if len(loads) == 6:
            break
        page.wait_for_timeout(100)
    live(page)
    page.wait_for_timeout(3000)  # it would be loaded anew after 300 ms to 1.8 s
    assert len(loads) == 6


def test_a_page_of_an_older_nos_is_loaded_anew(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(Synthetic(3)) as old:
        address = old.url.removeprefix("http://").rstrip("/")
        page = live(open_page(f"{old.url}#/quotas", expected=("ERR_", "net::")))
    newer = tmp_path / "static"
    shutil.copytree(servers._STATIC, newer)
    index = newer / "index.html"
    index.write_text(index.read_text().replace("<title>nos</title>", "<title>newer</title>"))
    monkeypatch.setattr(servers, "_STATIC", newer)
    with served(Synthetic(3), address):
        expect(page).to_have_title("newer")
        expect(live(page).locator("#view-quotas")).to_be_visible()
        page.close()


def test_a_server_that_is_gone_and_comes_back(open_page: Open) -> None:
    with served(Synthetic(10)) as first:
        address = first.url.removeprefix("http://").rstrip("/")
        page = live(open_page(first.url, expected=("ERR_", "net::")))
    expect(page.locator("#status")).to_have_text("Reconnecting")
    with served(Synthetic(12), address):
        live(page)
        expect(page.locator("canvas")).to_have_attribute("data-nodes", "12")
