"""A container image without a registry: one static program in an OCI archive, for `ctr images import`."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as Go names them


def write_archive(path: Path, program: bytes, *, name: str) -> None:
    """An image `name` that runs `program`. The same program gives the same bytes."""
    layer = _tar({"pause": program}, mode=0o755)
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "Env": ["PATH=/"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        "history": [{"created_by": "nos testbed"}],
    }
    kind = "application/vnd.oci.image"
    blobs: dict[str, bytes] = {}

    def blob(media_type: str, content: bytes, **more: Any) -> dict[str, Any]:
        digest = _digest(content)
        blobs[f"blobs/{digest.replace(':', '/')}"] = content
        return {"mediaType": f"{kind}.{media_type}", "digest": digest, "size": len(content), **more}

    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": blob("config.v1+json", _json(config)),
        "layers": [blob("layer.v1.tar", layer)],
    }
    named = blob("manifest.v1+json", _json(manifest), annotations={"io.containerd.image.name": name})
    index = {"schemaVersion": 2, "mediaType": f"{kind}.index.v1+json", "manifests": [named]}
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index), **blobs}
    path.write_bytes(_tar(files, mode=0o644))


def _tar(files: Mapping[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
