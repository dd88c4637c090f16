"""The HTML of the report: a headline, the figures as a table, and places for what the scripts draw."""

import json
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from nos import __version__
from nos.simulate.replay import Replay
from nos.simulate.report.data import report_data
from nos.simulate.result import Summary

_HERE = Path(__file__).parent
_FIGURES: tuple[tuple[str, Callable[[Summary], float], str, int], ...] = (  # title, value, format, 1: more is better
    ("GPU allocated", lambda summary: 100 * summary.gpu_allocated_ratio, "{:.2f} %", 1),
    (
        "GPU fragmented",
        lambda summary: 100 * summary.fragmentation_ratio * (1 - summary.gpu_allocated_ratio),
        "{:.2f} %",
        -1,
    ),
    ("Pods placed", lambda summary: summary.placed, "{:,.0f}", 1),
    ("Pods refused", lambda summary: summary.refused, "{:,.0f}", -1),
    ("Time to decide", lambda summary: summary.seconds, "{:.3f} s", -1),
    ("Decisions per second", lambda summary: summary.decisions_per_second, "{:,.0f}", 1),
)


def page(replays: Sequence[Replay], summaries: Sequence[Summary]) -> Iterator[str]:
    """The parts of the page, in order."""
    first = summaries[0]
    data = json.dumps(report_data(replays, summaries), separators=(",", ":"))
    yield _HEAD.format(style=_asset("report.css"))
    yield _header(first, summaries)
    yield _figures(summaries)
    yield _BODY
    yield _remarks(first)
    yield f"<footer>nos {escape(__version__)} &middot; Pods arrive one after another and stay; "
    yield "one that fits nowhere when it arrives is refused for good.</footer>\n</main>\n"
    # "<" would end the script early where a name holds "</script>"; inside JSON strings the escape means the same.
    yield '<script type="application/json" id="data">' + data.replace("<", "\\u003c") + "</script>\n"
    yield "<script>\n" + _asset("charts.js") + _asset("nodes.js") + "</script>\n</body>\n</html>\n"


def _header(first: Summary, summaries: Sequence[Summary]) -> str:
    scale = f"{first.nodes:,} nodes &middot; {first.gpus:,} GPUs &middot; {first.pods:,} Pods"
    return (
        f'<header><p class="brand"><b>nos</b> simulate</p><h1>{_headline(first, summaries[1:])}</h1>'
        f'<p class="lede">{scale} that ask for {100 * first.gpu_requested_ratio:.0f}&nbsp;% of the GPU</p></header>\n'
    )


def _headline(first: Summary, others: Sequence[Summary]) -> str:
    allocated = 100 * first.gpu_allocated_ratio
    name = f'<span style="color:var(--{first.policy})">{escape(first.policy)}</span>'
    if not first.gpus:
        return f"{name} places {first.placed:,} of {first.pods:,} Pods"
    claim = f"{name} allocates {allocated:.2f}&nbsp;% of the GPUs"
    if not others:
        return claim
    rival = max(others, key=lambda summary: summary.gpu_allocated_ratio)
    points = round(allocated - 100 * rival.gpu_allocated_ratio, 2)
    if points == 0:
        return f"{claim}, as much as {escape(rival.policy)}"
    return f"{claim}, {abs(points):.2f} points {'more' if points > 0 else 'less'} than {escape(rival.policy)}"


def _figures(summaries: Sequence[Summary]) -> str:
    """Tiles for one policy, a table for several."""
    if len(summaries) == 1:
        tiles = "".join(
            f'<div class="tile"><span>{title}</span><b>{form.format(value(summaries[0]))}</b></div>'
            for title, value, form, _ in _FIGURES
        )
        return f'<section class="tiles" style="--first:var(--{summaries[0].policy})">{tiles}</section>\n'
    head = "".join(f'<th scope="col">{title}</th>' for title, *_ in _FIGURES)
    rows = []
    for summary in summaries:
        cells = []
        for _, value, form, better in _FIGURES:
            text = form.format(value(summary))
            best = form.format(max((value(other) for other in summaries), key=lambda amount: better * amount))
            all_equal = len({form.format(value(other)) for other in summaries}) == 1
            cells.append(f"<td{' class=best' if text == best and not all_equal else ''}>{text}</td>")
        swatch = f'<i class="swatch" style="background:var(--{summary.policy})"></i>'
        rows.append(f'<tr><th scope="row">{swatch}{escape(summary.policy)}</th>{"".join(cells)}</tr>')
    return (
        '<section class="card scroll"><table class="figures"><thead><tr><th scope="col">Policy</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></section>\n"
    )


def _remarks(first: Summary) -> str:
    larger = first.larger_than_any_node
    if not larger.pods:
        return ""
    names = ", ".join(escape(name) for name in larger.names)
    more = ", ..." if larger.pods > len(larger.names) else ""
    return (
        f'<section class="card"><h2>Larger than any node</h2><p class="note">{larger.pods:,} arrivals fit no node '
        f"even when it is empty: {names}{more}</p></section>\n"
    )


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>nos simulate</title>
<style>
{style}</style>
</head>
<body>
<main>
"""

_BODY = """<noscript><p class="card">The charts are drawn by a script inside this file; it is off.</p></noscript>
<div class="pair">
<section class="card"><div class="title"><h2>GPU allocated</h2>
<div class="controls"><select id="model" aria-label="GPU model"></select>
<button id="zoom" type="button" aria-pressed="false">Zoom to the end</button></div></div>
<p class="note">While more and more of it is requested. Dashed: the ideal.</p>
<div class="legend"></div><div class="chart" id="allocated"></div></section>
<section class="card"><div class="title"><h2>Fragmentation</h2>
<div class="controls"><select id="of" aria-label="Percent of"><option value="all">% of all GPU</option>
<option value="free">% of the free GPU</option></select></div></div>
<p class="note">Free GPU that the typical Pod cannot use where it is.</p>
<div class="legend"></div><div class="chart" id="fragmented"></div></section>
</div>
<div class="pair">
<section class="card"><div class="title"><h2>Allocated by GPU model</h2></div>
<p class="note">At the end, of the GPUs of each model.</p>
<div class="legend"></div><div class="bars" id="models"></div></section>
<section class="card"><div class="title"><h2>Refused by demand</h2></div>
<p class="note">Pods that found no room when they arrived, of those that asked for the same.</p>
<div class="legend"></div><div class="bars" id="refused"></div></section>
</div>
<section class="card"><div class="title"><h2>The nodes at the end</h2>
<div class="controls" id="choose"></div></div>
<p class="note">A block is a node, a bar in it one GPU, filled as far as it is allocated; the fullest nodes first.
<span class="key"><i class="swatch used"></i>allocated</span>
<span class="key"><i class="swatch free"></i>free</span>
<span class="key"><i class="swatch stranded"></i>stranded: free, but no Pod of this trace fits any more</span></p>
<div id="nodes"></div><p class="note" id="left"></p></section>
<div id="tip" role="status" hidden></div>
"""
