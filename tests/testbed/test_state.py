"""A testbed of another process, or of one that is no more."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nos.testbed import TestbedError, state
from nos.testbed.controlplane import Layout
from nos.testbed.credentials import unfinished
from nos.testbed.state import Process, State


def stale(directory: Path, **processes: Process) -> Layout:
    """What a crash leaves: files, a state, and a lock that nobody holds."""
    layout = Layout(directory)
    for path in (layout.etcd, layout.logs):
        path.mkdir(parents=True)
    layout.lock.touch()
    State(Process(pid=2**22, started=1, boot=state.boot_id()), processes=processes, ready=True).write(layout)
    return layout


def test_a_process_is_known_by_its_start_not_its_id() -> None:
    us = Process.of(os.getpid())
    assert us.alive()
    assert not replace(us, started=us.started - 1).alive()  # an earlier owner of our id
    assert not replace(us, boot="another").alive()
    assert not Process.of(2**22).alive()  # past the largest id


def test_stale_state_is_not_running_and_no_stranger_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        reused = replace(Process.of(stranger.pid), started=1)  # etcd had this id once
        layout = stale(tmp_path / "testbed", etcd=reused)
        assert not state.running(layout)
        assert state.down(layout) is False
        assert stranger.poll() is None
        assert not layout.directory.exists()
        stranger.kill()


def test_a_survivor_of_a_crash_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as survivor:
        layout = stale(tmp_path / "testbed", etcd=Process.of(survivor.pid))
        state.down(layout)
        assert survivor.wait(60) < 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"supervisor": 1}', '{"processes": {"etcd": {}}}'])
def test_a_state_that_cannot_be_read_is_no_state(tmp_path: Path, text: str) -> None:
    layout = stale(tmp_path / "testbed")
    layout.state.write_text(text)
    assert state.read(layout) is None
    assert state.down(layout) is False
    assert not layout.directory.exists()


def test_a_file_that_was_being_written_goes_too(tmp_path: Path) -> None:
    layout = stale(tmp_path / "testbed")
    for path in (layout.state, layout.kubeconfig):  # Ctrl-C came between writing and renaming
        unfinished(path).write_text("{")
    state.down(layout)
    assert not layout.directory.exists()


def test_down_leaves_a_directory_that_is_not_ours_alone(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()  # a name that a testbed uses too
    assert state.down(Layout(tmp_path)) is False
    assert state.down(Layout(tmp_path / "missing")) is False
    assert [path.name for path in tmp_path.iterdir()] == ["config"]


def test_down_keeps_what_somebody_put_beside_it(tmp_path: Path) -> None:
    layout = stale(tmp_path / "testbed")
    (layout.directory / "notes.txt").touch()
    state.down(layout)
    assert [path.name for path in layout.directory.iterdir()] == ["notes.txt"]


def test_the_lock_tells_who_is_there(tmp_path: Path) -> None:
    layout = stale(tmp_path / "testbed")
    hold = "import sys, nos.testbed.state as s, nos.testbed.controlplane as c, pathlib; "
    hold += "s.acquire(c.Layout(pathlib.Path(sys.argv[1]))); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, layout.directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        assert state.running(layout)
        holder.kill()
    assert not state.running(layout)


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(TestbedError, match="not empty"):
        state.move_in(tmp_path)


def test_a_directory_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="too long"):
        state.move_in(tmp_path / ("x" * 100))
