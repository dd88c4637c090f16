"""What is written into docs/reference from the code: python -m tests.docs.written"""

from __future__ import annotations

from pathlib import Path

from tests.docs import command_line, kinds, settings

DOCS = Path(__file__).parents[2] / "docs"


def pages() -> dict[Path, str]:
    """Each page as it is to be."""
    reference = DOCS / "reference"
    return {
        reference / "cli.md": command_line.page(),
        reference / "settings.md": settings.page(),
        reference / "kinds.md": kinds.page(),
    }


def main() -> None:
    """Write them."""
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
