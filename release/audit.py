"""Whether what users get with nos has known vulnerabilities, asked of the OSV database by pip-audit.

Ends with 0: none; 1: some; 3: could not ask, which is no answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NOS = "nos-scheduler[agent,cluster-autoscaler,otel]"
FOUND, NOT_ASKED = 1, 3


def installed(asked: Requirement, seen: set[str]) -> Iterator[str]:
    """NAME==VERSION of it and of all that it needs here; nothing for what was seen before."""
    name, extras = canonicalize_name(asked.name), ("", *sorted(asked.extras))
    if str(asked) in seen:
        return
    seen.add(str(asked))
    found = metadata.distribution(name)
    yield f"{name}=={found.version}"
    for needed in map(Requirement, found.requires or ()):
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
            needed.marker = None
            yield from installed(needed, seen)


def audit(*options: str) -> int:
    """Says what was found; `options` are pip-audit's."""
    pins = sorted({pin for pin in installed(Requirement(NOS), set()) if not pin.startswith("nos-scheduler==")})
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps", "--disable-pip"]
        command += ["--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answers = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"AUDIT NOT DONE: pip-audit could not ask about {len(pins)} distributions: {last}", file=sys.stderr)
        return NOT_ASKED
    flaws = [
        f"{each['name']} {each['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
        for each in answers
        for flaw in each.get("vulns", ())
    ]
    if flaws:
        print("vulnerable, raise the bounds in pyproject.toml:", *flaws, sep="\n  ", file=sys.stderr)
        return FOUND
    asked = {each["name"] for each in answers if "vulns" in each}
    if missed := sorted({pin.split("==")[0] for pin in pins} - asked):
        print(f"AUDIT NOT DONE: no answer about {', '.join(missed)}", file=sys.stderr)
        return NOT_ASKED
    print(f"{len(pins)} distributions, no known vulnerability")
    return 0


if __name__ == "__main__":
    sys.exit(audit(*sys.argv[1:]))
