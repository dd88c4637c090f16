"""The summary for people: a table with a column per policy; boxed on a terminal, plain text in a pipe."""

from collections.abc import Sequence

from nos.simulate.result import Summary

Section = list[tuple[str, list[str]]]


def show(summaries: Sequence[Summary], *, terminal: bool) -> None:
    """Print the summaries to stdout."""
    sections = _sections(summaries)
    header = [f"{summaries[0].nodes:,} nodes, {summaries[0].gpus:,} GPUs", *(summary.policy for summary in summaries)]
    if terminal:
        _show_boxed(header, sections)
    else:
        _show_plain(header, sections)
    for line in _remarks(summaries):
        print(line)


def _sections(summaries: Sequence[Summary]) -> list[Section]:
    first = summaries[0]
    totals: Section = [
        ("Pods that arrived", [f"{summary.pods:,}" for summary in summaries]),
        ("placed", [f"{summary.placed:,}" for summary in summaries]),
        ("refused", [f"{summary.refused:,}" for summary in summaries]),
        ("GPU requested", [_percent(summary.gpu_requested_ratio) for summary in summaries]),
        ("GPU allocated", [_percent(summary.gpu_allocated_ratio) for summary in summaries]),
        ("free GPU that is fragmented", [_percent(summary.fragmentation_ratio) for summary in summaries]),
        ("time to decide", [f"{summary.seconds:.3f} s" for summary in summaries]),
        ("decisions per second", [f"{summary.decisions_per_second:,.0f}" for summary in summaries]),
    ]
    models: Section = [
        (
            f"allocated of {share.gpus:,} x {share.model}",
            [_percent(summary.by_model[index].allocated_ratio) for summary in summaries],
        )
        for index, share in enumerate(first.by_model)
    ]
    demands: Section = [
        (
            f"placed of {demand.pods:,} x {demand.demand}",
            [f"{summary.by_demand[index].placed:,}" for summary in summaries],
        )
        for index, demand in enumerate(first.by_demand)
    ]
    return [section for section in (totals, models, demands) if section]


def _remarks(summaries: Sequence[Summary]) -> list[str]:
    """The same for every policy: what no node could take even when empty."""
    larger = summaries[0].larger_than_any_node
    if not larger.pods:
        return []
    shown = [name if name.isprintable() else repr(name) for name in larger.names[:5]]
    names = ", ".join(shown) + (", ..." if len(larger.names) > 5 else "")
    return [f"{larger.pods:,} of the refused arrivals fit no node even when it is empty: {names}"]


def _show_boxed(header: Sequence[str], sections: Sequence[Section]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ROUNDED, header_style="bold")
    for index, title in enumerate(header):
        table.add_column(title, justify="right" if index else "left")
    for section in sections:
        for label, values in section:
            bold = "bold" if label == "GPU allocated" else ""
            table.add_row(Text(label, bold), *(Text(value, bold) for value in values))
        table.add_section()
    Console().print(table)


def _show_plain(header: Sequence[str], sections: Sequence[Section]) -> None:
    rows = [list(header), *([label, *values] for section in sections for label, values in section)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join([row[0].ljust(widths[0]), *cells]))


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.2f} %"
