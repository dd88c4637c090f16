"""Bills of materials, as SPDX 2.3 in JSON."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from release.packages import Package, distribution

_UNKNOWN = "NOASSERTION"
_HOME = "https://github.com/nebuly-ai/nos"


def _element(identity: str, package: Package) -> dict[str, Any]:
    return {
        "SPDXID": identity,
        "name": package.name,
        **({"versionInfo": package.version} if package.version else {}),
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": package.license or _UNKNOWN,
        "copyrightText": _UNKNOWN,
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": package.url}
        ],
    }


def document(
    described: Package, file: str, digest: str, parts: Mapping[str, Iterable[Package]], epoch: int
) -> dict[str, Any]:
    """That of `file`, which is `described` and has this SHA-256, with its parts by SPDX's word for how it has them;
    `epoch` is the commit's time in seconds."""
    name = "SPDXRef-described"
    itself = _element(name, described) | {
        "packageFileName": file,
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
    }
    elements, relations = [itself], [("SPDXRef-DOCUMENT", "DESCRIBES", name)]
    for how, packages in sorted(parts.items()):
        for package in packages:
            identity = f"SPDXRef-{len(elements)}-{re.sub(r'[^A-Za-z0-9.-]', '-', package.name)}"
            elements.append(_element(identity, package))
            relations.append((name, how, identity))
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": file,
        "documentNamespace": f"{_HOME}/spdx/{file}/{digest}",
        "creationInfo": {
            "created": f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "creators": ["Organization: nos", f"Tool: nos-release-{described.version}"],
        },
        "packages": elements,
        "relationships": [
            {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}
            for one, how, other in relations
        ],
    }


def of_wheel(wheel: Path, digest: str, pybind11: str, epoch: int) -> dict[str, Any]:
    """What it is, which distributions it asks for (of no version yet, and without extras),
    and the pybind11 that was compiled into it, "" where its version is not known."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = archive.read(name)
    asked = map(Requirement, BytesHeaderParser().parsebytes(metadata).get_all("Requires-Dist", []))
    needs = [each.name for each in asked if not (each.marker and "extra" in str(each.marker))]
    binding = Package("pybind11", pybind11, "pkg:pypi/pybind11" + (f"@{pybind11}" if pybind11 else ""), "BSD-3-Clause")
    parts = {"DEPENDS_ON": [Package(each, "", f"pkg:pypi/{each}") for each in sorted(needs)], "STATIC_LINK": [binding]}
    return document(distribution(metadata), wheel.name, digest, parts, epoch)
