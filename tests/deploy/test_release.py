"""What `make release` puts together, of small things made here. What it makes of the image is in test_image.py."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from release import ReleaseError, archive, changelog, packages, provenance, ready, sbom
from release.oci import Image
from release.words import MACHINES, PYTHONS, left_to_do

from .helm import CHART, NAMESPACE, helm, rendered
from .test_wheel import PLATFORMS

ROOT = Path(__file__).parents[2]


def test_the_changelog_has_a_section_of_this_version() -> None:
    assert changelog.section((ROOT / "CHANGELOG.md").read_text(), ready.version(ROOT))


def test_a_section_ends_where_the_next_begins() -> None:
    text = "# Changelog\n\n## 1.1.0 (in May)\n\nnew\n\n- a\n\n## 1.0.0\n\nold\n\n## 0.9.0\n\n"
    assert changelog.section(text, "1.1.0") == "new\n\n- a\n"
    assert changelog.section(text, "1.0.0") == "old\n"
    for version in ("1.0", "1.1", "0.9.0"):  # no part of another's name; and an empty one is none
        with pytest.raises(ReleaseError, match=rf"says nothing of {re.escape(version)}: write under `## "):
            changelog.section(text, version)
    with pytest.raises(ReleaseError, match=r"more than one section of 1\.0\.0"):
        changelog.section(text + "## 1.0.0\n\nagain\n", "1.0.0")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository that can be released."""
    tree = tmp_path / "tree"
    (tree / "deploy/chart").mkdir(parents=True)
    (tree / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (tree / "deploy/chart/Chart.yaml").write_text("version: 1.2.3\nappVersion: 1.2.3\n")
    (tree / "CHANGELOG.md").write_text("## 1.2.3\n\nnew\n")
    git(tree, "init", "--quiet")
    commit(tree)
    return tree


def git(tree: Path, *arguments: str) -> None:
    names = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=tree, env=os.environ | names, check=True)


def commit(tree: Path) -> None:
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "--no-gpg-sign", "--message", "x")


def test_a_tree_that_can_be_released(tree: Path) -> None:
    git(tree, "tag", "v1.2.2")
    assert ready.check(tree) == "1.2.3"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("new.py", "", r"commit them, or stash them:\n\?\? new.py"),
        ("CHANGELOG.md", "## 1.2.3\n\nnewer\n", r"commit them, or stash them:\nM CHANGELOG.md"),
    ],
)
def test_a_dirty_tree_is_refused(tree: Path, file: str, content: str, said: str) -> None:
    (tree / file).write_text(content)
    with pytest.raises(ReleaseError, match=said):
        ready.check(tree)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("CHANGELOG.md", "## 1.2.2\n\nold\n", "says nothing of 1.2.3"),
        ("deploy/chart/Chart.yaml", "version: 1.2.3\nappVersion: 1.2.2\n", r"appVersion is 1.2.2.*write 1.2.3 there"),
        ("deploy/chart/Chart.yaml", "version: 1.2.2\nappVersion: 1.2.3\n", r"version is 1.2.2.*write 1.2.3 there"),
    ],
)
def test_versions_that_differ_are_refused(tree: Path, file: str, content: str, said: str) -> None:
    (tree / file).write_text(content)
    commit(tree)
    with pytest.raises(ReleaseError, match=said):
        ready.check(tree)


def test_a_version_that_is_out_is_refused(tree: Path) -> None:
    git(tree, "tag", "v1.2.3")
    with pytest.raises(ReleaseError, match=r"v1\.2\.3 is tagged, so it is released: raise the version"):
        ready.check(tree)


def test_this_tree_has_one_version() -> None:
    """Also where Kustomize names the image."""
    version = ready.version(ROOT)
    named = [
        found
        for path in (ROOT / "deploy/kustomize").rglob("*.yaml")
        for found in re.findall(r"image: (\S+/nos:\S+)", path.read_text())
    ]
    assert set(named) == {f"ghcr.io/nebuly-ai/nos:{version}"}


