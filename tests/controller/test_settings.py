"""Settings: defaults, the file, the flags over it, and errors that name file, field and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nos.controller import settings
from nos.kube.errors import ConfigError


def written(directory: Path, text: str) -> str:
    path = directory / "nos.yaml"
    path.write_text(text)
    return str(path)


def test_defaults() -> None:
    assert settings.load() == settings.Settings()


def test_flags_override_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "schedulerName: mine\nleaderElection: {namespace: a, name: b}\nbinding: {inFlight: 8}\n")
    flags = {"leaderElection.namespace": "c", "leaderElection.enabled": False, "context": None}
    chosen = settings.load(file, flags)
    assert (chosen.scheduler_name, chosen.binding.in_flight) == ("mine", 8)
    assert (chosen.leader_election.namespace, chosen.leader_election.name) == ("c", "b")
    assert not chosen.leader_election.enabled


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert settings.load(written(tmp_path, "# nothing\n")) == settings.Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schedulerNames: x", "schedulerNames: unknown field; there are kubeconfig, context, schedulerName"),
        ("binding: {inflight: 3}", "binding.inflight: unknown field; there are inFlight"),
        ("binding: {inFlight: many}", "binding.inFlight: expected int, got str; correct it"),
        ("binding: {inFlight: 0}", "binding.inFlight: expected int >= 1"),
        ("binding: 7", "binding: expected object, got int"),
        ("batchWindowSeconds: -1", "batchWindowSeconds: expected float >= 0"),
        ("logFormat: xml", "logFormat: expected one of text, json"),
        ("score: best", "score: expected one of nos, fgd, best-fit, first-fit"),
        ("healthAddress: here", "healthAddress: expected host:port, such as 127.0.0.1:10257"),
        ("schedulerName: My Scheduler", "schedulerName: expected a name of lower-case letters"),
        ("leaderElection: {renewDeadlineSeconds: 20}", "leaderElection: leaseDurationSeconds > renewDeadlineSeconds"),
        ("- a\n- b", "expected fields such as `schedulerName: nos-scheduler`, got list"),
        ("a: b: c", "line 1: no valid YAML"),
    ],
)
def test_errors_name_the_file_the_field_and_the_remedy(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        settings.load(file)
    assert str(error.value).startswith(f"{file}: {said}")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"logFormat": "xml"}, "--log-format xml: logFormat: expected one of text, json"),
        ({"leaderElection.namespace": "A B"}, "--lease-namespace A B: leaderElection.namespace: expected a name"),
        ({"healthAddress": "x"}, "--health-address x: healthAddress: expected host:port"),
    ],
)
def test_errors_name_the_flag(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings.load(None, flags)
    assert str(error.value).startswith(said)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nos\.yaml: No such file or directory; name a readable file with --config"):
        settings.load(str(tmp_path / "nos.yaml"))
