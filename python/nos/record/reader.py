"""The lines of a record as events, see `codec`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from msgspec import DecodeError, Struct, ValidationError, convert
from msgspec.json import Decoder

from nos import __version__
from nos.record.codec import EDITS, FORMAT, TYPES, Call
from nos.record.decisions import PLANS, Decisions, Plan, tuples

_decode = Decoder().decode


class RecordError(Exception):
    """A record that cannot be used; the message is for the user, and names the line and the remedy."""


class _Cycle(Struct, forbid_unknown_fields=True):
    binds: list[tuple[str, str, list[int], list[tuple[int, str, int]], list[str], bool]]
    evictions: list[tuple[str, str, str, str]]
    held: list[tuple[str, str]]
    waiting: list[tuple[str, str, list[str]]]
    gone: list[str]


def parsed(number: int, line: bytes) -> dict[str, Any]:
    """The line with this number. Raises RecordError."""
    try:
        said = _decode(line)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"line {number}: no JSON ({error}); the file is damaged, so copy it again") from None
    if not isinstance(said, dict):
        raise RecordError(f"line {number}: no JSON object; the file is damaged, so copy it again")
    return said


class Edit:
    """A line that changes the Cluster."""

    def __init__(self, line: int, name: str, arguments: dict[str, Any], at: float, *, refused: bool) -> None:
        self.line, self.name, self.arguments, self.at, self.refused = line, name, arguments, at, refused


class Cycle:
    """A line that says what a cycle decided."""

    def __init__(self, line: int, decided: Decisions, at: float) -> None:
        self.line, self.decided, self.at = line, decided, at


class Copy:
    """A line that says that there is a copy of the Cluster."""

    def __init__(self, number: int) -> None:
        self.number = number


class Planned:
    """A line that says what a plan decided. said: the line itself."""

    def __init__(self, line: int, said: dict[str, Any], edits: Sequence[Call], arguments: dict[str, Any]) -> None:
        self.line, self.said, self.edits, self.arguments = line, said, edits, arguments
        self.name, self.on, self.at = said["plan"], int(said["on"]), float(said["at"])
        self.decided: Plan = {part: tuples(one) for part, one in said["decided"].items()}


class Reader:
    """Reads lines. make: a value from the name of its class and its arguments. Raises RecordError."""

    def __init__(self, lines: Iterable[bytes], make: Callable[[str, dict[str, Any]], Any] | None = None) -> None:
        self._lines = enumerate(lines, 1)
        self._make = make or (lambda kind, arguments: TYPES[kind](**arguments))
        self._values: dict[int, Any] = {}
        self._reasons: dict[str, tuple[str, str]] = {}
        self.edits = 0  # so far
        self.end = ""  # why the record ends, once it has
        number, head = next(((n, parsed(n, line)) for n, line in self._lines), (1, {}))
        if "nosRecord" not in head:
            raise RecordError(f"line {number}: this is no record of nos; make one with nos record -o FILE")
        if head["nosRecord"] != FORMAT:
            raise RecordError(
                f"line 1: the format is {head['nosRecord']} and this nos {__version__} reads {FORMAT}; "
                f"use nos {head.get('nos', '?')}, which wrote it"
            )
        self.policy = str(head.get("policy", "nos"))
        self.scrubbed = bool(head.get("scrubbed"))

    def __iter__(self) -> Iterator[Edit | Cycle | Copy | Planned]:
        """Events in order."""
        number = 1
        for number, line in self._lines:
            said = parsed(number, line)
            if self.end:
                raise RecordError(f"line {number}: something follows the last line; cut the file there")
            try:
                if "value" in said:
                    (kind,) = said.keys() - {"value"}
                    self._values[said["value"]] = self._make(kind, self._arguments(said[kind]))
                elif "edit" in said:
                    name, arguments = self._call(said["edit"], said["with"])
                    self.edits += 1
                    yield Edit(number, name, arguments, float(said["at"]), refused=said.get("refused", False))
                elif "copied" in said:
                    yield Copy(int(said["copied"]))
                elif "plan" in said:
                    if said["plan"] not in PLANS:
                        raise ValueError(f"no such plan: {said['plan']}")
                    edits = [self._call(*edit) for edit in said["edits"]]
                    yield Planned(number, said, edits, self._arguments(said["with"]))
                elif "cycle" in said:
                    yield Cycle(number, self._decisions(said["cycle"]), float(said["at"]))
                elif "checkpoint" in said:
                    if said["checkpoint"] != self.edits:
                        raise ValueError(f"there should be {said['checkpoint']} edits before, and are {self.edits}")
                elif "happened" not in said:
                    self.end = str(said["end"])
            except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
                raise RecordError(f"line {number}: {_said(error)}; the file is damaged, so record again") from None
        if not self.end:
            raise RecordError(
                f"line {number + 1}: the last line is missing, so the file was cut off; copy it again, or record again"
            )

    def _call(self, name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if name not in EDITS:
            raise ValueError(f"no such edit: {name}")
        return name, self._arguments(arguments)

    def _arguments(self, said: dict[str, Any]) -> dict[str, Any]:
        return {name: self._whole(value) for name, value in said.items()}

    def _whole(self, said: Any) -> Any:
        if isinstance(said, list):
            return [self._whole(one) for one in said]
        if not isinstance(said, dict):
            return said
        if said.keys() == {"#"}:
            return self._values[said["#"]]
        return {key[1:] if key.startswith("#") else key: self._whole(one) for key, one in said.items()}

    def _decisions(self, line: Any) -> Decisions:
        said = convert(line, _Cycle)
        for uid in said.gone:
            del self._reasons[uid]
        for code, message, uids in said.waiting:
            self._reasons |= dict.fromkeys(uids, (code, message))
        return Decisions(said.binds, said.evictions, said.held, dict(self._reasons))


def _said(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
