"""Puts a release together in dist/VERSION, and says what is left to a person: `make release`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from nos.testbed import binaries
from nos.testbed.progress import Progress
from release import ReleaseError, archive, changelog, packages, provenance, ready, sbom
from release.oci import Image
from release.packages import Package
from release.words import left_to_do

DIST = Path("dist")
SOURCE = "https://github.com/nebuly-ai/nos"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def put_together(into: Path, version: str, image: str, base: str, buildah: list[str], epoch: int) -> str:
    """Into a new folder, from dist/ and the tree here. Returns what is left to do. Raises ReleaseError."""
    into.mkdir()
    (into / "CHANGES.md").write_text(changelog.section(Path("CHANGELOG.md").read_text(), version))

    others = sorted((DIST / "others").glob("*.whl"))  # for all Pythons, made where a container engine is
    for file in (*(others or DIST.glob("*.whl")), *DIST.glob("*.tar.gz")):
        shutil.copy(file, into)
    pybind11 = "" if others else metadata.version("pybind11")
    for wheel in sorted(into.glob("*.whl")):
        _write(Path(f"{wheel}.spdx.json"), sbom.of_wheel(wheel, _sha256(wheel), pybind11, epoch))

    helm = binaries.ensure(("helm",), Progress(quiet=True))["helm"]
    _run(helm, "package", "deploy/chart", "--destination", into)
    archive.repack(into / f"nos-{version}.tgz", epoch)

    packed = into / f"nos-{version}.oci.tar"
    with tempfile.TemporaryDirectory() as folder:
        _run(*buildah, "push", "--quiet", image, f"oci:{folder}/image:{version}")
        layout = Path(folder) / "image"
        made = Image(layout)
        archive.pack_folder(layout, packed, epoch)
        parts = packages.of_image(made)
    digest = made.digest.removeprefix("sha256:")
    itself = Package("nos", version, f"pkg:oci/nos@sha256%3A{digest}", "Apache-2.0")
    _write(Path(f"{packed}.spdx.json"), sbom.document(itself, packed.name, _sha256(packed), {"CONTAINS": parts}, epoch))

    subjects = {file.name: _sha256(file) for file in into.iterdir()} | {image: digest}
    _write(into / "provenance.intoto.json", _provenance(version, subjects, base, buildah))
    sums = "".join(f"{_sha256(file)}  {file.name}\n" for file in sorted(into.iterdir()))
    (into / "SHA256SUMS").write_text(sums)
    return left_to_do(version, image, made.digest, [file.name for file in into.glob("*.whl")])


def _provenance(version: str, subjects: dict[str, str], base: str, buildah: list[str]) -> dict[str, Any]:
    commit = _run("git", "rev-parse", "HEAD")
    digest = _run(*buildah, "inspect", "--type", "image", "--format", "{{.FromImageDigest}}", base)
    materials = {
        f"git+{SOURCE}@refs/tags/v{version}": {"gitCommit": commit},
        f"docker://{base}": {"sha256": digest.removeprefix("sha256:")},
    } | {
        f"file:dist/wheels/{wheel.name}": {"sha256": _sha256(wheel)}
        for wheel in (DIST / "wheels").glob("*.whl")
        if wheel.name not in subjects
    }
    return provenance.statement(subjects, materials, {"command": "make release", "base": base, "commit": commit})


def main() -> None:
    """Called by `make release`, which built the wheel and the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True, help="its name, with the version as its tag")
    parser.add_argument("--base", required=True, help="the image that it was made on")
    parser.add_argument("--buildah", required=True, help="the command, which has both")
    given = parser.parse_args()
    try:
        version, epoch = ready.check(Path.cwd()), int(os.environ["SOURCE_DATE_EPOCH"])
        into = DIST / version
        shutil.rmtree(into, ignore_errors=True)
        print(put_together(into, version, given.image, given.base, given.buildah.split(), epoch))
    except ReleaseError as why:
        sys.exit(f"no release: {why}")


if __name__ == "__main__":
    main()
