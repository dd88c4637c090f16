"""The kinds that nos brings, as users install them: links to deploy/crds, so that there is one copy."""

from pathlib import Path

FILES = tuple(sorted(Path(__file__).parent.glob("*.yaml")))
