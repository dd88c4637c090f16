"""What a release was made of and how: an in-toto statement with SLSA's predicate, for a person to sign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BUILD = "https://github.com/nebuly-ai/nos/blob/main/SECURITY.md#releases"


def statement(
    subjects: Mapping[str, str], materials: Mapping[str, Mapping[str, str]], parameters: Mapping[str, str]
) -> dict[str, Any]:
    """Of files and images by name with their SHA-256, made from materials by URI with their digests by algorithm."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": dict(parameters),
                "resolvedDependencies": [
                    {"uri": uri, "digest": dict(digest)} for uri, digest in sorted(materials.items())
                ],
            },
            "runDetails": {"builder": {"id": BUILD}},
        },
    }
