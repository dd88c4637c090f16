"""The controller's settings: a YAML file, overridden by flags.

Unknown keys are refused, and an error names the file, the field and the remedy. Durations are in seconds, as their
names say.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import msgspec.inspect
import yaml
from msgspec import Meta, Struct, field

from nos.controller.scaling.settings import Scaling
from nos.kube.errors import ConfigError
from nos.observe.dashboard.settings import Dashboard

_Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
_Address = Annotated[str, Meta(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]*):\d{1,5}$")]


class LeaderElection(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """How one of several replicas is chosen. pod: the one that we run in, as NAMESPACE/NAME; it has the label
    nos.nebuly.com/leader while we lead."""

    enabled: bool = True
    namespace: _Name = "nebuly-nos"
    name: _Name = "nos-scheduler"
    lease_duration_seconds: Annotated[float, Meta(ge=1, le=600)] = 15.0  # after which another may lead
    renew_deadline_seconds: Annotated[float, Meta(gt=0, le=600)] = 10.0  # without success, then it gives up
    retry_period_seconds: Annotated[float, Meta(gt=0, le=60)] = 2.0  # between renewals
    pod: str = ""

    def __post_init__(self) -> None:
        if self.pod and not re.fullmatch(r"[-a-z0-9]{1,63}/[-a-z0-9.]{1,253}", self.pod):
            raise ValueError(f"pod: {self.pod!r} is no NAMESPACE/NAME such as nebuly-nos/nos-scheduler-0")


class Binding(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """How decisions are written."""

    in_flight: Annotated[int, Meta(ge=1, le=512)] = 64


class Reporting(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """How fast conditions and events are written, per second."""

    rate: Annotated[float, Meta(gt=0, le=10_000)] = 200.0
    rate_while_binding: Annotated[float, Meta(gt=0, le=10_000)] = 10.0


class Metrics(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Metrics over TLS, by token. address: host:port; none: they are at the health address, for whoever reaches it.
    cert_file, key_file: read anew when they change; empty: nobody has signed the certificate."""

    address: _Address | None = None
    cert_file: str = ""
    key_file: str = ""

    def __post_init__(self) -> None:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("certFile and keyFile: name both or none")


class Settings(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """All of them, with their defaults."""

    kubeconfig: str | None = None
    context: str | None = None
    scheduler_name: _Name = "nos-scheduler"
    score: Annotated[str, Meta(pattern="^(nos|fgd|best-fit|first-fit)$")] = "nos"
    batch_window_seconds: Annotated[float, Meta(ge=0, le=10)] = 0.02
    gang_grace_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    usage_half_life_seconds: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0  # 0: what was used is forgotten
    volume_binding_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    health_address: _Address = "127.0.0.1:10257"
    log_format: Annotated[str, Meta(pattern="^(text|json)$")] = "text"
    verbose: bool = False
    leader_election: LeaderElection = field(default_factory=LeaderElection)
    binding: Binding = field(default_factory=Binding)
    reporting: Reporting = field(default_factory=Reporting)
    scaling: Scaling = field(default_factory=Scaling)
    dashboard: Dashboard = field(default_factory=Dashboard)
    metrics: Metrics = field(default_factory=Metrics)


def load(file: str | None = None, flags: dict[str, Any] | None = None) -> Settings:
    """The settings of a file (none: the defaults) under flags; flags are camelCase paths such as
    `leaderElection.namespace`, those that are None were not given. Raises ConfigError."""
    given = _read(file) if file else {}
    settings = _convert(given, f"{file}: " if file else "")
    for path, value in (flags or {}).items():
        if value is not None:
            given = _with(given, path.split("."), value)
            settings = _convert(given, f"--{_flag(path)} {value}: ")
    election = settings.leader_election
    if not election.lease_duration_seconds > election.renew_deadline_seconds > 2 * election.retry_period_seconds:
        raise ConfigError(
            f"{file or 'settings'}: leaderElection: leaseDurationSeconds > renewDeadlineSeconds > "
            "2 x retryPeriodSeconds must hold; leave them out for 15, 10 and 2"
        )
    return settings


def _read(file: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(file).read_text())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}; name a readable file with --config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f"line {where.line + 1}: " if where else ""
        raise ConfigError(f"{file}: {line}no valid YAML: {getattr(error, 'problem', None) or error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{file}: expected fields such as `schedulerName: nos-scheduler`, got {type(content).__name__}"
        )
    return content


def _convert(given: dict[str, Any], source: str) -> Settings:
    try:
        return msgspec.convert(given, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(source + _explain(str(error))) from None


def _explain(error: str) -> str:
    """msgspec's "<what> - at `$.a.b`", as "a.b: <what>; <remedy>"."""
    what, _, where = error.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    if unknown := re.search(r"unknown field `(.+)`", what):
        path = f"{path}.{unknown[1]}" if path else unknown[1]
        known = ", ".join(_fields_of(path.rpartition(".")[0]))
        return f"{path}: unknown field; there are {known}"
    if pattern := re.search(r"matching regex '(.+)'", what):
        choices = re.fullmatch(r"\^\(([-\w|]+)\)\$", pattern[1])
        return f"{path}: expected {_readable(path, choices[1] if choices else '')}"
    what = what.replace("`", "").replace("Expected", "expected")
    return f"{path or 'settings'}: {what}; correct it, or leave it out for its default"


def _fields_of(section: str) -> list[str]:
    """The fields of a section, such as scaling.karpenter.instanceTypes[...]."""
    kinds: list[msgspec.inspect.Type] = [msgspec.inspect.type_info(Settings)]
    for name in filter(None, section.split(".")):
        fields = [field for kind in _structs(kinds) for field in kind.fields]
        kinds = [field.type for field in fields if field.encode_name == name.partition("[")[0]]
    return [field.encode_name for kind in _structs(kinds) for field in kind.fields]


def _structs(kinds: Iterable[msgspec.inspect.Type]) -> Iterator[msgspec.inspect.StructType]:
    for kind in kinds:
        if isinstance(kind, msgspec.inspect.StructType):
            yield kind
        elif isinstance(kind, msgspec.inspect.UnionType):
            yield from _structs(kind.types)
        elif isinstance(kind, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
            yield from _structs([kind.item_type])


def _readable(path: str, choices: str) -> str:
    if choices:
        return "one of " + ", ".join(choices.split("|"))
    if path.lower().endswith("address"):
        return "host:port, such as 127.0.0.1:10257"
    return "a name of lower-case letters, digits, '-' and '.', such as nos-scheduler"


def _with(given: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    head, *rest = path
    return given | {head: _with(given.get(head) or {}, rest, value) if rest else value}


def _flag(path: str) -> str:
    names = {
        "leaderElection.enabled": "leader-elect",
        "leaderElection.namespace": "lease-namespace",
        "leaderElection.pod": "pod",
        "dashboard.address": "dashboard-address",
        "metrics.address": "metrics-address",
    }
    return names.get(path) or re.sub(r"([A-Z])", r"-\1", path.rpartition(".")[2]).lower()
