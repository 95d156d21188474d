"""The code blocks of the pages: README and what stands in docs.

It must not know what a page is about.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
FENCED = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}\S.*\n)+")


def blocks_of(page: str, language: str) -> list[str]:
    """Those of one language, in their order."""
    return [block for written, block in FENCED.findall(PAGES[page]) if written == language]


def lines_of(page: str) -> list[str]:
    """Commands that the page has the reader type: the indented lines outside of blocks."""
    prose = FENCED.sub("", PAGES[page])
    return [line.strip() for block in INDENTED.findall(prose) for line in block.splitlines()]
