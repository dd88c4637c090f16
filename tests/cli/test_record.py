"""`nos record` and `nos replay` as people meet them: the dashboard's real server, and a Cluster without a scheduler."""

from __future__ import annotations

import asyncio
import gzip
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import NoReturn

import pytest
from aiohttp import web

from nos import __version__
from nos._core import NodeSpec
from nos.observe.access import at_home
from nos.observe.dashboard import server
from nos.observe.dashboard.feed import Feed
from nos.observe.dashboard.moments import Moments
from nos.observe.dashboard.server import Recording, serve
from nos.record.cluster import Recorded
from nos.record.codec import checkpoint_line, first_line, last_line
from nos.record.recorder import Recorders
from nos.record.replay import replay
from tests.cli.test_main import nos
from tests.controller.cluster import eventually

DOCS = Path(__file__).parents[2] / "docs/record.md"


class Served:
    """Where the Cluster can be recorded."""

    def __init__(self, cluster: Recorded, loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
        self.url = ""
        self.refusal = ""  # of everybody
        self.recorders = 0
        self._cluster, self._loop, self._end = cluster, loop, end

    async def door(self, request: web.Request) -> None:
        """On loopback, and while nobody is refused."""
        await at_home(request)
        if self.refusal:
            raise web.HTTPForbidden(text=self.refusal)

    async def record(self) -> AsyncGenerator[bytes, None]:
        """As the controller does."""
        self.recorders += 1
        try:
            async with aclosing(Recorders(self._cluster, lambda edit: edit(), "nos").record()) as lines:
                async for piece in lines:
                    yield piece
        finally:
            self.recorders -= 1

    def stop(self) -> None:
        """As the controller does."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end.set)

    def do(self, edit: Callable[[Recorded], object]) -> None:
        """Edit it, in its thread."""

        async def now() -> None:
            edit(self._cluster)

        asyncio.run_coroutine_threadsafe(now(), self._loop).result(10)


@pytest.fixture
def served() -> Iterator[Served]:
    ready = threading.Event()
    found: list[Served] = []

    async def nobody() -> NoReturn:
        raise AssertionError("nobody looks at the page")

    async def main() -> None:
        end, loop, cluster = asyncio.Event(), asyncio.get_running_loop(), Recorded()
        one = Served(cluster, loop, end)
        recording = Recording(one.record, one.door)
        async with serve("127.0.0.1:0", Feed(nobody, Moments()), at_home, recording=recording) as address:
            one.url = f"http://{address}"
            found.append(one)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(10)
    try:
        yield found[0]
    finally:
        found[0].stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that is there already."""
    file = tmp_path / "record.jsonl"
    file.write_text("old")
    return file


def _node(name: str) -> Callable[[Recorded], None]:
    return lambda cluster: cluster.upsert_node(name, NodeSpec({"cpu": 1000}))


Begins = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begins(served: Served) -> Iterator[Begins]:
    """Record into a file, and return when it has begun."""
    begun: list[subprocess.Popen[str]] = []

    def begin(file: Path, *more: str) -> subprocess.Popen[str]:
        argv = [
            sys.executable,
            "-c",
            "from nos.cli import main; main()",
            "record",
            "-o",
            str(file),
            "--url",
            served.url,
        ]
        recorder = subprocess.Popen([*argv, *more], stderr=subprocess.PIPE, text=True)
        begun.append(recorder)
        eventually(
            lambda: recorder.poll() is not None or (file.exists() and '{"checkpoint"' in file.read_text()),
            why="the record begins",
        )
        assert recorder.poll() is None, recorder.communicate()
        return recorder

    yield begin
    for recorder in begun:
        with recorder:
            recorder.kill()


def _replayed(file: Path) -> tuple[int, str]:
    """How many edits, and why it ends."""
    with file.open("rb") as lines:
        done = replay(lines)
    return done.edits, done.ended


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_records_until_it_is_stopped(served: Served, begins: Begins, old: Path, number: signal.Signals) -> None:
    served.do(_node("before"))
    recorder = begins(old)
    served.do(_node("later"))
    eventually(lambda: "later" in old.read_text(), why="the edit is in the file")
    recorder.send_signal(number)
    _, said = recorder.communicate(timeout=20)
    assert (recorder.returncode, said) == (0, f"3 edits, 0 cycles, {_size(old)} bytes\n")
    assert _replayed(old) == (3, "asked to")  # the two, and what demand there was


def _size(file: Path) -> int:
    """Without the last line, which is the recorder's own."""
    return sum(len(line) for line in file.read_bytes().splitlines(keepends=True)[:-1])


def test_it_ends_when_the_file_is_large_enough(served: Served, begins: Begins, old: Path) -> None:
    recorder = begins(old, "--most", "2Ki")
    for number in range(100):
        served.do(_node(f"node-{number}"))
    _, said = recorder.communicate(timeout=20)
    assert (recorder.returncode, said.splitlines()[-1]) == (
        0,
        "nos record: ended: the file is as large as --most allows",
    )
    longest = max(map(len, old.read_bytes().splitlines(keepends=True)))
    assert 2048 - longest < _size(old) <= 2048
    edits, ended = _replayed(old)
    assert (0 < edits < 100, ended) == (True, "the file is as large as --most allows")


def test_a_controller_that_stops_says_so(served: Served, begins: Begins, old: Path) -> None:
    recorder = begins(old)
    served.do(_node("later"))
    served.stop()
    _, said = recorder.communicate(timeout=20)
    why = "the controller stops, or leads no more"
    assert (recorder.returncode, said.splitlines()[-1]) == (1, f"nos record: ended: {why}")
    assert _replayed(old) == (2, why)


def test_one_who_loses_the_right_gets_no_more_and_is_told(
    served: Served, begins: Begins, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HOLDS_S", 0.0)  # he is judged anew with each piece
    recorder = begins(old)
    served.do(_node("while-he-may"))
    eventually(lambda: "while-he-may" in old.read_text(), why="the edit is in the file")
    served.refusal = "ada may not get /record in this cluster"
    served.do(_node("when-he-may-not"))
    _, said = recorder.communicate(timeout=20)
    why = f"the right to it was lost: {served.refusal}"
    assert (recorder.returncode, said.splitlines()[-1]) == (1, f"nos record: ended: {why}")
    assert _replayed(old) == (2, why)
    assert "when-he-may-not" not in old.read_text()


def test_one_who_reads_nothing_for_too_long_is_cut_and_told(
    served: Served, begins: Begins, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PATIENCE_S", 0.3)
    recorder = begins(old, "--most", "1Gi")
    recorder.send_signal(signal.SIGSTOP)
    edits = 40  # of 1 MiB each, more than the sockets between them hold
    for number in range(edits):
        served.do(lambda cluster, name=f"n{number}": cluster.upsert_namespace(name, {"a": "x" * (1 << 20)}))
    eventually(lambda: served.recorders == 0, why="the server gives up")
    recorder.send_signal(signal.SIGCONT)
    _, said = recorder.communicate(timeout=20)
    why = "the reader was too slow: nothing was read for 0.3 s"
    assert (recorder.returncode, said.splitlines()[-1]) == (1, f"nos record: ended: {why}")
    taken, ended = _replayed(old)
    assert (1 < taken < 1 + edits, ended) == (True, why)


def test_what_the_controller_cannot_write_down_is_told(served: Served, begins: Begins, old: Path) -> None:
    recorder = begins(old)
    with pytest.raises(TypeError):
        served.do(lambda cluster: cluster.upsert_node("n", object()))  # type: ignore[arg-type]
    _, said = recorder.communicate(timeout=20)
    assert recorder.returncode == 1
    assert "nos record: ended: the controller cannot make a record: 'object' object is not iterable" in said
    assert "Traceback" not in said


def test_names_are_scrubbed(served: Served, tmp_path: Path) -> None:
    served.do(_node("acme-1"))
    file = tmp_path / "record.jsonl"
    done = nos("record", "-o", str(file), "--url", served.url, "--seconds", "0.5", "--scrub")
    assert (done.returncode, _replayed(file)) == (0, (2, "asked to")), done.stderr
    assert '"with":{"name":"n0"' in file.read_text()
    assert "acme" not in file.read_text()


def test_an_old_file_outlives_what_cannot_be_scrubbed(served: Served, old: Path) -> None:
    fails = """
import nos.record.scrub
def scrub(record, into):
    raise nos.record.reader.RecordError("line 7: with other names something else is decided: Pod n1 ...")
nos.record.scrub.scrub = scrub
"""
    done = nos("record", "-o", str(old), "--url", served.url, "--seconds", "0.2", "--scrub", code=fails)
    assert (done.returncode, old.read_text()) == (2, "old")
    assert done.stderr.endswith(
        "nos record: nothing is kept: line 7: with other names something else is decided: Pod n1 ...\n"
    )


def test_ctrl_c_while_names_are_replaced_keeps_nothing(served: Served, old: Path) -> None:
    waits = """
import os, signal, nos.record.scrub
nos.record.scrub.scrub = lambda *_: os.kill(os.getpid(), signal.SIGINT)
"""
    done = nos("record", "-o", str(old), "--url", served.url, "--seconds", "0.2", "--scrub", code=waits)
    assert (done.returncode, old.read_text(), "Traceback" in done.stderr) == (130, "old", False)


def test_ctrl_c_while_nobody_answers_ends_it(old: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        argv = [sys.executable, "-c", "from nos.cli import main; main()", "record", "-o", str(old)]
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen([*argv, "--url", url], stderr=subprocess.PIPE, text=True) as recorder:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(1)  # it asks
                recorder.send_signal(signal.SIGINT)
                _, said = recorder.communicate(timeout=20)
    assert (recorder.returncode, said, old.read_text()) == (130, "", "old")


def test_an_old_file_outlives_a_refusal(served: Served, begins: Begins, old: Path) -> None:
    recorders = [begins(old.with_name(f"{number}.jsonl")) for number in range(4)]
    done = nos("record", "-o", str(old), "--url", served.url)
    assert (done.returncode, done.stderr) == (2, f"nos record: {served.url}: 503: 4 record already\n")
    assert old.read_text() == "old"
    for recorder in recorders:
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=20)
        assert recorder.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "http://127.0.0.1:1"], "http://127.0.0.1:1: Cannot connect to host 127.0.0.1:1"),
        (
            ["--url", "nowhere"],
            "nowhere: nowhere/api/record; name the dashboard of the controller that leads with --url",
        ),
        (["--most", "0"], "--most 0: expected more than nothing, such as 100Mi"),
        (["--most", "much"], "--most much: "),
        (["--seconds", "-1"], "--seconds -1: expected more than nothing, or leave it out"),
        (["--token-file", "/nowhere/token"], "--token-file /nowhere/token: "),
        (["--ca-file", "/nowhere/ca"], "--ca-file /nowhere/ca: "),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_the_old_file_is_as_it_was(
    old: Path, arguments: list[str], said: str
) -> None:
    done = nos("record", "-o", str(old), *arguments)
    assert (done.returncode, done.stderr.count("\n"), old.read_text()) == (2, 1, "old"), done.stderr
    assert done.stderr.startswith(f"nos record: {said}")


@pytest.mark.parametrize("page", ["/?", "/nowhere"])
def test_a_page_that_is_no_record_is_told(served: Served, old: Path, page: str) -> None:
    done = nos("record", "-o", str(old), "--url", served.url + page)
    assert (done.returncode, old.read_text()) == (2, "old")
    why = "no record is to be had there; is it the dashboard of a controller of this nos?"
    assert done.stderr == f"nos record: {served.url}{page}: {why}\n"


def test_a_file_that_cannot_be_written_is_told(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "record.jsonl"
    for more in ([], ["--scrub"]):
        done = nos("record", "-o", str(file), "--url", served.url, "--seconds", "0.2", *more)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == f"nos record: {file}: No such file or directory"


def test_what_is_wrong_with_a_file_is_said_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    begun = first_line("nos") + checkpoint_line(0)
    for text, said in (
        (None, "No such file or directory"),
        (begun, "line 3: the last line is missing, so the file was cut off; copy it again, or record again"),
        (begun + last_line("x")[:-5], "line 3: no JSON (Input data was truncated); the file is damaged, so copy it"),
        (begun.replace(b":1,", b":2,"), f"line 1: the format is 2 and this nos {__version__} reads 1; use nos "),
        (gzip.compress(begun), "line 1: no JSON ("),
        ("", "line 1: this is no record of nos; make one with nos record -o FILE"),
        (
            "kind: Pod\n",
            "line 1: no JSON (JSON is malformed: invalid character (byte 0)); the file is damaged, so copy it again",
        ),
        ('{"nosRecord":1,"policy":"best"}\n', "line 1: "),
    ):
        if text is not None:
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        done = nos("replay", str(file))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(f"nos replay: {file}: {said}"), done.stderr
    done = nos("replay", str(file), "-o", "xml")
    assert (done.returncode, done.stderr) == (2, "nos replay: --output xml: expected text or json\n")


@pytest.mark.parametrize("command", ["record", "replay"])
def test_help_is_there_and_a_wrong_command_line_is_told(command: str) -> None:
    told = nos(command, "--help")
    assert (told.returncode, "Usage:" in told.stdout) == (0, True)
    assert nos(command).returncode == 2
    assert nos(command, "--nothing").returncode == 2


def test_what_the_docs_say_works_as_pasted(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served.do(_node("n"))
    block = re.search(r"```\n(kubectl .*?)```", DOCS.read_text(), re.DOTALL)
    assert block
    _, *lines = block[1].splitlines()  # the first makes the default address reach the controller
    monkeypatch.chdir(tmp_path)
    for line in lines:
        command, *arguments = shlex.split(line, comments=True)
        assert command == "nos"
        if arguments[0] == "record":
            arguments = [*("0.5" if one == "60" else one for one in arguments), "--url", served.url]
        done = nos(*arguments)
        assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 cycles with 0 decisions, 0 plans of nodes: all the same\n")
