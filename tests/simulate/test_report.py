"""The report: well-formed, self-contained, and safe against what a trace calls its things."""

import json
from html.parser import HTMLParser

import pytest

from nos.simulate.generate import Group, generate
from nos.simulate.replay import replay
from nos.simulate.report import page
from nos.simulate.report.data import report_data
from nos.simulate.result import summarize
from nos.simulate.trace import Node, Pod, Trace

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps scripts and what would be fetched."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")
        self.fetched += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


def read(trace: Trace, *policies: str) -> tuple[Reader, str]:
    replays = [replay(trace, policy, samples=True) for policy in policies]
    html = "".join(page(replays, [summarize(replayed) for replayed in replays]))
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader, html


@pytest.mark.parametrize("policies", [["nos"], ["nos", "fgd", "best-fit", "first-fit"]])
def test_well_formed_and_self_contained(policies: list[str]) -> None:
    reader, html = read(generate([Group(20, 8, "H100"), Group(5, 2, "T4"), Group(2, 0)], seed=1), *policies)
    assert reader.fetched == []
    assert "url(" not in html.replace("url(#", "")
    assert "@import" not in html
    assert "//" not in html.replace("http://www.w3.org/2000/svg", "").replace("// ", "")
    data = json.loads(reader.scripts[0])
    assert [policy["name"] for policy in data["policies"]] == policies
    assert data["models"] == ["H100", "T4"]
    assert len(data["nodes"]["name"]) == 25
    assert data["nodes"]["withoutGpu"] == 2
    for policy in data["policies"]:
        assert len(policy["course"]) == len(policy["courseOfModel"][0]) == 201
        assert policy["courseOfModel"][1][-1] == policy["allocatedOfModel"][1]


def test_names_stay_text() -> None:
    evil = "</script><script>alert(1)</script>"
    trace = Trace([Node(evil, 1000, 1024, 1, evil)], [Pod(evil, 9000, 1, 1, 1000), Pod("b", 1, 1, 1, 1000)], [0, 1])
    reader, html = read(trace, "nos")
    assert reader.tags.count("script") == 2
    assert evil not in html
    assert json.loads(reader.scripts[0])["nodes"]["name"] == [evil]


@pytest.mark.parametrize(
    "trace",
    [
        Trace([Node("a", 1000, 1, 0)], [Pod("p", 600, 1, 0, 0)], [0]),  # no GPU at all
        Trace([Node("a", 1000, 1, 65_535, "X")], [Pod("p", 1, 0, 65_535, 1000)], [0]),
        Trace([Node("a", 1000, 1, 1)], [Pod("p", 1, 0, 2, 1000)], [0, 0]),  # nothing is placed; the model is unknown
    ],
)
def test_odd_traces(trace: Trace) -> None:
    read(trace, "nos")


def test_a_picture_of_very_many_gpus_is_cut() -> None:
    trace = Trace([Node(f"n{i}", 1, 1, 60_000, "X") for i in range(3)], [Pod("p", 1, 0, 1, 1000)], [0])
    replayed = replay(trace, "first-fit", samples=True)
    data = report_data([replayed], [summarize(replayed)])
    assert (len(data["nodes"]["name"]), data["nodes"]["notDrawn"]) == (2, 1)
    assert len(data["policies"][0]["nodes"]["bars"][0]) == 16


def test_stranded_is_free_gpu_that_no_pod_of_the_trace_fits() -> None:
    # On full the CPU is gone with a GPU left over; on crumbs 300 milli are left, and the smallest Pod asks for 400;
    # on open there is room.
    trace = Trace(
        [Node("full", 4000, 9, 2, "F"), Node("crumbs", 9000, 9, 1, "C"), Node("open", 9000, 9, 2, "O")],
        [
            Pod("greedy", 4000, 1, 1, 1000, ("F",)),
            Pod("most", 1000, 1, 1, 700, ("C",)),
            Pod("small", 1000, 1, 1, 400),
            Pod("one", 1000, 1, 1, 1000, ("O",)),
        ],
        [0, 1, 3],
    )
    # "small" never arrives in this order, so what it asks for does not count.
    replayed = replay(trace, samples=True)
    assert report_data([replayed], [summarize(replayed)])["policies"][0]["nodes"]["stranded"] == [1, 1, 0]
    trace = Trace(trace.nodes, [*trace.pods[:2], Pod("tiny", 1, 1, 1, 300), trace.pods[3]], [0, 1, 3, 2])
    replayed = replay(trace, samples=True)
    stranded = report_data([replayed], [summarize(replayed)])["policies"][0]["nodes"]["stranded"]
    assert stranded[0] == 1
    assert stranded[2] == 0
