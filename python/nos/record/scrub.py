"""Names taken out of a record: the same decisions about a cluster that nobody knows.

All names share one pool and are replaced by their rank in it: n00001, n00002. So what was equal stays equal, and what
came first by name still does. A string is a name unless it is known to be none: an operator, an amount's resource, a
profile, a key that everybody has. The core's messages have names in them, so they are the core's own of the record with
other names; where it then decides otherwise, nothing is made.
"""

import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from msgspec.json import encode

from nos.record.codec import Writer, last_line
from nos.record.decisions import Decisions, Plan
from nos.record.reader import Planned, Reader, RecordError, parsed
from nos.record.replay import again, differences

# Arguments of a type or an edit that have no name in them; of those in _NAMELESS none has.
_NO_NAMES: Mapping[str, tuple[str, ...]] = {
    "Requirement": ("operator",),
    "Taint": ("effect",),
    "Toleration": ("operator", "effect"),
    "HostPort": ("protocol",),
    "PodSpec": ("requests",),
    "NodeSpec": ("allocatable", "by_dra"),
    "QuotaSpec": ("min", "max"),
    "upsert_pod": ("instances",),
    "assume": ("instances",),
    "restore": ("instances",),
}
_NAMELESS = "GpuProfile", "GpuModel", "set_demand"

# Keys that everybody has, of labels and taints; those whose values are no names either; what means "any" or "none".
_KNOWN = re.compile(r"(nvidia\.com|nos\.nebuly\.com|((node|topology)\.)?kubernetes\.io)/.*|metadata\.name")
_PLAIN = re.compile(r"nvidia\.com/.*|kubernetes\.io/(arch|os)")
_ANY = "", "0.0.0.0"
_TOLD = "left", "kept"  # parts of plans that have words
_PLACE = re.compile(r"#[0-9]{1,9}")  # of a new node, in moves; and who stands in for what has gone
_HASH = re.compile(r"#[0-9a-f]{16}")
_NUMBER = re.compile(r"[+-]?[0-9]+")


def scrub(record: IO[bytes], into: IO[bytes]) -> None:
    """record: can be read from its beginning again. Raises RecordError where it cannot be used, or the core decides
    otherwise when the names are others; then what is in `into` is no record."""
    names = _Names()
    record.seek(0)
    Reader(record)  # refuses what this nos does not know
    record.seek(0)
    for number, line in enumerate(record, 1):
        names.of(parsed(number, line))
    names.rank()
    record.seek(0)
    reader, writer = Reader(_replaced(record, into, names)), Writer()
    for event, now in again(reader):
        if found := differences(_wordless(event.decided), _wordless(now)):
            raise RecordError(f"line {event.line}: with other names something else is decided: {found[0]}")
        if isinstance(event, Planned):
            into.write(encode(event.said | {"decided": now}) + b"\n")
        elif isinstance(now, Decisions):
            into.write(writer.cycle(now, event.at))
    # What follows the colon was said by others, and may have names in it.
    into.write(last_line(reader.end.partition(":")[0]))


def _replaced(record: IO[bytes], into: IO[bytes], names: "_Names") -> Iterator[bytes]:
    """All lines with the new names, but what people are told. Those that say the same after a replay are written as
    they pass."""
    for number, line in enumerate(record, 1):
        said = names.of(parsed(number, line))
        if "happened" in said:
            continue
        new = encode(said) + b"\n"
        if said.keys().isdisjoint({"cycle", "plan", "end"}):
            into.write(new)
        yield new


def _wordless(decisions: Decisions | Plan) -> Decisions | Plan:
    """The same without messages."""
    if not isinstance(decisions, Decisions):
        told = {part: tuple((one, "") for one, _ in decisions[part]) for part in _TOLD if part in decisions}
        return {**decisions, **told}
    waiting = {uid: (code, "") for uid, (code, _) in decisions.waiting.items()}
    return Decisions(decisions.binds, decisions.evictions, decisions.held, waiting)


def _hashed(image: str) -> str:
    """As `NodeSpec.images` names it."""
    if _HASH.fullmatch(image):
        return image
    hashed = 0xCBF29CE484222325  # FNV-1a
    for byte in image.encode():
        hashed = (hashed ^ byte) * 0x100000001B3 % (1 << 64)
    return f"#{hashed:016x}"


