"""Log lines on stderr: text for people, one JSON object a line for machines. Never a traceback, except when verbose."""

import json
import logging
import sys
from datetime import UTC, datetime


def configure(form: str, *, verbose: bool, quiet: bool = False) -> None:
    """Set up the process's logging. form: text or json. quiet: nothing but what is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(verbose) if form == "json" else _Text(verbose))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("nos").setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)


class _Text(logging.Formatter):
    def __init__(self, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if self._tracebacks and record.exc_info else line


class _Json(logging.Formatter):
    def __init__(self, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        line = {"ts": _time(record), "level": record.levelname.lower(), "logger": record.name}
        line["msg"] = record.getMessage()
        if self._tracebacks and record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
