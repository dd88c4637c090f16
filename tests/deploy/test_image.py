"""The image that `make image` makes: what is in it, as its own tools say."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import nos
from release import packages, sbom
from release.__main__ import put_together
from release.oci import Image

from .buildah import BASE, IMAGE, ROOT, Buildah, make_image
from .test_release import read_spdx

pytestmark = pytest.mark.cluster  # the image is one that they share: it is not made twice
COMPRESSED_LIMIT = 150_000_000  # bytes, what has to be pulled


@pytest.fixture
def container(buildah: Buildah) -> Iterator[str]:
    name = buildah("from", IMAGE).strip()
    yield name
    buildah("rm", name)


def test_it_runs_as_nobody_and_has_no_tools(buildah: Buildah, container: str) -> None:
    def run(*command: str) -> str:
        return buildah("run", "--isolation", "chroot", container, "--", *command).strip()

    assert run("nos", "--version") == f"nos {nos.__version__}"
    assert run("id", "-u") == "65532"
    tools = "for tool in cc c++ gcc ld make pip pip3 git curl; do command -v $tool; done; true"
    assert run("sh", "-c", tools) == ""
    assert run("sh", "-c", "find /opt/nos -writable") == ""
    code = "import nos.agent.run, nos.controller.run, nos.observe.spans, grpc, pynvml"
    assert run("/opt/nos/bin/python3", "-c", code) == ""


def test_whoever_a_platform_chooses_may_run_it(buildah: Buildah, container: str) -> None:
    """Such as OpenShift: a number that the image does not know, in the group root."""
    code = "import nos.agent.run, nos.controller.run, nos.observe.certificate as c; c.self_signed('metrics')"
    chosen = ("--isolation", "chroot", "--user", "1000680000:0")
    assert buildah("run", *chosen, container, "--", "id", "-u").strip() == "1000680000"
    assert buildah("run", *chosen, container, "--", "/opt/nos/bin/python3", "-c", code) == ""


def test_it_says_what_it_is(buildah: Buildah) -> None:
    config = json.loads(buildah("inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["nos"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == nos.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(labels["org.opencontainers.image.revision"]) == 40


def test_it_is_small(buildah: Buildah, tmp_path: Path) -> None:
    archive = tmp_path / "nos.oci"  # its layers are compressed, as in a registry
    buildah("push", "--quiet", IMAGE, f"oci-archive:{archive}")
    assert archive.stat().st_size < COMPRESSED_LIMIT
    archive.unlink()


def test_it_is_the_same_bytes_whenever_it_is_built(buildah: Buildah, tmp_path: Path) -> None:
    """On the same base, as a registry would have it. Its name is not in it."""
    again = f"localhost/again:{nos.__version__}"
    make_image(buildah, again)
    digests = []
    for name in (IMAGE, again):
        buildah("push", "--quiet", name, f"oci:{tmp_path}/image:1")
        digests.append(Image(tmp_path / "image").digest)
        shutil.rmtree(tmp_path / "image")
    buildah("rmi", again)
    assert digests[0] == digests[1]


def test_its_bill_of_materials_has_what_its_tools_find(buildah: Buildah, container: str, tmp_path: Path) -> None:
    """dpkg and Python themselves are asked."""

    def run(*command: str) -> set[str]:
        return set(buildah("run", "--isolation", "chroot", container, "--", *command).split())

    buildah("push", "--quiet", IMAGE, f"oci:{tmp_path}/image:1")
    image = Image(tmp_path / "image")
    found = packages.of_image(image)
    debian = {f"{each.name}={each.version}" for each in found if each.url.startswith("pkg:deb/")}
    assert debian == run("dpkg-query", "--show", "--showformat", "${Package}=${Version}\\n")
    code = "import importlib.metadata as m; print(*(f'{each.name}={each.version}' for each in m.distributions()))"
    python = {f"{each.name}={each.version}" for each in found if each.url.startswith("pkg:pypi/")}
    assert f"nos-scheduler={nos.__version__}" in python
    assert run("/opt/nos/bin/python3", "-c", code) <= python
    itself = packages.Package("nos", nos.__version__, "pkg:oci/nos", "Apache-2.0")
    read = read_spdx(sbom.document(itself, "nos.oci.tar", "0" * 64, {"CONTAINS": found}, 1_600_000_000), tmp_path)
    assert len(read.packages) == 1 + len(found)


def test_a_release_is_whole(buildah: Buildah, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make release` puts together last; the sums and the archive are read by others than who made them."""
    monkeypatch.chdir(ROOT)
    into = tmp_path / "release"
    said = put_together(into, nos.__version__, IMAGE, BASE, buildah.command.split(), 1_600_000_000)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=into, check=True)
    summed = {line.split()[1] for line in (into / "SHA256SUMS").read_text().splitlines()}
    version, files = nos.__version__, {path.name for path in into.iterdir()}
    assert summed == files - {"SHA256SUMS"}
    archive = f"nos-{version}.oci.tar"
    (wheel,) = (name for name in files if name.endswith(".whl"))
    others = {
        "CHANGES.md",
        "SHA256SUMS",
        "provenance.intoto.json",
        archive,
        f"{archive}.spdx.json",
        f"{wheel}.spdx.json",
    }
    assert files == {*others, wheel, f"nos-{version}.tgz", f"nos_scheduler-{version}.tar.gz"}

    statement = json.loads((into / "provenance.intoto.json").read_text())
    subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    assert set(subjects) == files - {"SHA256SUMS", "provenance.intoto.json"} | {IMAGE}
    made_of = [each["uri"] for each in statement["predicate"]["buildDefinition"]["resolvedDependencies"]]
    assert any(uri.startswith("file:dist/wheels/aiohttp-") for uri in made_of)
    assert not any("nos_scheduler" in uri for uri in made_of)

    pulled = buildah("pull", "--quiet", f"oci-archive:{into / archive}").strip()
    (digest,) = {buildah("inspect", "--type", "image", "--format", "{{.FromImageDigest}}", pulled).strip()}
    assert digest == f"sha256:{subjects[IMAGE]}"
    assert digest in said