class _Names:
    """Found first, then replaced, on the same way through a line."""

    def __init__(self) -> None:
        self._new: dict[str, str] = {}
        self._is_ranked = False
        self._compared: set[str] = set()  # keys whose values are compared as numbers

    def rank(self) -> None:
        """All are known: from now on, replace them."""
        digits = len(str(len(self._new)))
        self._new = {name: f"n{number:0{digits}}" for number, name in enumerate(sorted(self._new))}
        self._is_ranked = True

    def of(self, said: dict[str, Any]) -> dict[str, Any]:
        """A line."""
        if "edit" in said:
            return said | {"with": self._arguments(said["edit"], said["with"])}
        if "value" in said:
            return {what: one if what == "value" else self._arguments(what, one) for what, one in said.items()}
        if "cycle" in said:
            return said | {"cycle": self._cycle(**said["cycle"])}
        if "plan" in said:
            edits = [[name, self._arguments(name, arguments)] for name, arguments in said["edits"]]
            arguments = self._arguments(said["plan"], said["with"])
            return said | {"edits": edits, "with": arguments, "decided": self._planned(said["decided"])}
        return said | ({"scrubbed": True} if "nosRecord" in said else {})

    def _arguments(self, of: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if of in _NAMELESS:
            return arguments
        if arguments.get("operator") in ("Gt", "Lt"):
            self._compared.add(arguments["key"])
        key, kept = arguments.get("key", ""), _NO_NAMES.get(of, ())
        if of == "PodSpec":  # a node has its images by hash
            arguments = arguments | {"images": [_hashed(image) for image in arguments["images"]]}
        said = {name: one if name in kept else self._plain(one, key) for name, one in arguments.items()}
        if of == "GpuSpec":  # profile, start, whether it is handed out, uid
            said["instances"] = [[*one[:3], self._name(one[3])] for one in arguments["instances"]]
        return said

    def _planned(self, said: dict[str, Any]) -> dict[str, Any]:
        plain = self._plain

        def nodes(of: Any) -> list[Any]:
            return [[plain(group), plain(pods), cuts] for group, pods, cuts in of]

        now = said | {part: [[plain(one), ""] for one, _ in said[part]] for part in _TOLD if part in said}
        if "nodes" in said:
            now |= {"nodes": nodes(said["nodes"]), "binds": self._binds(said["binds"])}
        if "steps" in said:
            now["steps"] = [[plain(gone), plain(moves), nodes(new), saved] for gone, moves, new, saved in said["steps"]]
        return now

    def _binds(self, said: Any) -> list[Any]:
        plain = self._plain
        return [[plain(uid), plain(node), *cut, plain(volumes), ready] for uid, node, *cut, volumes, ready in said]

    def _cycle(self, binds: Any, evictions: Any, held: Any, waiting: Any, gone: Any) -> dict[str, Any]:
        plain = self._plain
        return {
            "binds": self._binds(binds),
            "evictions": [[plain(uid), plain(node), why, plain(other)] for uid, node, why, other in evictions],
            "held": plain(held),
            "waiting": [[code, "", plain(uids)] for code, _, uids in waiting],
            "gone": plain(gone),
        }

    def _plain(self, said: Any, key: str = "") -> Any:
        """key: that it is a value of."""
        if isinstance(said, str):
            is_number = key in self._compared and _NUMBER.fullmatch(said)
            return said if is_number or _PLAIN.fullmatch(key) else self._name(said)
        if isinstance(said, list):
            return [self._plain(one, key) for one in said]
        if isinstance(said, dict) and said.keys() != {"#"}:
            keys = [name[1:] if name.startswith("#") else name for name in said]
            return {self._name(name): self._plain(one, name) for name, one in zip(keys, said.values(), strict=True)}
        return said

    def _name(self, name: str) -> str:
        if name in _ANY or _KNOWN.fullmatch(name) or _PLACE.fullmatch(name):
            return name
        if self._is_ranked:
            return self._new[name]
        return self._new.setdefault(name, name)
