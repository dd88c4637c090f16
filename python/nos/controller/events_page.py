"""docs/events.md, made from the code.

python -m nos.controller.events_page docs/events.md
"""

import sys
from pathlib import Path

from nos.controller.events import Kind

_HEAD = """# Events

This page is made from the code: `python -m nos.controller.events_page docs/events.md`.

What happens to a Pod of nos is told as an Event about it: `kubectl describe pod POD` and `kubectl get events` show it.
What happens again, with the same Pod and in the same words, is counted on one Event (`x12 over 5m`). Of a Pod that
waits that is the same code of the Reason: numbers of nodes change all the time, so the Event keeps those of its first
time, and the condition `PodScheduled` has the present ones. The count is written at most every 10 seconds. After
6 minutes without another, the next one is a new Event.

Events are best effort: they are written slowly while Pods are bound, and the API server drops them after an hour.
What was not written is counted in `nos_events_lost_total` ([metrics](metrics.md)). The codes of a Reason are
[here](scheduling.md#reasons), and [`nos why POD`](why.md) says why a Pod waits now.

| reason | type | action | meaning |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = (f"| `{kind.reason}` | {kind.type_} | {kind.action} | {kind.meaning} |\n" for kind in Kind)
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