def test_the_chart_package_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    """Helm writes the files' times into it; repacked, it is still the chart."""
    made = []
    for time in (1_000_000_000, 1_500_000_000):
        folder = tmp_path / str(time)
        shutil.copytree(CHART, folder / "nos")
        for path in (folder / "nos").rglob("*"):
            os.utime(path, (time, time))
        helm("package", folder / "nos", "--destination", folder)
        (package,) = folder.glob("*.tgz")
        archive.repack(package, 1_600_000_000)
        made.append(package)
    assert made[0].read_bytes() == made[1].read_bytes()
    assert helm("template", "nos", made[0], "--namespace", NAMESPACE) == rendered()


def test_a_folder_is_packed_without_its_order_and_time(tmp_path: Path) -> None:
    for name, order in (("one", "abc"), ("other", "cab")):
        (tmp_path / name / "in").mkdir(parents=True)
        for letter in order:
            (tmp_path / name / "in" / letter).write_text(letter)
            os.utime(tmp_path / name / "in" / letter, (ord(name[0]), ord(name[0])))
        archive.pack_folder(tmp_path / name, tmp_path / f"{name}.tar", 1_600_000_000)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as packed:
        assert [(each.name, each.mtime) for each in packed] == [(f"in/{letter}", 1_600_000_000) for letter in "abc"]


