"""The example in docs/testbed.md works when pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs/testbed.md"


def test_the_example_works(folder: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    example = next(example for example in examples if "NvmlSim" in example)
    output = subprocess.run(
        [sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert re.fullmatch(r"NVIDIA A100-SXM4-40GB MIG 3g\.20gb (MIG-[0-9a-f-]{36})", output[0])
    assert output[0].rpartition(" ")[2] in output[1]
    assert "profile='3g.20gb', start=4" in output[1]
