"""The wheel that `make wheel` made of the source distribution, as a user has it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import nos

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
PLATFORMS = {f"cp3{minor}-manylinux_{machine}" for minor in (11, 12, 13, 14) for machine in ("x86_64", "aarch64")}
# What not every processor of its kind has: beyond SSE2, whose tzcnt is a bsf to those that have none; beyond ARMv8.0.
BEYOND = {
    "x86_64": r"%[yz]mm|\t(v|popcnt|lzcnt|crc32|pshufb|palign|ph(add|sub)|pabs|psign|pmulld|ptest|pblend|blend|"
    r"round[sp]|p(extr|insr)[bdq]|pm(in|ax)(sb|sd|uw|ud)|hadd|hsub|addsub|lddqu|movddup|movs[hl]dup|"
    r"andn |bextr|bls|pdep|pext |mulx|rorx|s[ah][lr]x|adcx|adox|cmpxchg16b)",
    "aarch64": r"\b[zp]\d+\.[bhsdq]|\t(cas|swp|ldadd|ldset|ldclr)",
}
MADE_ELSEWHERE = ("_core", "libnvidia-ml.so.1")  # by the compiler; no file of the source


@pytest.fixture
def wheel() -> Path:
    """Of what the source says now."""
    found = list((ROOT / "dist").glob("*.whl"))
    assert len(found) == 1, "run: make wheel"
    return found[0]


def test_it_has_the_package_and_nothing_else(wheel: Path) -> None:
    """Links of the source are files in it."""
    source = {
        f"nos/{path.relative_to(ROOT / 'python' / 'nos')}": path.read_bytes()
        for path in (ROOT / "python" / "nos").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        files = [each.filename for each in archive.infolist() if not each.is_dir()]
        found = {name: archive.read(name) for name in files if ".dist-info/" not in name}
    compiled = {name for name in found if Path(name).name.startswith(MADE_ELSEWHERE) and name not in source}
    assert len(compiled) == 2
    assert sorted(set(found) - compiled) == sorted(source)
    changed = [name for name, content in source.items() if found[name] != content]
    assert not changed, "run: make wheel"


def test_it_says_how_new_a_libc_it_needs(wheel: Path) -> None:
    """auditwheel looked, and found nothing that it had to bring along."""
    assert re.search(rf"-manylinux_2_\d+_{platform.machine()}\.whl$", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if ".libs/" in name]


def test_its_core_needs_no_particular_processor(wheel: Path, tmp_path: Path) -> None:
    """Read from what the compiler made, whatever flags it was given."""
    for file in compiled(wheel, tmp_path):
        said = subprocess.run(["objdump", "-d", "--no-show-raw-insn", file], capture_output=True, text=True, check=True)
        lines = said.stdout.splitlines()
        assert len(lines) > 10_000
        assert not [line for line in lines if re.search(BEYOND[platform.machine()], line)][:10]


def test_its_core_is_the_same_bytes_wherever_and_whenever_it_is_built(wheel: Path, tmp_path: Path) -> None:
    """That of .venv was compiled in the source's tree, before; the wheel's in a folder of the source distribution."""
    for file in compiled(wheel, tmp_path):
        other = TOOLS / file.relative_to(tmp_path)
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest(), file


def test_all_but_its_core_is_the_same_bytes_too(tmp_path: Path) -> None:
    """From the tree, and from its source distribution unpacked elsewhere, whose files are of another time."""
    once = build(ROOT, tmp_path / "once")
    (sdist,) = (path for path in once if path.name.endswith(".tar.gz"))
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    (unpacked / "PKG-INFO").unlink()  # the only file that the tree does not have
    for path in unpacked.rglob("*"):
        os.utime(path, (1, 1))
    again = build(unpacked, tmp_path / "again")
    assert [path.name for path in once] == [path.name for path in again]
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def build(source: Path, into: Path) -> list[Path]:
    """The source distribution and a wheel without the core, which is what takes minutes."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", into, "-C", "wheel.cmake=false", source]
    for kind in ("--sdist", "--wheel"):
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1000000000"}  # as make has it
        done = subprocess.run([*command, kind], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return sorted(into.iterdir())


def compiled(wheel: Path, into: Path) -> list[Path]:
    """The wheel's compiled files, unpacked."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if Path(name).name.startswith(MADE_ELSEWHERE)]
        return [Path(archive.extract(name, into)) for name in names if not name.endswith(".pyi")]


def test_a_release_has_wheels_for_every_python_and_machine() -> None:
    """By cibuildwheel's own reading, which refuses a setting that it does not know."""
    command = [sys.executable, "-m", "cibuildwheel", "--platform", "linux", "--print-build-identifiers", ROOT]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert set(said.stdout.split()) == PLATFORMS


def test_it_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Nothing of the source's tree is near."""
    made = tmp_path / "venv"
    venv.create(made, with_pip=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def run(program: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            [made / "bin" / program, *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("pip", "install", "--quiet", wheel)
    where = run("python", "-c", "import nos._core; print(nos.__file__, nos._core.__file__)").split()
    assert all(Path(each).is_relative_to(made) for each in where)
    for program in ("nos", "kubectl-nos"):
        assert run(program, "--version") == f"nos {nos.__version__}\n"
    # 10 nodes of 8 GPUs are room for 20 Pods of at most 8.
    assert "placed" in run("nos", "simulate", "--generate", "10x8", "--count", "20")
    # A mistake that only somebody who reads its types can see.
    mistake = tmp_path / "mistake.py"
    mistake.write_text("from nos import _core\nnumber: int = _core.Cluster()\n")
    command = [sys.executable, "-m", "mypy", "--python-executable", made / "bin" / "python", mistake]
    checked = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert re.search(r'mistake\.py:2: .*expression has type "Cluster".*\[assignment\]', checked.stdout), checked.stdout
    assert "Found 1 error" in checked.stdout
    refused = subprocess.run([made / "bin" / "nos", "agent", "--node", "n"], env=clean, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "pip install 'nos-scheduler[agent]'" in refused.stderr
