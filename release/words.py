"""What a release leaves to a person, who has the keys."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

PYTHONS = ("cp311", "cp312", "cp313", "cp314")
MACHINES = ("x86_64", "aarch64")


def _missing(wheels: Iterable[str]) -> list[str]:
    """Of which Python and machine there is no wheel."""
    names = list(wheels)
    return [
        f"{python} {machine}"
        for python, machine in product(PYTHONS, MACHINES)
        if not any(f"-{python}-" in name and name.endswith(f"_{machine}.whl") for name in names)
    ]


def left_to_do(version: str, image: str, digest: str, wheels: Iterable[str]) -> str:
    """The commands; `digest` is the image's, "sha256:..."."""
    folder = f"dist/{version}"
    repository, _, _ = image.rpartition(":")
    lines = [f"nos {version} is in {folder}. Nothing was pushed, and nothing is signed:"]
    if missing := _missing(wheels):
        lines += [
            "",
            f"# No wheel yet for {', '.join(missing)}.",
            "# Where docker or podman runs (for aarch64 on x86_64, with qemu-user-static), the same makes all of them:",
            "make release ENGINE=podman",
        ]
    return "\n".join(
        [
            *lines,
            "",
            "# Does anybody know of a vulnerability in what it brings?",
            "make audit",
            "# The tag and the sums, signed; the sums cover how all was made, and that the image's digest:",
            f"git tag --sign v{version} --message 'nos {version}'",
            f"gpg --armor --detach-sign {folder}/SHA256SUMS",
            "# Then what cannot be taken back:",
            f"git push origin v{version}",
            f"twine upload {folder}/*.whl {folder}/*.tar.gz",
            f"skopeo copy --preserve-digests oci-archive:{folder}/nos-{version}.oci.tar docker://{image}",
            f"cosign sign --yes {repository}@{digest}",
            f"cosign attest --yes --type spdxjson --predicate {folder}/nos-{version}.oci.tar.spdx.json "
            f"{repository}@{digest}",
            f"helm push {folder}/nos-{version}.tgz oci://ghcr.io/nebuly-ai/helm-charts",
            f"gh release create v{version} --verify-tag --notes-file {folder}/CHANGES.md {folder}/*",
        ]
    )
