"""Settings: defaults, the file, the flags over it, and errors that name file, field and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

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
        ("metrics: {address: here}", "metrics.address: expected host:port, such as 127.0.0.1:10257"),
        ("metrics: {certFile: a}", "metrics: certFile and keyFile: name both or none"),
        ("dashboard: {addr: x}", "dashboard.addr: unknown field; there are address, certFile, keyFile, allowIns"),
        ("dashboard: {address: here}", "dashboard: address: 'here' is no host:port such as 127.0.0.1:10258"),
        ("dashboard: {address: '0.0.0.0:1'}", "dashboard: address: others reach 0.0.0.0:1, and tokens are sent there"),
        ("dashboard: {address: ':1'}", "dashboard: address: others reach :1, and tokens are sent there"),
        ("dashboard: {certFile: a}", "dashboard: certFile and keyFile: name both or none"),
        ("schedulerName: My Scheduler", "schedulerName: expected a name of lower-case letters"),
        ("leaderElection: {renewDeadlineSeconds: 20}", "leaderElection: leaseDurationSeconds > renewDeadlineSeconds"),
        ("leaderElection: {pod: nos-0}", "leaderElection: pod: 'nos-0' is no NAMESPACE/NAME such as nebuly-nos/nos-s"),
        ("scaling: {modus: order}", "scaling.modus: unknown field; there are mode, settleSeconds"),
        ("scaling: {mode: on}", "scaling.mode: expected str, got bool"),
        ("scaling: {mode: auto}", "scaling.mode: expected one of none, report, order"),
        ("scaling: {scaleDown: {drain: 1}}", "scaling.scaleDown.drain: unknown field; there are enabled, unneededS"),
        ("scaling: {scaleDown: {drains: 0}}", "scaling.scaleDown.drains: expected int >= 1"),
        (
            "scaling: {clusterAutoscaler: {address: '127.0.0.1:0', allowInsecure: true, fronts: scale,"
            " layouts: {g: {a: 3g.40gb@0}}}}",
            "scaling: clusterAutoscaler.layouts: scale does not say how a node was ordered to be cut; front one of",
        ),
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
        ({"leaderElection.pod": "nos-0"}, "--pod nos-0: leaderElection: pod: 'nos-0' is no NAMESPACE/NAME"),
        ({"dashboard.address": "x"}, "--dashboard-address x: dashboard: address: 'x' is no host:port"),
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


@pytest.mark.parametrize("page", ["controller.md", "autoscaling/README.md"])
def test_what_the_documentation_shows_is_understood(tmp_path: Path, page: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    shown = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert shown
    chosen = settings.load(written(tmp_path, shown[1]))
    # What it shows are the defaults, but for what everybody has to choose.
    chosen_by_all = {"healthAddress", "metrics.address", "logFormat", "scaling.mode"}
    given = {path: value for path, value in _flat(yaml.safe_load(shown[1])) if path not in chosen_by_all}
    defaults = dict(_flat(msgspec.to_builtins(settings.Settings())))
    assert {path: defaults[path] for path in given} == given
    assert chosen


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
