"""`nos top`: the cluster in a terminal, GPUs as bars of their slices, or as plain tables for a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct
from rich.console import Group
from rich.text import Text

from nos.kube.quantity import text
from nos.kube.quota_status import short
from nos.observe.view import Gpu, Node, Pod, Quota, Snapshot

# Okabe and Ito's palette, which colour-blind people can tell apart.
_COLOURS = ("#56b4e9", "#2fb98a", "#e69f00", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")
_FREE, _COMING, _GOING = "#5c6370", "#a0a8b4", "#d55e00"
_WIDTHS = (8, 4, 2, 1)  # columns of a GPU
_THOUSAND = 1000

SORTS: dict[str, Callable[[Node], tuple[object, ...]]] = {
    "name": lambda node: (_natural(node.name),),
    "used": lambda node: (-used(node), _natural(node.name)),
    "free": lambda node: (used(node) - len(node.gpus) * _THOUSAND, _natural(node.name)),
}


class Choice(Struct, frozen=True):
    """What of it is shown, and in which order."""

    node: str = ""  # a name, or a pattern such as gpu-*
    namespace: str = ""
    sort: str = "name"

    def nodes(self, of: Snapshot) -> list[Node]:
        """Nodes with GPUs."""
        chosen = [
            node
            for node in of.nodes.values()
            if node.gpus
            and (not self.node or fnmatchcase(node.name, self.node))
            and (not self.namespace or any(_namespace(held.pod) == self.namespace for held in node.pods))
        ]
        return sorted(chosen, key=SORTS[self.sort])

    def queue(self, of: Snapshot) -> list[Pod]:
        """Who waits, the first to be served first."""
        chosen = [pod for pod in of.queue if not self.namespace or _namespace(pod.pod) == self.namespace]
        return sorted(chosen, key=lambda pod: (-pod.priority, pod.since, pod.pod))

    def quotas(self, of: Snapshot) -> list[Quota]:
        """Quotas, by name."""
        chosen = [quota for quota in of.quotas if not self.namespace or self.namespace in quota.namespaces]
        return sorted(chosen, key=lambda quota: quota.title)


def used(node: Node) -> int:
    """Thousandths of GPUs."""
    return sum(gpu.used for gpu in node.gpus)


def tables(shown: Snapshot, choice: Choice) -> Iterator[str]:
    """For a pipe: a line for each node, Pod that waits and quota."""
    nodes = [("NODE", "PRODUCT", "GPUS", "USED", "CPU", "MEMORY", "PODS", "NOTE")]
    for node in choice.nodes(shown):
        gpus = str(len(node.gpus)), _gpus(used(node))
        room = _of("cpu", node.cpu), _of("memory", node.memory)
        nodes.append((node.name, node.product or "-", *gpus, *room, str(len(node.pods)), node.note))
    yield from _aligned(nodes)
    if queue := choice.queue(shown):
        waiting = [("POD", "ASKS", "PRIORITY", "WAITS", "REASON")]
        waiting += [(pod.pod, pod.asks, str(pod.priority), _age(shown.at - pod.since), _why(pod)) for pod in queue]
        yield ""
        yield from _aligned(waiting)
    if quotas := choice.quotas(shown):
        bounds = [("QUOTA", "RESOURCE", "USED", "MIN", "MAX", "BORROWED")]
        for quota in quotas:
            for resource, bound in quota.resources.items():
                amounts = (bound.used, bound.min, bound.max, bound.borrowed)
                used_, least, most, lent = ("-" if amount is None else text(resource, amount) for amount in amounts)
                bounds.append((quota.title, short(resource), used_, least, most, lent))
        yield ""
        yield from _aligned(bounds)


def screen(shown: Snapshot, choice: Choice, width: int, height: int | None) -> Group:
    """For a terminal; height: of it all, in lines, if there is a limit."""
    colours = _colours(shown)
    nodes, queue, quotas = choice.nodes(shown), choice.queue(shown), choice.quotas(shown)
    lines = [_head(shown), Text()]
    rows = _node_rows(nodes, colours, width)
    waits = [_waits(pod, shown.at) for pod in queue]
    bounds = [line for quota in quotas for line in _quota_rows(quota)]
    if height is not None:  # who waits and the quotas get a part of it, and the nodes the rest
        left = max(3, height - len(lines) - 1)
        bounds = _first(bounds, left // 4, "quotas")
        waits = _first(waits, max(3, (left - len(bounds)) // 3), "Pods wait")
        beside = sum(len(part) + 2 for part in (waits, bounds) if part)
        rows = _first(rows, max(1, left - beside), "rows of nodes")
    lines += [*rows, _legend(colours)]
    if waits:
        lines += [Text(), Text(f"Waiting ({len(queue)})", "bold"), *waits]
    if bounds:
        lines += [Text(), Text("Quotas", "bold"), *bounds]
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return Group(*lines)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _head(shown: Snapshot) -> Text:
    totals = shown.totals
    part = totals.used * 100 // (totals.gpus * _THOUSAND) if totals.gpus else 0
    return Text.assemble(
        (f"{_gpus(totals.used)}", "bold"),
        f" of {totals.gpus} GPUs in use ({part} %) on {sum(bool(n.gpus) for n in shown.nodes.values())} nodes   ",
        (f"{totals.waiting}", "bold yellow" if totals.waiting else "bold"),
        " Pods wait   fragmentation ",
        (f"{totals.fragmentation:.0%}", "bold"),
    )


def _node_rows(nodes: Sequence[Node], colours: dict[str, str], width: int) -> list[Text]:
    label = max((len(node.name) for node in nodes), default=0) + 2
    most = max((len(node.gpus) for node in nodes), default=1)
    facts = 30
    columns = next((w for w in _WIDTHS if label + most * (w + 1) + facts <= width), 1)
    rows = []
    for node in nodes:
        row = Text(f"{node.name:<{label}}")
        for gpu in node.gpus:
            row.append_text(_bar(gpu, columns, colours)).append(" ")
        row.append(" " * (most - len(node.gpus)) * (columns + 1))
        row.append(f" {_gpus(used(node)):>5} gpu", "bold" if used(node) else "dim")
        row.append(f"  {_of('cpu', node.cpu)} cpu", "dim")
        if problem := node.note or next((gpu.problem for gpu in node.gpus if gpu.problem), ""):
            row.append(f"  {problem}", "yellow")
        rows.append(row)
    return rows


def _bar(gpu: Gpu, columns: int, colours: dict[str, str]) -> Text:
    bar = Text()
    if not gpu.slices or not gpu.units:
        mark = _owned(gpu.pods[0], colours) if gpu.pods else ("·", _FREE)
        return bar.append(mark[0] * columns, mark[1])
    for column in range(columns):
        unit = column * gpu.units // columns
        there = next((one for one in gpu.slices if one.start <= unit < one.start + one.size), None)
        begins = there is not None and unit == there.start and column * gpu.units % columns == 0
        if there is None:
            bar.append("·", _FREE)
        elif there.pod:
            bar.append("▌" if begins and columns > 1 else "█", _owned(there.pod, colours)[1])
        else:
            mark = {"coming": ("▒", _COMING), "going": ("x", _GOING)}.get(there.state, ("░", _FREE))
            bar.append(*mark)
    return bar


def _owned(pod: str, colours: dict[str, str]) -> tuple[str, str]:
    return "█", colours.get(_namespace(pod), _FREE)


def _colours(shown: Snapshot) -> dict[str, str]:
    """A colour for each namespace; the same as long as no other comes."""
    names = sorted(
        {_namespace(held.pod) for node in shown.nodes.values() for held in node.pods if held.gpus or held.slices}
    )
    return {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}


def _legend(colours: dict[str, str]) -> Text:
    line = Text()
    for name, colour in colours.items():
        line.append("█ ", colour).append(f"{name}   ")
    line.append("· ", _FREE).append("free   ").append("░ ", _FREE).append("free slice   ")
    return line.append("▒ ", _COMING).append("is being cut")


def _waits(pod: Pod, now: float) -> Text:
    line = Text.assemble(("  " + pod.pod, "yellow"), f"  {pod.asks}", (f"  {_age(now - pod.since)}", "dim"))
    return line.append(f"  {_why(pod)}")


def _why(pod: Pod) -> str:
    if pod.state:
        return "is decided, its Binding is on its way" if pod.state == "binding" else "its Binding is tried again"
    return pod.message or "is to be looked at"


def _quota_rows(quota: Quota) -> list[Text]:
    """Used of min, and what is lent beyond it: `██████▒▒··`."""
    if quota.problem:
        return [Text.assemble("  " + quota.title, (f"  {quota.problem}", "yellow"))]
    rows = []
    for resource, bound in quota.resources.items():
        whole = max(bound.max or 0, bound.min or 0, bound.used, 1)
        cells = 20
        lent = -(-bound.borrowed * cells // whole)
        own = (bound.used - bound.borrowed) * cells // whole
        row = Text(f"  {quota.title}  {short(resource)} ")
        row.append("█" * own, _COLOURS[1]).append("▒" * lent, _COLOURS[2]).append("·" * (cells - own - lent), _FREE)
        row.append(f" {text(resource, bound.used)}")
        row.append(f" of {text(resource, bound.min)}" if bound.min is not None else "")
        row.append(f", at most {text(resource, bound.max)}" if bound.max is not None else "")
        row.append(f", {text(resource, bound.borrowed)} borrowed" if bound.borrowed else "", _COLOURS[2])
        rows.append(row)
    return rows


def _first(lines: list[Text], most: int, what: str) -> list[Text]:
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], Text(f"  and {len(lines) - most + 1} more {what}", "dim")]


def _gpus(thousandths: int) -> str:
    return f"{thousandths / _THOUSAND:.2f}".rstrip("0").rstrip(".")


def _of(resource: str, amounts: tuple[int, int]) -> str:
    if resource == "cpu":
        return "/".join(f"{amount / 1000:.0f}" for amount in amounts)
    return "/".join(f"{amount / 2**30:.0f}Gi" for amount in amounts)


def _age(seconds: float) -> str:
    """`12s`, `5m`, `3h`, `2d`."""
    seconds = max(0.0, seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _namespace(pod: str) -> str:
    return pod.partition("/")[0]


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """gpu-9 before gpu-10."""
    parts, number = [], ""
    for character in name:
        if character.isdigit():
            number += character
            continue
        if number:
            parts.append((int(number), ""))
            number = ""
        parts.append((-1, character))
    return (*parts, (int(number), "")) if number else tuple(parts)
