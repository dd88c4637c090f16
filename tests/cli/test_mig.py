"""`nos mig` as its users meet it: what it prints, exit codes, and one line for bad input."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nos.cli.mig import app
from nos.mig import Model, core_model, find, models
from tests.mig.cuts import Gpu, Placement, cuts, facts

EXAMPLE = ["--model", "a100-80gb", "--used", "1g.10gb@0,2g.20gb@2", "--free", "1g.10gb@1", "--want", "3g.40gb,1g.10gb"]


def mig(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, in this process: hundreds of calls."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.raises(SystemExit) as end,
    ):
        app(list(arguments), prog_name="nos mig")
    assert isinstance(end.value.code, int)
    return end.value.code, stdout.getvalue(), stderr.getvalue()


def plan(*arguments: str) -> tuple[int, Any]:
    code, stdout, stderr = mig("plan", *arguments, "--json")
    assert stderr == ""
    return code, json.loads(stdout)


def test_from_the_shell() -> None:
    program = [sys.executable, "-c", "from nos.cli import main; main()", "mig"]
    result = subprocess.run([*program, "plan", *EXAMPLE, "--json"], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    # 1g at 1 is there already; 3g takes 4 units at 0 or 4, and only 4 to 7 are free.
    assert json.loads(result.stdout) == {
        "destroy": [],
        "create": ["3g.40gb@4"],
        "placed": [{"profile": "3g.40gb", "start": 4}, {"profile": "1g.10gb", "start": 1}],
        "unplaced": [],
    }
    result = subprocess.run([*program, "plan", "--model", "a100"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2


def test_models() -> None:
    code, stdout, _ = mig("models", "--json")
    listed = json.loads(stdout)
    assert code == 0
    assert [model["id"] for model in listed] == [model.id for model in models()]
    a30 = listed[0]
    assert (a30["units"], a30["compute_slices"], a30["memory_mib"]) == (4, 4, 24576)
    assert a30["profiles"][2] == {
        "name": "2g.12gb",
        "size": 2,
        "starts": [0, 2],
        "compute_slices": 2,
        "max_instances": 2,
        "memory_mib": 11968,
    }
    assert mig("models", "-o", "json")[1] == stdout
    table = mig("models")[1].splitlines()
    assert len(table) == 1 + len(models())
    assert table[1].split() == ["a30-24gb", "4", "4", *(profile["name"] for profile in a30["profiles"])]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.id)
def test_geometries(model: Model) -> None:
    listed = cuts(facts(model))
    names = [profile.name for profile in model.profiles]
    for arguments, expected in (([], listed.geometries() - {(0,) * len(names)}), (["--maximal"], listed.maximal())):
        code, stdout, _ = mig("geometries", "--model", model.id, *arguments, "--json")
        geometries = json.loads(stdout)
        assert code == 0
        assert len(geometries) == len(expected)
        assert {tuple(geometry.get(name, 0) for name in names) for geometry in geometries} == expected
        assert all(count > 0 for geometry in geometries for count in geometry.values())
        table = mig("geometries", "--model", model.id, *arguments)[1].splitlines()
        assert table[0].split() == names
        rows = [[0 if cell == "·" else int(cell) for cell in line.split()] for line in table[1:]]
        assert {tuple(row) for row in rows} == expected


def test_what_stays_unplaced_ends_with_3() -> None:
    code, cut = plan("--model", "a100-80gb", "--used", "1g.10gb@0,1g.10gb@4", "--want", "1g.10gb,4g.40gb")
    assert code == 3
    assert cut["unplaced"] == [
        {
            "profile": "4g.40gb",  # starts at 0 only, where a used one is; the 1g takes one of the six free units
            "reason": "4g.40gb needs 4 free units in a row from one of its starts, the GPU has 5 elsewhere",
        }
    ]
    assert [one["profile"] for one in cut["placed"]] == ["1g.10gb"]


def test_free_instances_make_way() -> None:
    code, cut = plan("--model", "a100-80gb", "--free", "1g.10gb@0,2g.20gb@4", "--want", "4g.40gb")
    assert code == 0
    assert (cut["destroy"], cut["create"]) == (["1g.10gb@0"], ["4g.40gb@0"])


def test_both_spellings_of_a_profile() -> None:
    for name in ("1g.10gb+me", "1g.10gb.me"):
        code, cut = plan("--model", "a100-80gb", "--free", f"{name}@3", "--want", name)
        assert (code, cut["create"]) == (0, [])
        assert cut["placed"] == [{"profile": "1g.10gb+me", "start": 3}]


def test_repack_moves_what_is_used() -> None:
    # A used 1g in each half: 3g needs a whole half. Either one moves to the other half.
    both = ["--model", "a100-80gb", "--used", "1g.10gb@0,1g.10gb@4", "--want", "3g.40gb"]
    assert plan(*both)[0] == 3
    code, cut = plan(*both, "--repack")
    assert code == 0
    assert len(cut["moves"]) == 1
    assert cut["exact"]
    (move,), (placed,) = cut["moves"], cut["placed"]
    assert move["from"]["gpu"] == move["to"]["gpu"] == placed["gpu"] == 0
    assert move["from"]["start"] // 4 == placed["start"] // 4 != move["to"]["start"] // 4
    assert cut["destroy"] == [f"1g.10gb@{move['from']['start']}"]
    assert sorted(cut["create"]) == sorted([f"1g.10gb@{move['to']['start']}", f"3g.40gb@{placed['start']}"])


def test_repack_moves_nothing_that_need_not() -> None:
    code, cut = plan(*EXAMPLE, "--repack")
    assert (code, cut["moves"], cut["create"]) == (0, [], ["3g.40gb@4"])


def test_repack_onto_an_empty_gpu() -> None:
    # 7 of 7 slices are used; 7g needs a GPU for itself, and so does the 1g beside it.
    full = ["--model", "a100-80gb", "--used", "4g.40gb@0,3g.40gb@4", "--want", "7g.80gb,1g.10gb", "--repack"]
    code, cut = plan(*full)
    assert (code, cut["moves"], cut["placed"]) == (3, [], [])
    code, cut = plan(*full, "--empty-gpus", "2")
    assert (code, cut["moves"], cut["destroy"], cut["create"]) == (0, [], [], [])
    assert sorted((one["profile"], one["gpu"]) for one in cut["placed"]) == [("1g.10gb", 2), ("7g.80gb", 1)]
    # With one more, the 7g takes it; the 1g needs the 3g or the 4g to leave, and neither has anywhere to go.
    code, cut = plan(*full, "--empty-gpus", "1")
    assert (code, [one["profile"] for one in cut["placed"]]) == (3, ["7g.80gb"])


def test_repack_says_why_not_even_that_helps() -> None:
    code, cut = plan("--model", "a100-80gb", "--used", "4g.40gb@0", "--want", "7g.80gb", "--repack")
    assert code == 3
    assert cut["unplaced"] == [
        {
            "profile": "7g.80gb",
            "reason": "7g.80gb fits, but not together with what is wanted before it and would have to move",
        }
    ]


def test_the_picture() -> None:
    code, stdout, _ = mig("plan", *EXAMPLE)
    assert code == 0
    assert stdout.splitlines() == [
        "unit     0       1       2       3       4       5       6       7",
        "before  │1g.10gb│1g.10gb│2g.20gb        │       │       │       │       │",
        "        │used   │free   │used           │       │       │       │       │",
        "after   │1g.10gb│1g.10gb│2g.20gb        │3g.40gb                        │",
        "        │used   │taken  │used           │new                            │",
        "",
        "create   3g.40gb@4",
        "place    3g.40gb@4",
        "place    1g.10gb@1",
    ]


def test_the_picture_with_moves() -> None:
    code, stdout, _ = mig(
        "plan", "--model=a30-24gb", "--used=1g.6gb@0,1g.6gb+me@2", "--want=2g.12gb,4g.24gb", "--repack"
    )
    assert code == 3
    lines = stdout.splitlines()
    assert lines[1] == "before  │1g.6gb   │         │1g.6gb+me│         │"
    # Either one can make room; it moves into the half of the other.
    assert sorted(lines[2].replace("│", " ").split()) == ["moves", "used"]
    assert "new" in lines[4]
    assert "moved" in lines[4]
    assert any(line.startswith("move     1g.6gb") for line in lines)
    assert "not placed: 4g.24gb fits, but not together with what is wanted before it and would have to move" in lines


A100 = ["--model", "a100-80gb"]
STARTS = "1g.10gb starts at 0, 1, 2, 3, 4, 5, 6"
PROFILES = "1g.10gb, 1g.10gb+me, 1g.20gb, 2g.20gb, 3g.40gb, 4g.40gb, 7g.80gb"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "a100-80"], "--model: there is no GPU model 'a100-80'; did you mean a100-80gb?"),
        (["--model", "a100-88gb"], "--model: there is no GPU model 'a100-88gb'; did you mean a100-80gb or "),
        (["--model", "NVIDIA H200 NVL"], "--model: there is no GPU model 'NVIDIA H200 NVL'; did you mean h200-141gb?"),
        (["--model", "z\nz"], "--model: there is no GPU model 'z\\nz'; nos mig models lists all"),
        ([*A100, "--want", "3g.20gb"], f"--want: '3g.20gb' is no profile of a100-80gb; it has {PROFILES}"),
        ([*A100, "--want", "1g.10gb,3G.40GB"], f"--want: '3G.40GB' is no profile of a100-80gb; it has {PROFILES}"),
        ([*A100, "--want", "3g.40gb@0"], "--want: '3g.40gb@0' names a start; write 3g.40gb: the plan says where"),
        ([*A100, "--want", ""], "--want: '' is empty; separate parts by one comma, such as 1g.10gb,2g.20gb"),
        ([*A100, "--want", "1g.10gb,"], "--want: part 2 of '1g.10gb,' is empty; separate"),
        ([*A100, "--used", ",1g.10gb@0"], "--used: part 1 of ',1g.10gb@0' is empty; separate"),
        ([*A100, "--used", "9g@0"], f"--used: '9g@0' is no profile of a100-80gb; it has {PROFILES}"),
        ([*A100, "--used", "1g.10gb"], "--used: '1g.10gb' does not say where it is; write 1g.10gb@START, its starts "),
        ([*A100, "--used", "1g.10gb@7"], f"--used: '1g.10gb@7' cannot be; {STARTS}"),
        ([*A100, "--used", "1g.10gb@01"], f"--used: '1g.10gb@01' cannot be; {STARTS}"),
        ([*A100, "--used", "1g.10gb@"], f"--used: '1g.10gb@' cannot be; {STARTS}"),
        ([*A100, "--used", "3g.40gb@2"], "--used: '3g.40gb@2' cannot be; 3g.40gb starts at 0, 4"),
        ([*A100, "--used", "1g.10gb@0,1g.10gb@0"], "--used: '1g.10gb@0' is named twice; an instance is either used or"),
        ([*A100, "--used", "1g.10gb@0", "--free", "1g.10gb@0"], "--free: '1g.10gb@0' is named twice; an instance is"),
        ([*A100, "--free", "2g.20gb@0,1g.10gb@1"], "--free: '1g.10gb@1' overlaps 2g.20gb@0 at unit 1; leave one of"),
        ([*A100, "--used", "3g.40gb@4", "--free", "7g.80gb@0"], "--free: '7g.80gb@0' overlaps 3g.40gb@4 at unit 4"),
        (
            [*A100, "--used", "1g.10gb+me@0", "--free", "1g.10gb.me@5"],
            "--free: '1g.10gb.me@5' cannot be beside those before it; a GPU holds at most 1 of 1g.10gb+me",
        ),
        ([*A100, "-o", "yaml"], "--output: there is no format 'yaml'; it is json or table"),
        ([*A100, "--empty-gpus", "1"], "--empty-gpus: is for --repack; add that, or leave it out"),
    ],
)
def test_bad_input(arguments: list[str], message: str) -> None:
    want = [] if "--want" in arguments else ["--want", "1g.10gb"]
    code, stdout, stderr = mig("plan", *arguments, *want)
    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"error: {message}")
    assert stderr.count("\n") == 1


def test_bad_input_elsewhere() -> None:
    assert mig("geometries", "--model", "a30")[::2] == (
        2,
        "error: --model: there is no GPU model 'a30'; did you mean a30-24gb?\n",
    )
    assert mig("models", "-o", "wide")[0] == 2
    assert mig("plan", *A100)[0] == 2


def test_spaces_and_nothing_in_use_are_fine() -> None:
    assert plan(*A100, "--used", "", "--free", " ", "--want", " 1g.10gb , 2g.20gb ")[0] == 0


def fits(gpu: Gpu, texts: Counter[str]) -> bool:
    instances = [(name, int(start)) for name, _, start in (text.partition("@") for text in texts.elements())]
    return max(texts.values(), default=0) <= 1 and gpu.fits(instances)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Model, list[Placement], list[Placement], list[str]]:
    model = draw(st.sampled_from([one for one in models() if one.id in ("a30-24gb", "a100-80gb", "rtxpro6000-96gb")]))
    there = draw(st.sampled_from(cuts(facts(model)).sets))
    in_use = draw(st.lists(st.booleans(), min_size=len(there), max_size=len(there)))
    used = [one for one, is_used in zip(there, in_use, strict=True) if is_used]
    free = [one for one in there if one not in used]
    names = [profile.name for profile in model.profiles]
    return model, used, free, draw(st.lists(st.sampled_from(names), min_size=1, max_size=5))


@settings(max_examples=150)
@given(question=questions(), repack=st.booleans(), empty_gpus=st.integers(0, 2), json_too=st.booleans())
def test_a_plan_applied_is_legal(
    question: tuple[Model, list[Placement], list[Placement], list[str]], repack: bool, empty_gpus: int, json_too: bool
) -> None:
    """What is there, less destroy, plus create, fits on the GPU, and holds what stays, moved and is placed."""
    model, used, free, wanted = question
    gpu = facts(model)
    arguments = ["--model", model.id, "--want", ",".join(wanted)]
    for option, instances in (("--used", used), ("--free", free)):
        arguments += [option, ",".join(f"{name}@{start}" for name, start in instances)]
    if repack:
        arguments += ["--repack", "--empty-gpus", str(empty_gpus)]
    code, cut = plan(*arguments)
    assert code == (3 if cut["unplaced"] else 0)
    assert Counter(wanted) == Counter(one["profile"] for one in cut["placed"] + cut["unplaced"])

    before = Counter(f"{name}@{start}" for name, start in used + free)
    destroy, create = Counter(cut["destroy"]), Counter(cut["create"])
    assert destroy <= before
    assert not destroy & create, "destroyed and made again"
    after = before - destroy + create
    assert fits(gpu, after)

    moves = cut.get("moves", [])
    leaving = Counter(f"{move['profile']}@{move['from']['start']}" for move in moves)
    assert leaving <= Counter(f"{name}@{start}" for name, start in used), "something moves that is not used"
    holds = [Counter(f"{name}@{start}" for name, start in used) - leaving, *(Counter() for _ in range(empty_gpus))]
    for move in moves:
        assert move["from"]["gpu"] == 0
        assert move["from"] != move["to"]
        holds[move["to"]["gpu"]][f"{move['profile']}@{move['to']['start']}"] += 1
    for one in cut["placed"]:
        holds[one.get("gpu", 0)][f"{one['profile']}@{one['start']}"] += 1
    assert holds[0] <= after
    assert all(fits(gpu, held) for held in holds)
    assert create <= holds[0], "made without need"

    units = sum(gpu.by_name[one["profile"]].size for one in cut["placed"])
    still = cuts(gpu).best(used, free, Counter(wanted)).units
    assert units >= still if repack else units == still
    if moves:
        assert units > still, "moved without need"
    if json_too:
        assert mig("plan", *arguments)[0] == code  # the picture of the same


def test_every_model_is_drawn() -> None:
    for model in models():
        full = max(core_model(model).geometries(maximal=True), key=lambda geometry: sum(geometry.values()))
        wanted = ",".join(name for name, count in full.items() for _ in range(count))
        code, stdout, _ = mig("plan", "--model", model.id, "--want", wanted)
        assert code == 0
        # The rules between units line up.
        edges = [{column for column, letter in enumerate(line) if letter == "│"} for line in stdout.splitlines()[1:5]]
        assert edges[0] == edges[1] >= edges[2] == edges[3]


def test_names_are_short_where_room_is_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert find("a100-80gb")
    arguments = ["--model", "a100-80gb", "--want", "1g.10gb+me"]
    assert "│1g+me │" in mig("plan", *arguments)[1] or "│1g+me  │" in mig("plan", *arguments)[1]
    monkeypatch.setenv("COLUMNS", "200")
    assert "│1g.10gb+me│" in mig("plan", *arguments)[1]


def test_the_documentation_shows_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    page = (Path(__file__).parents[2] / "docs/mig.md").read_text()
    shown = re.findall(r"```\n\$ nos mig (.*)\n((?:.*\n)*?)```", page)
    assert len(shown) == 6
    for command, output in shown:
        _, stdout, _ = mig(*shlex.split(command))
        printed = "".join(line.rstrip() + "\n" for line in stdout.splitlines())
        assert printed.startswith(output.removesuffix("...\n"))
        assert output.endswith("...\n") or printed == output
