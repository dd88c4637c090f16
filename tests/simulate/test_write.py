"""Files appear whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nos.simulate.write import WriteError, check, write


def broken(error: BaseException) -> Iterator[str]:
    yield "half"
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError(), MemoryError()])
def test_interrupted_the_old_file_stays_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    with pytest.raises(type(error)):
        write(target, broken(error))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", ["a\n", "b\n"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "a\nb\n"


def test_disk_errors_are_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="out: No space left on device"):
        write(tmp_path / "out", broken(OSError(28, "No space left on device")))
    assert list(tmp_path.iterdir()) == []


def test_check_finds_what_would_fail_later(tmp_path: Path) -> None:
    check(tmp_path / "out")
    check(Path("/dev/null"))
    with pytest.raises(WriteError, match="is a directory"):
        check(tmp_path)
    with pytest.raises(WriteError, match="there is no directory"):
        check(tmp_path / "absent" / "out")
