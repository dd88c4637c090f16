"""Reads traces: the CSV files of nodes and Pods, and the order of arrival. What is wrong with one raises TraceError."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nos.simulate.trace import WHOLE_GPU, Node, Pod, Trace, TraceError

_MOST_MILLI_CPU = 1 << 50  # the core's limits: 2^50 of anything, hence 2^50 bytes, and 65,535 GPUs on a node
_MOST_MIB = 1 << 30
_MOST_GPUS = 65_535
_NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
_POD_COLUMNS = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
_MODELS_COLUMN = "gpu_spec"


def read(nodes: Path, pods: Path, order: Path | None = None) -> Trace:
    """A trace from its files. Without an order the Pods arrive as they stand in their file."""
    node_list = _read_nodes(nodes)
    pod_list = _read_pods(pods)
    return Trace(node_list, pod_list, _read_order(order, len(pod_list)) if order else range(len(pod_list)))


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    line: int
    cells: dict[str, str]

    def error(self, column: str, problem: str) -> TraceError:
        return TraceError(f"{self.path}:{self.line}: column {column}: {problem}")

    def name(self, column: str) -> str:
        if not self.cells[column]:
            raise self.error(column, "is empty")
        return self.cells[column]

    def number(self, column: str, most: int) -> int:
        number = _integer(self.cells[column])
        if isinstance(number, str):
            raise self.error(column, number)
        if number < 0:
            raise self.error(column, f"{number} is negative")
        if number > most:
            raise self.error(column, f"{number} is more than {most}, the most that makes sense")
        return number


def _read_nodes(path: Path) -> list[Node]:
    nodes = []
    lines: dict[str, int] = {}
    for row in _rows(path, _NODE_COLUMNS):
        model = row.cells["model"]
        if "|" in model:
            raise row.error("model", f"{model!r} has a '|', which separates the models that a Pod allows")
        nodes.append(
            Node(
                _unique(row, "sn", lines),
                row.number("cpu_milli", _MOST_MILLI_CPU),
                row.number("memory_mib", _MOST_MIB),
                row.number("gpu", _MOST_GPUS),
                model,
            )
        )
    if not nodes:
        raise TraceError(f"{path}:1: there is no node below the header")
    return nodes


def _read_pods(path: Path) -> list[Pod]:
    pods = []
    lines: dict[str, int] = {}
    for row in _rows(path, _POD_COLUMNS):
        gpus = row.number("num_gpu", _MOST_GPUS)
        gpu_milli = row.number("gpu_milli", WHOLE_GPU)
        if gpus == 0 and gpu_milli:
            raise row.error("gpu_milli", f"{gpu_milli} of no GPU: num_gpu is 0")
        if gpus == 1 and gpu_milli == 0:
            raise row.error("gpu_milli", "0 of a GPU: num_gpu is 1, so it must be 1 to 1000")
        if gpus > 1 and gpu_milli != WHOLE_GPU:
            raise row.error("gpu_milli", f"{gpu_milli} of each of {gpus} GPUs: only one GPU can be shared, so 1000")
        pods.append(
            Pod(
                _unique(row, "name", lines),
                row.number("cpu_milli", _MOST_MILLI_CPU),
                row.number("memory_mib", _MOST_MIB),
                gpus,
                gpu_milli,
                _models(row),
            )
        )
    if not pods:
        raise TraceError(f"{path}:1: there is no Pod below the header")
    return pods


def _models(row: _Row) -> tuple[str, ...]:
    cell = row.cells.get(_MODELS_COLUMN, "")
    if not cell:
        return ()
    models = tuple(model.strip() for model in cell.split("|"))
    if not all(models):
        raise row.error(_MODELS_COLUMN, f"{cell!r} has an empty model; separate models by one '|'")
    return models


def _unique(row: _Row, column: str, lines: dict[str, int]) -> str:
    name = row.name(column)
    if name in lines:
        raise row.error(column, f"{name!r} is the name of line {lines[name]} already")
    lines[name] = row.line
    return name


def _read_order(path: Path, pods: int) -> Sequence[int]:
    order = []
    for line, text in enumerate(_text(path).splitlines(), 1):
        stripped = text.strip()
        if not stripped:
            continue
        number = _integer(stripped)
        if isinstance(number, str):
            raise TraceError(f"{path}:{line}: {number}: a line holds one row number of the Pods, from 0 on")
        if not 0 <= number < pods:
            raise TraceError(f"{path}:{line}: there is no Pod {number}: the rows are 0 to {pods - 1}")
        order.append(number)
    if not order:
        raise TraceError(f"{path}: no Pod arrives in it")
    return order


def _rows(path: Path, required: Sequence[str]) -> Iterator[_Row]:
    """The rows below the header, as cells by column. Empty lines are none; columns that nobody asked for are left."""
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1  # where the row at hand begins: a quoted cell may span lines
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise TraceError(f"{path}:{line}: {error}") from None
        if not any(cell.strip() for cell in cells) and len(cells) <= 1:
            pass
        elif header is None:
            header = [cell.strip() for cell in cells]
            _check_header(path, line, header, required)
        elif len(cells) != len(header):
            where = header[len(cells)] if len(cells) < len(header) else header[-1]
            problem = f"{len(cells)} cells, but the header has {len(header)} columns"
            raise TraceError(f"{path}:{line}: column {where}: {problem}")
        else:
            yield _Row(path, line, dict(zip(header, (cell.strip() for cell in cells), strict=True)))
        line = reader.line_num + 1
    if header is None:
        raise TraceError(f"{path}: is empty; it needs the columns {', '.join(required)}")


def _check_header(path: Path, line: int, header: Sequence[str], required: Sequence[str]) -> None:
    for column in required:
        if column not in header:
            raise TraceError(f"{path}:{line}: column {column}: is missing; the columns are {', '.join(header)}")
    for column in (*required, _MODELS_COLUMN):
        if header.count(column) > 1:
            raise TraceError(f"{path}:{line}: column {column}: is there {header.count(column)} times")


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TraceError(f"{path}:{line}: is not UTF-8 text: byte {content[error.start]:#04x}") from None
    if "\0" in text:
        raise TraceError(f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1}: is not text: it has a zero byte")
    return text


def _integer(text: str) -> int | str:
    """The integer, or what is wrong with the text. Python's own int() also takes 1_000 and other scripts' digits."""
    if not text:
        return "is empty"
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        shown = text if len(text) <= 40 else text[:40] + "..."
        return f"{shown!r} is not an integer"
    return int(text) if len(text) <= 30 else f"{text[:30]}... is absurd"
