"""An image in a folder of the OCI layout, as `buildah push IMAGE oci:FOLDER` leaves it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

_REMOVED = ".wh."
_EMPTIED = ".wh..wh..opq"


class Image:
    """The only image of the folder. `digest` is its name in a registry: "sha256:..."."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
        self.digest: str = entry["digest"]
        self._manifest = json.loads(self._blob(self.digest).read_text())
        self.config: dict[str, Any] = json.loads(self._blob(self._manifest["config"]["digest"]).read_text())

    @property
    def layers(self) -> list[str]:
        """Their digests, the base's first."""
        return [layer["digest"] for layer in self._manifest["layers"]]

    def files(self, wanted: Callable[[PurePosixPath], bool]) -> dict[PurePosixPath, bytes]:
        """The wanted plain files that a container sees: what a layer removes is not among them."""
        found: dict[PurePosixPath, bytes] = {}
        for digest in self.layers:
            added: dict[PurePosixPath, bytes] = {}
            with tarfile.open(self._blob(digest)) as layer:
                for member in layer:
                    path = PurePosixPath(member.name.removeprefix("/"))
                    if path.name == _EMPTIED:
                        found = {each: content for each, content in found.items() if path.parent not in each.parents}
                    elif path.name.startswith(_REMOVED):
                        gone = path.with_name(path.name.removeprefix(_REMOVED))
                        found = {each: content for each, content in found.items() if gone not in (each, *each.parents)}
                    elif member.isfile() and wanted(path):
                        content = layer.extractfile(member)
                        assert content
                        added[path] = content.read()
            found |= added
        return found

    def _blob(self, digest: str) -> Path:
        return self._folder / "blobs" / Path(*digest.split(":"))
