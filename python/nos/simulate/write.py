"""Writes files whole or not at all: to a temporary name beside the target, which the finished file then takes."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class WriteError(Exception):
    """A file that cannot be written; the message is for the user."""


def check(path: Path) -> None:
    """Say now what would keep write from working later, after minutes of replay."""
    if path.is_dir():
        raise WriteError(f"{path}: is a directory")
    if not path.parent.is_dir():
        raise WriteError(f"{path}: there is no directory {path.parent}")
    if not os.access(path if path.exists() and not path.is_file() else path.parent, os.W_OK):
        raise WriteError(f"{path}: permission denied")


def write(path: Path, parts: Iterable[str]) -> None:
    """Write the text. A pipe or a device is written to directly."""
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as file:
                file.writelines(parts)
            return
        target = path.resolve()  # a link stays a link
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                file.writelines(parts)
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise WriteError(f"{path}: {error.strerror or error}") from None
