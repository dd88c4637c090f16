"""Finds or builds the programs of a testbed.

Looked for in this order: the directory that KUBEBUILDER_ASSETS names, as envtest has it (which usually holds only etcd,
kube-apiserver and kubectl); the cache; a build from source with Go's module proxy. A build fills the cache one program
at a time, each put in place by a rename, so that an interrupted build leaves whole programs and resumes with the next;
Go's own cache keeps what the interrupted one had compiled. A lock keeps two builds apart: the second waits.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import go, versions
from .errors import TestbedError
from .process import Supervisor, tail
from .progress import Progress

ASSETS = "KUBEBUILDER_ASSETS"
DISK_NEEDED = (
    7 << 30
)  # from nothing: 4.6 GiB for Go's build cache, 0.9 for modules, 0.5 for the programs; and about 1 for Kueue


def cache_directory() -> Path:
    """Where built programs are kept for this Kubernetes version, in bin/."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nos" / f"kubernetes-{versions.KUBERNETES}"


def find(names: Sequence[str]) -> dict[str, Path]:
    """Those of `names` that are there already."""
    directories = [cache_directory() / "bin"]
    if assets := os.environ.get(ASSETS):
        if not Path(assets).is_dir():
            raise TestbedError(f"{ASSETS} is {assets}, which is no directory; correct it or unset it")
        directories.insert(0, Path(assets).absolute())
    found = {}
    for name in names:
        for directory in directories:
            if os.access(directory / name, os.X_OK) and (directory / name).is_file():
                found[name] = directory / name
                break
    return found


def ensure(
    names: Sequence[str] = versions.CONTROL_PLANE,
    progress: Progress | None = None,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Path]:
    """The path of each program; builds those that are missing, calling `tick`, which may raise to end it."""
    return _ensure({name: versions.PACKAGES[name] for name in names}, progress, tick)


def ensure_source(source: Path, progress: Progress | None = None, tick: Callable[[], None] = lambda: None) -> Path:
    """A program of one Go file that uses Kubernetes' packages: named after its content, so that a change is built."""
    name = f"{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:8]}"
    return _ensure({name: str(source)}, progress, tick)[name]


def ensure_folders(module: str, folders: Sequence[str], progress: Progress | None = None) -> list[Path]:
    """Copies of folders of a Go module, such as the CRDs in `sigs.k8s.io/karpenter@v1.14.1`, kept in the cache."""
    place = cache_directory() / "modules" / module.replace("/", "_")
    copies = {folder: place / folder.replace("/", "_") for folder in folders}
    if not all(copy.is_dir() for copy in copies.values()):
        progress = progress or Progress()
        with _locked(cache_directory(), progress, lambda: None):
            _copy_folders(module, copies, progress)
    return list(copies.values())


def _ensure(packages: Mapping[str, str], progress: Progress | None, tick: Callable[[], None]) -> dict[str, Path]:
    names = list(packages)
    found = find(names)
    if len(found) < len(names):
        progress = progress or Progress()
        with _locked(cache_directory(), progress, tick):
            there = find(names)  # another build may just have ended
            missing = {name: package for name, package in packages.items() if name not in there}
            if missing:
                _build(missing, progress, tick)
        found = find(names)
    return found


@contextmanager
def _locked(cache: Path, progress: Progress, tick: Callable[[], None]) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(cache / "build.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise TestbedError(
            f"cannot write to {cache}: {error.strerror}; set XDG_CACHE_HOME to a place you own"
        ) from None
    try:
        if not _try_lock(descriptor):
            with progress.step(f"waiting for another build in {cache}"):
                while not _try_lock(descriptor):
                    tick()
                    time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _build(packages: Mapping[str, str], progress: Progress, tick: Callable[[], None]) -> None:
    cache = cache_directory()
    large = [name for name in packages if name != versions.PAUSE]  # that one needs nothing but Go itself
    kubernetes = [name for name in large if not versions.is_module_of_its_own(packages[name])]
    if large and (free := shutil.disk_usage(cache).free) < DISK_NEEDED:
        raise TestbedError(
            f"{cache} has {free >> 20} MiB free, a build needs {DISK_NEEDED >> 20}; free some or set XDG_CACHE_HOME"
        )
    compiler = go.toolchain(cache.parent, progress, tick)
    (cache / "build" / "out").mkdir(parents=True, exist_ok=True)
    (cache / "bin").mkdir(exist_ok=True)
    if large:
        what = ", ".join(large)
        progress.line(f"building {what} into {cache}/bin; all of them take about 7 minutes on 2 cores, once")
    supervisor = Supervisor(cache / "build")
    try:
        build = _Build(compiler, supervisor, progress, tick)
        if kubernetes:
            build.write_module()
        for number, (name, package) in enumerate(packages.items(), 1):
            build.program(name, package, f"building {name}, {number} of {len(packages)}")
    finally:
        supervisor.close()


