"""What an image is made of: Debian's packages, Python's distributions, and Python itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import PurePosixPath
from urllib.parse import quote

from release import ReleaseError
from release.oci import Image

_STATUS = PurePosixPath("var/lib/dpkg/status")
_RELEASE = PurePosixPath("usr/lib/os-release")


@dataclass(frozen=True, order=True)
class Package:
    """`url` is its package URL; `license` an SPDX expression, or nothing where it says none."""

    name: str
    version: str
    url: str
    license: str = ""


def distribution(metadata: bytes) -> Package:
    """That of a wheel's or an installed distribution's METADATA."""
    said = BytesHeaderParser().parsebytes(metadata)
    name, version = said["Name"], said["Version"]
    normal = re.sub(r"[-_.]+", "-", name).lower()
    return Package(name, version, f"pkg:pypi/{normal}@{quote(version, safe='')}", said["License-Expression"] or "")


def of_image(image: Image) -> list[Package]:
    """In the order of their names. Raises ReleaseError where the base does not say its packages as Debian does."""
    files = image.files(lambda path: path in (_STATUS, _RELEASE) or path.match("*.dist-info/METADATA"))
    if _STATUS not in files or _RELEASE not in files:
        raise ReleaseError(
            f"the image has no {_STATUS}, so its packages cannot be named: take a BASE made of Debian's packages"
        )
    system = re.search(r'^ID="?([a-z]+)', files.pop(_RELEASE).decode(), re.MULTILINE)
    assert system
    found = []
    for text in files.pop(_STATUS).split(b"\n\n"):
        said = BytesHeaderParser().parsebytes(text.lstrip(b"\n"))
        if said["Status"] == "install ok installed":
            name, version = said["Package"], said["Version"]
            url = f"pkg:deb/{system[1]}/{quote(name, safe='')}@{quote(version, safe='')}?arch={said['Architecture']}"
            found.append(Package(name, version, url))
    found += {distribution(metadata) for metadata in files.values()}
    environment = dict(each.split("=", 1) for each in image.config["config"].get("Env", ()))
    if version := environment.get("PYTHON_VERSION"):  # the base has it from source, not from a package
        found.append(Package("python", version, f"pkg:generic/python@{quote(version, safe='')}", "Python-2.0.1"))
    return sorted(found)
