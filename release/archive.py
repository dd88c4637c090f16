"""Archives whose bytes say nothing but what is in them: no time of their making, no owner, no order of a disk."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path


def _pack(files: dict[str, bytes], epoch: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), epoch, 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def pack_folder(folder: Path, to: Path, epoch: int) -> None:
    """All files of a folder, uncompressed."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    to.write_bytes(_pack(files, epoch))


def repack(package: Path, epoch: int) -> None:
    """The same .tgz, in place."""
    with tarfile.open(package) as archive:
        files = {}
        for member in archive:
            content = archive.extractfile(member)
            assert content, f"{member.name} is no file"
            files[member.name] = content.read()
    package.write_bytes(gzip.compress(_pack(files, epoch), mtime=epoch))