def _copy_folders(module: str, copies: Mapping[str, Path], progress: Progress) -> None:
    cache = cache_directory()
    compiler = go.toolchain(cache.parent, progress)
    (cache / "build").mkdir(exist_ok=True)
    supervisor = Supervisor(cache / "build")
    try:
        source = _Build(compiler, supervisor, progress, lambda: None).download(module)
    finally:
        supervisor.close()
    for folder, copy in copies.items():
        unfinished = copy.with_name(f"{copy.name}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(copy, ignore_errors=True)
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Go's module cache is read-only, folders too; what is ours is not.
        shutil.copytree(source / folder, unfinished, copy_function=shutil.copyfile)
        unfinished.chmod(0o755)
        unfinished.rename(copy)  # whole or not at all


@dataclass(frozen=True)
class _Build:
    """One run of the compiler after another, in the supervisor's directory."""

    compiler: Path
    supervisor: Supervisor
    progress: Progress
    tick: Callable[[], None]

    def write_module(self) -> None:
        """A module that requires Kubernetes. Its own go.mod replaces its staging modules by folders that only exist in
        its repository; a module that requires it must replace them by the published ones."""
        module, at = self.supervisor.directory, f"{versions.KUBERNETES_MODULE}@{versions.KUBERNETES}"
        head = f"module nos.nebuly.com/testbed\n\ngo {go.NEEDED}.0\n"
        (module / "go.mod").write_text(head)
        upstream = self._go_json("mod", "edit", "-json", self._download(at)["GoMod"])
        staging = [
            replace["Old"]["Path"] for replace in upstream["Replace"] if replace["New"]["Path"].startswith("./staging/")
        ]
        replaces = "".join(f"\t{path} => {path} {versions.staging_version()}\n" for path in staging)
        require = f"require {versions.KUBERNETES_MODULE} {versions.KUBERNETES}"
        (module / "go.mod").write_text(f"{head}\n{require}\n\nreplace (\n{replaces})\n")

    def download(self, module: str) -> Path:
        """Where Go keeps the sources of a module."""
        return Path(self._download(module)["Dir"])

    def program(self, name: str, package: str, title: str) -> None:
        """Builds one program and puts it in place."""
        out = self.supervisor.directory / "out" / name
        flags = ["-trimpath", "-buildvcs=false", "-v", f"-ldflags={versions.linker_flags()}"]
        if versions.is_module_of_its_own(package):
            out = out.with_name(package.partition("@")[0].rpartition("/")[2])  # `go install` knows no -o
            arguments = ["install", *flags, package]
        else:
            arguments = ["build", "-mod=mod", *flags, "-o", str(out), package]
        self._go(f"go-{name}", arguments, title)
        out.rename(cache_directory() / "bin" / name)

    def _download(self, module: str) -> dict[str, Any]:
        self._go("go-download", ["mod", "download", module], f"downloading {module}")
        return self._go_json("mod", "download", "-json", module)

    def _go(self, name: str, arguments: Sequence[str], title: str) -> None:
        log = self.supervisor.log(name)
        log.unlink(missing_ok=True)
        with self.progress.step(title) as update:

            def count_packages() -> None:
                self.tick()
                # `go build -v` writes one line per package that it compiles; how many there will be it does not say.
                if done := sum(1 for line in log.read_bytes().splitlines() if not line.startswith(b"go: ")):
                    update(done, None)

            self.supervisor.start(name, [self.compiler, *arguments], env=self._environment())
            code = self.supervisor.wait(name, tick=count_packages)
        if code:
            end = tail(log, 12)
            raise TestbedError(f"{title} failed ({_remedy(end)}). The end of {log}:\n{end}")

    def _go_json(self, *arguments: str) -> dict[str, Any]:
        command = [str(self.compiler), *arguments]
        directory = self.supervisor.directory
        output = subprocess.run(command, cwd=directory, env=self._environment(), capture_output=True, check=True).stdout
        parsed: dict[str, Any] = json.loads(output)
        return parsed

    def _environment(self) -> dict[str, str]:
        # No C compiler is needed, and the programs run on any Linux.
        return {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(self.supervisor.directory / "out")}


def _remedy(end: str) -> str:
    if any(word in end for word in ("dial tcp", "no such host", "connection refused", "timeout", "proxy")):
        return f"the module proxy must be reachable (GOPROXY), or {ASSETS} name a directory with the programs"
    if "no space left" in end:
        return "free disk space, or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE"
    if "signal: killed" in end:
        return "the machine ran out of memory: linking kube-apiserver takes about 1.5 GiB"
    return "see the log"