def layout(folder: Path, *layers: Mapping[str, str], environment: tuple[str, ...] = ()) -> Image:
    """An image of layers of files by name."""

    def blob(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        file = folder / "blobs/sha256" / digest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    packed = []
    for layer in layers:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for name, content in layer.items():
                member = tarfile.TarInfo(name)
                member.size = len(content.encode())
                tar.addfile(member, io.BytesIO(content.encode()))
        packed.append(blob(stream.getvalue()))
    config = blob(json.dumps({"config": {"Env": list(environment)}}).encode())
    manifest = blob(json.dumps({"config": config, "layers": packed}).encode())
    (folder / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    return Image(folder)


def test_a_container_sees_the_last_layer_of_a_file_and_none_that_was_removed(tmp_path: Path) -> None:
    image = layout(
        tmp_path,
        {"./a": "1", "b": "1", "d/x": "1", "d/y/z": "1", "e/x": "1", "unwanted": "1"},
        {"a": "2", ".wh.b": "", "d/.wh..wh..opq": "", "d/x": "2", ".wh.e": ""},
        {"e/y": "3"},
    )
    seen = image.files(lambda path: path.name != "unwanted")
    assert seen == {PurePosixPath(name): content for name, content in {"a": b"2", "d/x": b"2", "e/y": b"3"}.items()}


DPKG = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 1:2.36-9+deb12u10

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""


def test_packages_of_an_image(tmp_path: Path) -> None:
    image = layout(
        tmp_path,
        {"var/lib/dpkg/status": DPKG, "usr/lib/os-release": 'NAME="x"\nID=debian\n'},
        {
            "opt/nos/lib/Some_Thing-1.0.dist-info/METADATA": "Metadata-Version: 2.4\nName: Some_Thing\n"
            "Version: 1.0+local\nLicense-Expression: MIT\n\nText\n"
        },
        environment=("PYTHON_VERSION=3.13.1",),
    )
    assert [(each.name, each.version, each.url, each.license) for each in packages.of_image(image)] == [
        ("Some_Thing", "1.0+local", "pkg:pypi/some-thing@1.0%2Blocal", "MIT"),
        ("libc6", "1:2.36-9+deb12u10", "pkg:deb/debian/libc6@1%3A2.36-9%2Bdeb12u10?arch=amd64", ""),
        ("python", "3.13.1", "pkg:generic/python@3.13.1", "Python-2.0.1"),
    ]
    with pytest.raises(ReleaseError, match="take a BASE made of Debian's packages"):
        packages.of_image(layout(tmp_path / "other", {"a": ""}))


def read_spdx(document: Mapping[str, Any], folder: Path) -> Any:
    """As spdx-tools reads it, and finds nothing to object to."""
    file = folder / "document.spdx.json"
    file.write_text(json.dumps(document))
    read = parse_file(str(file))
    problems = validate_full_spdx_document(read, "SPDX-2.3")
    assert not problems, [each.validation_message for each in problems]
    return read


def test_a_wheels_bill_of_materials(tmp_path: Path) -> None:
    wheel = tmp_path / "nos_scheduler-1.2.3-cp311-cp311-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(
            "nos_scheduler-1.2.3.dist-info/METADATA",
            "Metadata-Version: 2.4\nName: nos-scheduler\nVersion: 1.2.3\nLicense-Expression: Apache-2.0\n"
            "Requires-Dist: aiohttp<4,>=3.14\nRequires-Dist: grpcio>=1; extra == 'agent'\n\n",
        )
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    read = read_spdx(sbom.of_wheel(wheel, digest, "3.1.0", 1_600_000_000), tmp_path)
    names = {package.spdx_id: package.name for package in read.packages}
    assert [
        (names.get(each.spdx_element_id), each.relationship_type.name, names[each.related_spdx_element_id])
        for each in read.relationships
    ] == [
        (None, "DESCRIBES", "nos-scheduler"),
        ("nos-scheduler", "DEPENDS_ON", "aiohttp"),
        ("nos-scheduler", "STATIC_LINK", "pybind11"),
    ]
    (itself, _, pybind11) = read.packages
    assert (itself.version, str(itself.license_declared), itself.checksums[0].value) == ("1.2.3", "Apache-2.0", digest)
    assert pybind11.version == "3.1.0"
    assert read.creation_info.created == datetime(2020, 9, 13, 12, 26, 40)  # in UTC, without saying so


def test_the_statement_of_provenance() -> None:
    """The fields that in-toto's Statement v1 and SLSA's Provenance v1 ask for."""
    made = provenance.statement(
        {"b.whl": "2" * 64, "a.tgz": "1" * 64}, {"git+x": {"gitCommit": "c" * 40}}, {"command": "make release"}
    )
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["predicateType"] == "https://slsa.dev/provenance/v1"
    assert made["subject"] == [
        {"name": "a.tgz", "digest": {"sha256": "1" * 64}},
        {"name": "b.whl", "digest": {"sha256": "2" * 64}},
    ]
    definition = made["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"command": "make release"}
    assert definition["resolvedDependencies"] == [{"uri": "git+x", "digest": {"gitCommit": "c" * 40}}]
    page = provenance.BUILD.split("#")
    assert page[0].endswith("/SECURITY.md")
    assert f"\n## {page[1].capitalize()}\n" in (ROOT / "SECURITY.md").read_text()
    assert made["predicate"]["runDetails"]["builder"]["id"] == provenance.BUILD


def test_what_is_left_names_the_wheels_that_are_missing() -> None:
    every = [
        f"nos_scheduler-1.2.3-{python}-{python}-manylinux_2_28_{machine}.whl"
        for python in ("cp311", "cp312", "cp313", "cp314")
        for machine in ("x86_64", "aarch64")
    ]
    image, digest = "ghcr.io/nebuly-ai/nos:1.2.3", f"sha256:{'d' * 64}"
    assert "No wheel yet" not in left_to_do("1.2.3", image, digest, every)
    said = left_to_do("1.2.3", image, digest, every[1:])
    assert "No wheel yet for cp311 x86_64.\n" in said
    assert f"cosign sign --yes ghcr.io/nebuly-ai/nos@{digest}\n" in said
    assert "docker://ghcr.io/nebuly-ai/nos:1.2.3\n" in said


def test_wheels_asked_for_are_those_that_are_missed() -> None:
    """cibuildwheel's names of them, in test_wheel.py, and ours."""
    assert {f"{python}-manylinux_{machine}" for python in PYTHONS for machine in MACHINES} == PLATFORMS
