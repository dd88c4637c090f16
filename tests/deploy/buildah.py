"""The image that `make image` makes, by the real buildah, of the wheel. Its base here is a bare Debian with the Python
that runs the tests, made on the spot: no registry is needed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import nos

ROOT = Path(__file__).parents[2]
IMAGE, BASE = f"localhost/nos:{nos.__version__}", "localhost/nos-base"
_PATIENCE = ("--aptopt=Acquire::Retries 5", "--aptopt=Acquire::http::Timeout 30")


def obstacle() -> str:
    """Why no image can be built here; empty when one can."""
    missing = [name for name in ("buildah", "mmdebstrap") if not shutil.which(name)]
    if missing:
        return f"no {', no '.join(missing)}: apt-get install buildah mmdebstrap"
    if os.geteuid() != 0:
        return "an image's files belong to root: run as root"
    release = platform.freedesktop_os_release()
    if (
        release["ID"] != "debian"
        or subprocess.run(
            ["/usr/bin/python3", "-c", f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"]
        ).returncode
    ):
        return (
            "the wheel is for the Python of .venv, and that is not the one of this Debian: make PYTHON=/usr/bin/python3"
        )
    return ""


class Buildah:
    """With a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.command = f"buildah --storage-driver vfs --root {folder}/storage --runroot {folder}/run"

    def __call__(self, *arguments: str | Path) -> str:
        done = subprocess.run([*self.command.split(), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def make_base(self) -> None:
        """As small as a Debian with Python is."""
        release = platform.freedesktop_os_release()["VERSION_CODENAME"]
        root = self._folder / "base.tar"
        python = "--include=python3,python3-venv,ca-certificates"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", *_PATIENCE, python, release, root]
        made = subprocess.run(command, capture_output=True, check=False)
        assert made.returncode == 0, made.stderr.decode()
        container = self("from", "scratch").strip()
        self("add", container, root, "/")
        self("commit", "--rm", "--quiet", container, BASE)
        root.unlink()


def make_image(buildah: Buildah, name: str) -> None:
    command = ["make", "image", f"BUILDAH={buildah.command}", f"BASE={BASE}", f"IMAGE={name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
