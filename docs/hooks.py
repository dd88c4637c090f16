"""What mkdocs is told besides mkdocs.yml: links that lead out of docs/.

Where the repository is read such a link is relative, and right. On the site the chart's README is a page of its own,
and every other file is a link to the repository.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = "https://github.com/nebuly-ai/nos/blob/main/"
ROOT = Path(__file__).parents[1]
PAGES = {"deploy/chart/README.md": "install.md"}  # files of elsewhere that are pages of the site
_OUTWARD = re.compile(r"(\]\()(\.\./[^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages of elsewhere, among those of docs/."""
    for file, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / file)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """A page, with its links as they are on the site."""
    page_of = {page: file for file, page in PAGES.items()}
    return resolved(markdown, page_of.get(page.file.src_uri, f"docs/{page.file.src_uri}"))


def resolved(markdown: str, file: str) -> str:
    """The text of a file of the repository, given by its path there, with links that hold on the site."""
    folder = posixpath.dirname(file)
    here = f"docs/{PAGES[file]}" if file in PAGES else file

    def lead(link: re.Match[str]) -> str:
        to = posixpath.normpath(posixpath.join(folder, link[2]))
        if to in PAGES:
            to = f"docs/{PAGES[to]}"
        elif not to.startswith("docs/"):
            return f"{link[1]}{REPOSITORY}{to}"
        return link[1] + posixpath.relpath(to, posixpath.dirname(here))

    return _OUTWARD.sub(lead, markdown)
