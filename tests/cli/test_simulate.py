"""`nos simulate` as its users meet it: files, exit codes, and never a traceback."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-c", "from nos.cli import main; main()", "simulate"]
NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\nn1,64000,262144,8,T4\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np0,6000,12288,1,460\np1,1,0,8,1000\np2,1,0,9,1000\n"


def simulate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert "Traceback" not in result.stderr + result.stdout
    return result


@pytest.fixture
def trace(tmp_path: Path) -> list[str]:
    (tmp_path / "nodes.csv").write_text(NODES)
    (tmp_path / "pods.csv").write_text(PODS)
    return ["--nodes", f"{tmp_path}/nodes.csv", "--pods", f"{tmp_path}/pods.csv"]


def test_all_outputs(trace: list[str], tmp_path: Path) -> None:
    (tmp_path / "order").write_text("1\n0\n2\n0\n")
    outputs = [f"--{kind}={tmp_path}/out.{kind}" for kind in ("placements", "json", "report")]
    result = simulate(*trace, f"--order={tmp_path}/order", *outputs)
    assert result.returncode == 0
    assert result.stderr == ""
    assert ["GPU", "allocated", "89.20", "%"] in [line.split() for line in result.stdout.splitlines()]
    assert "1 of the refused arrivals fit no node even when it is empty: p2" in result.stdout
    assert (tmp_path / "out.placements").read_text() == "0,1,0-1-2-3-4-5-6-7\n1,0,0\n3,0,0\n"
    figures = json.loads((tmp_path / "out.json").read_text())
    assert (figures["pods"], figures["placed"], figures["refused"]) == (4, 3, 1)
    assert figures["gpu_allocated_ratio"] == pytest.approx(0.892)  # 8 + 2 x 0.46 of 10
    assert (tmp_path / "out.report").read_text().startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_json_on_stdout_is_all_there_is(trace: list[str]) -> None:
    assert json.loads(simulate(*trace, "--policy", "first-fit", "--json", "-").stdout)["placed"] == 2
    result = simulate(*trace, "--json", "-", "--policy", "nos", "--policy", "fgd", "--policy", "nos")
    assert [figures["policy"] for figures in json.loads(result.stdout)["policies"]] == ["nos", "fgd"]


def test_the_generator_obeys_its_seed() -> None:
    def figures(seed: int) -> object:
        result = simulate("--generate", "20x8", "--count", "300", "--seed", str(seed), "--json", "-")
        document = json.loads(result.stdout)
        assert document["pods"] == 300
        return [document[key] for key in ("placed", "gpu_requested_ratio", "by_demand")]

    assert figures(1) == figures(1) != figures(2)


def test_no_control_characters_in_a_pipe() -> None:
    result = simulate("--generate", "20x8")
    assert "\x1b" not in result.stdout + result.stderr
    assert result.stdout.isascii()


def test_a_bar_and_a_box_on_a_terminal() -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "--generate=50x8"], stdout=child, stderr=child, env={**os.environ, "TERM": "xterm"}
    )
    os.close(child)
    shown = b""
    while True:
        try:
            chunk = os.read(parent, 65536)
        except OSError:  # the last writer is gone
            break
        if not chunk:
            break
        shown += chunk
    os.close(parent)
    assert process.wait(60) == 0
    text = shown.decode()
    assert "\u256d" in text  # the corner of the table
    assert "\u2501" in text  # the bar


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--generate"),
        (["--nodes", "x"], "--generate"),
        (["--generate", "2x8", "--nodes", "x"], "--generate"),
        (["--nodes", "x", "--pods", "x", "--count", "5"], "--count"),
        (["--generate", "2x8", "--count", "0"], "--count"),
        (["--generate", "2x8", "--count", "many"], "--count"),
        (["--generate", "2x8", "--policy", "worst"], "--policy"),
        (["--generate", "2x8", "--report", "-"], "only --json"),
        (["--generate", "2x8", "--policy", "nos", "--policy", "fgd", "--placements", "x"], "--placements"),
    ],
)
def test_wrong_command_lines(arguments: list[str], message: str) -> None:
    result = simulate(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_errors_are_one_line(trace: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(PODS + "p3,1,1,1,-5\n")
    (tmp_path / "order").write_text("3\n")
    for arguments, message in [
        ([*trace[:2], "--pods", f"{tmp_path}/bad.csv"], f"{tmp_path}/bad.csv:5: column gpu_milli: -5 is negative"),
        ([*trace, "--order", f"{tmp_path}/order"], f"{tmp_path}/order:1: there is no Pod 3: the rows are 0 to 2"),
        ([*trace[:2], "--pods", f"{tmp_path}/absent"], f"{tmp_path}/absent: No such file or directory"),
        ([*trace[:2], "--pods", str(tmp_path)], f"{tmp_path}: Is a directory"),
        ([*trace, "--json", f"{tmp_path}/absent/x"], f"{tmp_path}/absent/x: there is no directory {tmp_path}/absent"),
        ([*trace, "--report", str(tmp_path)], f"{tmp_path}: is a directory"),
        ([*trace, "--json", f"{tmp_path}/pods.csv"], f"{tmp_path}/pods.csv: is named twice; it would be overwritten"),
        (["--generate", "many"], "'many' is not of the form NODESxGPUS[:MODEL], such as 100x8 or 100x8:H100"),
    ]:
        result = simulate(*arguments)
        assert (result.returncode, result.stdout, result.stderr) == (1, "", f"error: {message}\n")


def test_a_full_disk_is_an_error(trace: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    result = simulate(*trace, "--json", "/dev/full")
    assert (result.returncode, result.stderr) == (1, "error: /dev/full: No space left on device\n")


def test_a_reader_that_leaves_is_no_traceback(trace: list[str]) -> None:
    program = " ".join(f"'{word}'" for word in [*PROGRAM, *trace])
    result = subprocess.run(f"{program} | true", shell=True, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""


def test_interrupted_it_leaves_no_file(tmp_path: Path) -> None:
    # What it needs is imported first, so that the signal arrives while it works.
    program = (
        "import nos.cli.simulate, nos.simulate.generate; from nos.cli import main; print('ready', flush=True); main()"
    )
    outputs = [f"--json={tmp_path}/j", f"--report={tmp_path}/r"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, "simulate", "--generate=300x8", "--count=9000000", *outputs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "interrupted\n"
    assert list(tmp_path.iterdir()) == []
